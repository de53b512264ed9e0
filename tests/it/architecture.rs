//! The structure of `src`, read from the imports: layers, circles, sizes. Also checks the generated documents
//! for drift.

mod graph;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use graph::{Graph, rust_files};

/// The top modules, from the lowest; each may use those before it.
const LAYERS: [&str; 10] = [
    "domain", "runtime", "parts", "access", "sale", "events", "operate", "http", "config",
    "command",
];

/// At most this many lines in a file of `src`, and at most this many files over the second number.
const LINES_MAX: usize = 400;
const LONG: usize = 300;
const LONG_FILES_MAX: usize = 20;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn graph() -> Graph {
    Graph::read(&root().join("src"))
}

/// The modules that each top module uses.
fn layers() -> BTreeMap<String, BTreeSet<String>> {
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (module, to) in graph().edges() {
        let Some(from) = module.first() else { continue };
        let named = edges.entry(from.clone()).or_default();
        let tops = to.iter().filter_map(|module| module.first());
        named.extend(tops.filter(|top| *top != from).cloned());
    }
    edges
}

/// The modules next to it that each module directly below `room` uses, including all of its files.
fn edges_inside(graph: &Graph, room: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (module, to) in graph.edges() {
        let Some(from) = module.get(1).filter(|_| module[0] == room) else {
            continue;
        };
        let named = edges.entry(from.clone()).or_default();
        let beside = to.iter().filter(|target| target[0] == room);
        let beside = beside.filter_map(|target| target.get(1));
        named.extend(beside.filter(|name| *name != from).cloned());
    }
    edges
}

/// The generated part of `docs/architecture.md`.
fn edge_tables() -> String {
    let list = |names: &BTreeSet<String>| {
        let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        if names.is_empty() {
            "nothing".to_owned()
        } else {
            names.join(", ")
        }
    };
    let mut text = "| module | imports |\n|---|---|\n".to_owned();
    let layers = layers();
    for name in LAYERS.iter().rev() {
        writeln!(text, "| `{name}` | {} |", list(&layers[*name])).unwrap();
    }
    let graph = graph();
    for room in LAYERS.iter().rev() {
        let edges = edges_inside(&graph, room);
        if edges.values().all(BTreeSet::is_empty) {
            continue;
        }
        write!(
            text,
            "\nInside `{room}`:\n\n| module | imports |\n|---|---|\n"
        )
        .unwrap();
        for (from, to) in &edges {
            if !to.is_empty() {
                writeln!(text, "| `{from}` | {} |", list(to)).unwrap();
            }
        }
    }
    text
}

/// Set by `make structure`, which writes the tables instead of comparing them.
const WRITE: &str = "FIRSTCOME_WRITE_STRUCTURE";

#[test]
fn the_tables_of_imports_have_not_drifted() {
    let page = root().join("docs/architecture.md");
    let text = fs::read_to_string(&page).unwrap();
    let (before, rest) = text.split_once("<!-- imports: begin -->\n").unwrap();
    let (written, after) = rest.split_once("<!-- imports: end -->").unwrap();
    let made = format!("\n{}\n", edge_tables());
    if std::env::var_os(WRITE).is_some() {
        let text = format!("{before}<!-- imports: begin -->\n{made}<!-- imports: end -->{after}");
        fs::write(&page, text).unwrap();
        return;
    }
    assert!(
        written == made,
        "run `make structure` and look at the difference"
    );
}

#[test]
fn every_decision_is_in_the_index_with_its_status_and_date() {
    let folder = root().join("docs/decisions");
    let index = fs::read_to_string(folder.join("README.md")).unwrap();
    let mut rows: Vec<&str> = index
        .lines()
        .filter(|line| line.starts_with("| ["))
        .collect();
    for entry in fs::read_dir(&folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name == "README.md" {
            continue;
        }
        let page = fs::read_to_string(folder.join(&name)).unwrap();
        let number = &name[..4];
        let title = page.lines().next().unwrap();
        let title = title.strip_prefix(&format!("# {number}: ")).unwrap();
        let start = format!("| [{number}]({name}) | {title} | ");
        let found = rows.iter().position(|row| row.starts_with(&start));
        let row = rows.remove(found.unwrap_or_else(|| panic!("no row {start}")));
        let cells: Vec<&str> = row[start.len()..]
            .trim_end_matches(" |")
            .split(" | ")
            .collect();
        let [status, date] = cells[..] else {
            panic!("{row}")
        };
        assert!(
            status == "accepted" || status.starts_with("replaced by "),
            "{row}"
        );
        assert!(date.len() == 10 && date.starts_with("20"), "{row}");
    }
    assert!(rows.is_empty(), "rows without a page: {rows:?}");
}

#[test]
fn a_module_names_only_layers_below_its_own() {
    let rank = |name: &str| LAYERS.iter().position(|layer| *layer == name);
    let mut wrong = Vec::new();
    for (from, to) in layers() {
        for name in to {
            let is_below = rank(&name).unwrap() < rank(&from).unwrap();
            if !is_below {
                wrong.push(format!("{from} names {name}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_files_name_one_another_in_a_circle() {
    let circles = graph().circles();
    assert!(circles.is_empty(), "{circles:#?}");
}

#[test]
fn the_structure_stays_small() {
    let source = root().join("src");
    let files = rust_files(&source).into_iter().filter(|file| {
        let name = file.file_name().unwrap();
        name != "tests.rs" && !file.components().any(|part| part.as_os_str() == "tests")
    });
    let lines = files.map(|file| {
        let lines = fs::read_to_string(&file).unwrap().lines().count();
        (lines, file)
    });
    let mut long: Vec<_> = lines.filter(|(lines, _)| *lines > LONG).collect();
    long.sort();
    let too_long: Vec<_> = long
        .iter()
        .filter(|(lines, _)| *lines > LINES_MAX)
        .collect();
    let edges: usize = layers().values().map(BTreeSet::len).sum();
    let circles = graph().circles().len();
    println!(
        "{} modules at the top, {edges} edges between them, {circles} circles of files, {} files over {LONG} \
         lines, {} over {LINES_MAX}",
        LAYERS.len(),
        long.len(),
        too_long.len()
    );
    assert!(too_long.is_empty(), "{too_long:#?}");
    assert!(long.len() <= LONG_FILES_MAX, "{long:#?}");
}

#[test]
fn only_the_retry_module_knows_the_backoff_crate() {
    let source = root().join("src");
    let mut files = rust_files(&source);
    files.retain(|file| fs::read_to_string(file).unwrap().contains("use backoff"));
    assert_eq!(files, [source.join("runtime/retry.rs")]);
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
