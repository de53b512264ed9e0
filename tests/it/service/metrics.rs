//! `/metrics` of a running service has exactly the metrics in `docs/metrics.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use firstcome::domain::metric;
use serde_json::json;
use tempfile::TempDir;

use super::process::Service;
use crate::support::until;

/// A metric: its type, and the names of its labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Metric {
    kind: String,
    labels: BTreeSet<String>,
}

/// Metrics by name, as in queries: a counter with `_total`, a histogram without `_bucket`.
type Metrics = BTreeMap<String, Metric>;

/// The metrics in the samples. A label value may contain braces and commas, but no quotation marks: text
/// between them is skipped.
fn shown(text: &str) -> Metrics {
    let mut metrics = Metrics::new();
    let mut family = (String::new(), String::new());
    for line in text.lines() {
        if let Some(described) = line.strip_prefix("# TYPE ") {
            let (name, kind) = described.split_once(' ').unwrap();
            family = (name.to_owned(), kind.to_owned());
        } else if !line.starts_with('#') {
            let (base, kind) = &family;
            let end = line.find(['{', ' ']).unwrap();
            let suffix = line[..end].strip_prefix(base.as_str()).unwrap();
            let suffixes: &[&str] = match kind.as_str() {
                "counter" => &["_total"],
                "histogram" => &["_bucket", "_sum", "_count"],
                _ => &[""],
            };
            assert!(suffixes.contains(&suffix), "a {kind} with {line}");
            let name = match kind.as_str() {
                "counter" => format!("{base}_total"),
                _ => base.clone(),
            };
            let labels = line[end..].split('"').step_by(2);
            let labels = labels.filter_map(|part| part.strip_suffix('='));
            let labels = labels.map(|label| label.trim_start_matches(['{', ',']).to_owned());
            let metric = metrics.entry(name).or_default();
            metric.kind.clone_from(kind);
            metric.labels.extend(labels.filter(|label| label != "le"));
        }
    }
    metrics
}

/// The rows of the tables: each metric, and whether it always exists.
fn documented(document: &str) -> BTreeMap<String, (Metric, bool)> {
    let rows = document.lines().filter(|line| line.starts_with("| `"));
    let rows = rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [_, name, kind, labels, seen, ..] = cells[..] else {
            panic!("a row with too few cells: {row}");
        };
        let metric = Metric {
            kind: kind.to_owned(),
            labels: words(labels).collect(),
        };
        (words(name).next().unwrap(), (metric, seen == "always"))
    });
    rows.collect()
}

/// The words in backticks.
fn words(cell: &str) -> impl Iterator<Item = String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned)
}

async fn read(service: &Service) -> Metrics {
    let answer = service.get("/metrics").send().await.unwrap();
    shown(&answer.text().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metrics_are_those_that_are_documented() {
    let file = format!("{}/docs/metrics.md", env!("CARGO_MANIFEST_DIR"));
    let documented = documented(&fs::read_to_string(file).unwrap());
    let folder = TempDir::new().unwrap();
    // One user exceeds the rate, so that this metric has a value.
    let settings = [("FIRSTCOME_LIMITS_USER", "1/1h".to_owned())];
    let service = Service::start(&folder, &settings).await;
    let campaign = service
        .create(json!({ "name": "measured", "kind": "points", "reward": { "points": 1 } }))
        .await;
    assert_eq!(service.take_part(campaign, 1).await.status(), 201);
    assert_eq!(service.take_part(campaign, 1).await.status(), 429);
    until("everything that is always there is there", async || {
        let live = read(&service).await;
        let mut always = documented.iter().filter(|(_, (_, always))| *always);
        always.all(|(name, _)| live.contains_key(name))
    })
    .await;

    let live = read(&service).await;
    assert!(live.contains_key("firstcome_limits_refused_total"));
    for (name, metric) in live {
        let Some((row, _)) = documented.get(&name) else {
            panic!("{name} is not in docs/metrics.md");
        };
        assert_eq!(*row, metric, "{name}");
    }
}

/// A live service shows some metrics only once something went wrong. So the declarations are compared with the
/// tables, too, and each declaration must be registered somewhere.
#[test]
fn every_declared_metric_is_registered_and_documented() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let documented = documented(&fs::read_to_string(root.join("docs/metrics.md")).unwrap());
    let declared: Vec<_> = metric::ALL
        .iter()
        .flat_map(|(_, metrics)| *metrics)
        .collect();
    assert!(declared.len() > 50, "{} metrics", declared.len());
    let names: BTreeSet<&str> = declared.iter().map(|metric| metric.name).collect();
    assert_eq!(names.len(), declared.len(), "a name is declared twice");
    assert!(
        names
            .iter()
            .copied()
            .eq(documented.keys().map(String::as_str))
    );
    let mut registered = BTreeSet::new();
    collect(&root.join("src"), &mut registered);
    let constant = |name: &str| {
        let name = name.strip_prefix("firstcome_").unwrap_or(name);
        name.strip_suffix("_total").unwrap_or(name).to_uppercase()
    };
    let constants: BTreeSet<String> = names.into_iter().map(constant).collect();
    assert_eq!(constants, registered);
}

/// The declarations that the sources below a folder register, without their tests.
fn collect(folder: &Path, registered: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, registered);
        } else if path.extension().is_some_and(|end| end == "rs") {
            let source = fs::read_to_string(&path).unwrap();
            let source = source.split("#[cfg(test)]").next().unwrap_or_default();
            // No metric is registered without its declaration.
            let calls =
                source.matches(".register(\"").count() + source.matches("_with_unit(\"").count();
            assert_eq!(calls, 0, "{}", path.display());
            let calls = source.split(".add(").skip(1);
            registered.extend(calls.filter_map(|call| {
                let name = call.trim_start().strip_prefix("&metric::")?;
                name.split(',').next().map(str::to_owned)
            }));
            // `registers!(Owner: field = METRIC, …);`, except the macro itself.
            let lists = source.split("registers!(").skip(1);
            let fields = lists.filter_map(|list| list.split(");").next());
            registered.extend(fields.flat_map(|fields| {
                let metrics = fields.split('=').skip(1);
                metrics
                    .filter_map(|metric| metric.split([',', ')']).next())
                    .map(|name| name.trim().to_owned())
            }));
        }
    }
}
