//! The list of features names tests and files that exist.

use std::fs;
use std::path::Path;

const NOT_YET: &str = "not yet";

/// The rows of the tables of features: the feature, and its evidence.
fn rows() -> Vec<(String, String)> {
    let page = fs::read_to_string("docs/features.md").unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| "));
    let cells = rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 3, "{row}");
        (cells[0].to_owned(), cells[2].to_owned())
    });
    cells.filter(|(feature, _)| feature != "feature").collect()
}

/// The missing evidence of a feature; none: all of it exists.
fn missing(evidence: &str) -> Option<String> {
    if evidence == NOT_YET {
        return None;
    }
    let named: Vec<&str> = evidence.split(", ").collect();
    let mut named = named.into_iter();
    named.find_map(|one| {
        let quoted = one
            .strip_prefix('`')
            .and_then(|rest| rest.strip_suffix('`'));
        let Some(quoted) = quoted else {
            return Some(format!("{one:?} names neither a test nor a file"));
        };
        let Some((file, test)) = quoted.split_once("::") else {
            return (!Path::new(quoted).exists()).then(|| format!("{quoted} does not exist"));
        };
        let source = fs::read_to_string(file).unwrap_or_default();
        let is_there = source.contains(&format!("fn {test}("));
        (!is_there).then(|| format!("{file} has no test {test}"))
    })
}

#[test]
fn every_feature_names_tests_or_files_that_exist() {
    let rows = rows();
    assert!(rows.len() > 50, "the tables were not understood");
    let missing: Vec<String> = rows
        .iter()
        .filter_map(|(feature, evidence)| Some(format!("{feature}: {}", missing(evidence)?)))
        .collect();
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn a_test_or_file_that_does_not_exist_is_found() {
    for evidence in [
        "",
        "somehow",
        "`tests/it/store.rs::no_such_test`",
        "`tests/it/no_such_file.rs::concurrent_batches_never_oversell`",
        "`tests/it/store.rs::concurrent_batches_never`",
        "`no/such/file`",
        "`tests/it/store.rs::concurrent_batches_never_oversell`, `no/such/file`",
    ] {
        assert!(missing(evidence).is_some(), "{evidence}");
    }
    let whole = "`tests/it/store.rs::concurrent_batches_never_oversell`, `k6/verify.js`";
    assert_eq!(missing(whole), None);
}
