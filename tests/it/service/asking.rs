//! The help texts of the command line, and its questions for confirmation.

use std::path::Path;

use tempfile::TempDir;

use super::process::command;

#[test]
fn help_names_existing_variables_and_documents() {
    let folder = TempDir::new().unwrap();
    let output = command(&folder, &[]).arg("--help").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let configuration = std::fs::read_to_string(docs.join("configuration.md")).unwrap();
    let words = || help.split([' ', '\n', ',', ';', ':', '(', ')']);
    let variables: Vec<&str> = words()
        .filter(|word| {
            word.starts_with("FIRSTCOME_") && !word.contains("SECTION") && !word.contains("..")
        })
        .collect();
    assert!(variables.len() > 5, "{help}");
    for variable in variables {
        assert!(configuration.contains(variable), "{variable}");
    }
    let documents: Vec<&str> = words()
        .filter(|word| Path::new(word).extension().is_some_and(|end| end == "md"))
        .collect();
    assert!(documents.len() > 3, "{help}");
    for document in documents {
        assert!(docs.join(document).is_file(), "{document}");
    }
}

#[test]
fn the_schema_is_removed_only_after_confirmation() {
    let folder = TempDir::new().unwrap();
    let migrate = |arguments: &[&str]| {
        let mut command = command(&folder, &[]);
        command.arg("migrate").args(arguments).output().unwrap()
    };
    assert!(migrate(&["up"]).status.success());
    let refused = migrate(&["down"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && said.contains("--yes"),
        "{said}"
    );
    assert!(migrate(&["down", "--yes"]).status.success());
}
