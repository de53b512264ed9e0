//! Who may name whom: reads the `crate::` paths of every file and fails on an edge that is not drawn
//! here. The generated documents are checked for drift here, too.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Each module and those it may name; every module may name itself.
const EDGES: [(&str, &[&str]); 49] = [
    (
        "fuzz",
        &[
            "allow_list",
            "challenge",
            "clock",
            "consumers",
            "domain",
            "export",
            "gate",
            "http",
            "identity",
            "trace",
        ],
    ),
    ("domain", &[]),
    ("crash", &[]),
    ("clock", &["domain"]),
    ("retry", &[]),
    ("supervisor", &["retry"]),
    ("web", &[]),
    ("security", &["supervisor"]),
    ("guesses", &["limits"]),
    ("trace", &["web"]),
    ("telemetry", &["trace"]),
    ("audit", &["store", "supervisor"]),
    ("export", &["store", "domain", "retry", "supervisor"]),
    (
        "allow_list",
        &[
            "catalogue",
            "store",
            "domain",
            "crash",
            "lane",
            "retry",
            "supervisor",
        ],
    ),
    (
        "simulate",
        &["participate", "domain", "clock", "supervisor"],
    ),
    (
        "accounts",
        &["gate", "limits", "store", "identity", "domain"],
    ),
    (
        "config",
        &[
            "accounts",
            "aggregate",
            "alert",
            "allow_list",
            "audit",
            "challenge",
            "consumers",
            "domain",
            "export",
            "trace",
            "gate",
            "guesses",
            "limits",
            "identity",
            "participate",
            "relay",
            "retry",
            "simulate",
            "telemetry",
            "web",
        ],
    ),
    ("limits", &["gate", "domain"]),
    ("lane", &["domain", "supervisor"]),
    ("gate", &["domain", "clock", "crash"]),
    ("store", &["domain", "clock", "crash", "retry"]),
    ("broker", &["domain", "trace"]),
    ("asyncapi", &["domain"]),
    ("challenge", &["domain"]),
    ("order", &["broker", "domain", "store"]),
    ("doctor", &[]),
    (
        "relay",
        &[
            "store",
            "broker",
            "domain",
            "clock",
            "crash",
            "retry",
            "supervisor",
        ],
    ),
    ("pubsub", &["retry", "supervisor"]),
    ("wake", &["relay", "domain", "pubsub", "supervisor"]),
    ("admission", &["gate", "domain", "lane", "supervisor"]),
    (
        "writer",
        &[
            "gate",
            "store",
            "domain",
            "lane",
            "crash",
            "retry",
            "supervisor",
        ],
    ),
    (
        "direct",
        &["store", "domain", "clock", "lane", "retry", "supervisor"],
    ),
    ("reconcile", &["gate", "store", "domain", "crash"]),
    ("catalogue", &["store", "domain", "pubsub", "supervisor"]),
    (
        "consumers",
        &[
            "catalogue",
            "store",
            "broker",
            "domain",
            "crash",
            "retry",
            "supervisor",
            "trace",
        ],
    ),
    (
        "lifecycle",
        &["catalogue", "reconcile", "store", "gate", "domain", "clock"],
    ),
    ("identity", &["domain", "clock", "retry", "supervisor"]),
    ("alert", &["retry", "web"]),
    (
        "aggregate",
        &[
            "alert",
            "store",
            "domain",
            "clock",
            "crash",
            "retry",
            "supervisor",
        ],
    ),
    ("payment", &["domain"]),
    (
        "changes",
        &[
            "catalogue",
            "payment",
            "store",
            "gate",
            "domain",
            "crash",
            "lane",
            "retry",
            "supervisor",
        ],
    ),
    ("meter", &["store", "domain", "clock"]),
    ("reading", &[]),
    (
        "status",
        &["meter", "store", "gate", "domain", "reading", "supervisor"],
    ),
    ("skew", &["clock", "store", "supervisor"]),
    ("health", &["store", "gate", "broker", "skew"]),
    (
        "system",
        &[
            "store", "gate", "relay", "broker", "domain", "clock", "reading",
        ],
    ),
    (
        "participate",
        &[
            "admission",
            "allow_list",
            "writer",
            "direct",
            "crash",
            "catalogue",
            "lane",
            "meter",
            "reconcile",
            "store",
            "gate",
            "broker",
            "domain",
            "clock",
            "supervisor",
            "trace",
        ],
    ),
    (
        "http",
        &[
            "accounts",
            "participate",
            "limits",
            "allow_list",
            "challenge",
            "aggregate",
            "changes",
            "export",
            "simulate",
            "payment",
            "lifecycle",
            "reconcile",
            "catalogue",
            "status",
            "system",
            "health",
            "skew",
            "meter",
            "store",
            "gate",
            "domain",
            "identity",
            "clock",
            "telemetry",
            "trace",
            "guesses",
            "security",
        ],
    ),
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The module a file belongs to: the first part of its path below `src`.
fn module_of(path: &Path, source: &Path) -> String {
    let first = path
        .strip_prefix(source)
        .unwrap()
        .components()
        .next()
        .unwrap();
    first
        .as_os_str()
        .to_str()
        .unwrap()
        .trim_end_matches(".rs")
        .to_owned()
}

/// Every module named after `crate::`, also within braces.
fn named(text: &str) -> BTreeSet<String> {
    let mut modules = BTreeSet::new();
    for (index, _) in text.match_indices("crate::") {
        let rest = &text[index + "crate::".len()..];
        let heads = match rest.strip_prefix('{') {
            Some(group) => group.split('}').next().unwrap().split(',').collect(),
            None => vec![rest],
        };
        for head in heads {
            let name: String = head
                .trim()
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            modules.insert(name);
        }
    }
    modules
}

#[test]
fn modules_name_only_those_below_them() {
    let allowed: BTreeMap<&str, &[&str]> = EDGES.into_iter().collect();
    let source = root().join("src");
    let mut files = Vec::new();
    sources(&source, &mut files);
    let mut wrong = Vec::new();
    for file in files {
        let module = module_of(&file, &source);
        if ["lib", "main", "command"].contains(&module.as_str()) {
            continue;
        }
        let edges = allowed
            .get(module.as_str())
            .unwrap_or_else(|| panic!("{module} is not drawn"));
        for name in named(&fs::read_to_string(&file).unwrap()) {
            if name != module && !edges.contains(&name.as_str()) {
                wrong.push(format!("{} names {name}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn an_edge_is_seen_within_braces_too() {
    let text = "use crate::{gate::Gate, store}; let x = crate::http::serve;";
    assert_eq!(
        named(text),
        ["gate", "http", "store"].map(str::to_owned).into()
    );
}

#[test]
fn only_the_retry_module_knows_the_backoff_crate() {
    let source = root().join("src");
    let mut files = Vec::new();
    sources(&source, &mut files);
    let with: Vec<_> = files
        .iter()
        .filter(|file| fs::read_to_string(file).unwrap().contains("use backoff"))
        .map(|file| module_of(file, &source))
        .collect();
    assert_eq!(with, ["retry"]);
}

#[test]
fn the_openapi_document_has_not_drifted() {
    let written = fs::read_to_string(root().join("openapi/openapi.json")).unwrap();
    let made = firstcome::http::openapi_document();
    assert!(
        written.trim() == made.trim(),
        "run `make openapi` and look at the difference"
    );
}

#[test]
fn the_asyncapi_document_has_not_drifted() {
    let written = fs::read_to_string(root().join("openapi/asyncapi.json")).unwrap();
    assert!(
        written.trim() == firstcome::asyncapi::document().trim(),
        "run `make openapi` and look at the difference"
    );
}
