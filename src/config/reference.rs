//! The configuration described from its declarations: tables for the documentation, a JSON schema of the file, and
//! the effective values. Secrets are masked.

use serde_json::{Map, Value, json};

use super::Config;
use crate::domain::metric;
use crate::runtime::settings::{Described, Kind, Section, variable};

/// The page with new tables: the first table below each heading of a section of settings or of a group of metrics.
#[must_use]
pub fn with_tables(page: &str) -> String {
    let defaults = Config::default();
    let table_below = |line: &str| {
        if let Some(name) = line
            .strip_prefix("### `[")
            .and_then(|rest| rest.strip_suffix("]`"))
        {
            let sections = defaults.sections();
            let section = sections.into_iter().find(|section| section.name() == name);
            return section.map(table);
        }
        line.strip_prefix("## ").and_then(metric::table)
    };
    let mut made = String::with_capacity(page.len());
    // The table to insert below the last heading, and whether the old one is being skipped.
    let (mut due, mut is_skipping) = (None, false);
    for line in page.lines() {
        if line.starts_with('#') {
            due = table_below(line);
        }
        is_skipping = line.starts_with('|') && (is_skipping || due.is_some());
        if !is_skipping {
            made.push_str(line);
            made.push('\n');
        } else if let Some(table) = due.take() {
            made.push_str(&table);
        }
    }
    made
}

/// The settings of a section as a table in Markdown.
#[must_use]
pub fn table(section: &dyn Section) -> String {
    let mut table =
        "| key | variable | default | allowed | meaning |\n|---|---|---|---|---|\n".to_owned();
    for setting in section.settings() {
        let secret = match setting.value.kind() {
            Kind::Secret => "Secret. ",
            _ => "",
        };
        let row = format!(
            "| `{key}` | `{variable}` | {default} | {allowed} | {secret}{doc} |\n",
            key = setting.key,
            variable = variable(section.name(), setting.key),
            default = setting.default_text(),
            allowed = allowed(&setting),
            doc = setting.doc(),
        );
        table.push_str(&row);
    }
    table
}

fn allowed(setting: &Described<'_>) -> String {
    match (&setting.bounds, setting.value.kind()) {
        (Some(bounds), _) => bounds.text(),
        (None, Kind::Choice(words)) => {
            let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
            words.join(", ")
        }
        (None, _) => String::new(),
    }
}

/// The JSON schema of the configuration file.
#[must_use]
pub fn schema() -> Value {
    let defaults = Config::default();
    let sections = defaults.sections().into_iter().map(|section| {
        let settings = section.settings();
        let properties = settings
            .iter()
            .map(|setting| (setting.key.to_owned(), property(setting)));
        let schema = json!({
            "type": "object",
            "additionalProperties": false,
            "properties": properties.collect::<Map<_, _>>(),
        });
        (section.name().to_owned(), schema)
    });
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "The configuration of firstcome",
        "type": "object",
        "additionalProperties": false,
        "properties": sections.collect::<Map<_, _>>(),
    })
}

fn property(setting: &Described<'_>) -> Value {
    let mut schema = Map::new();
    let (kind, bounded) = match setting.value.kind() {
        Kind::Boolean => (json!("boolean"), false),
        Kind::Integer => (json!("integer"), true),
        Kind::Number => (json!("number"), true),
        Kind::Duration | Kind::Text | Kind::Secret | Kind::Choice(_) => (json!("string"), false),
        Kind::List => (json!(["string", "array"]), false),
    };
    schema.insert("type".to_owned(), kind);
    if let Kind::Choice(words) = setting.value.kind() {
        schema.insert("enum".to_owned(), json!(words));
    }
    let mut description = setting.doc();
    if let Some(bounds) = &setting.bounds {
        if bounded {
            let ends = [("minimum", &bounds.least), ("maximum", &bounds.greatest)];
            for (name, end) in ends {
                schema.extend(end.clone().map(|end| (name.to_owned(), end)));
            }
        } else {
            description = format!("{description}; {}", bounds.text());
        }
    }
    schema.insert("description".to_owned(), description.into());
    let default = setting.value.value();
    if !default.is_null() && !setting.is_default_described() {
        schema.insert("default".to_owned(), default);
    }
    Value::Object(schema)
}

/// The effective configuration as a file: absent settings and masked secrets are comments.
#[must_use]
pub fn effective(config: &Config) -> String {
    let sections = config.sections().into_iter().map(|section| {
        let settings = section.settings();
        let lines = settings.iter().map(|setting| match setting.value.value() {
            Value::Null => format!("# {}\n", setting.key),
            value if setting.value.kind() == Kind::Secret => {
                format!("# {} = {value}\n", setting.key)
            }
            // Numbers, truth values and texts are the same in JSON and TOML.
            value => format!("{} = {value}\n", setting.key),
        });
        format!("[{}]\n{}", section.name(), lines.collect::<String>())
    });
    sections.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn loaded(file: Option<&Path>, environment: &[(&str, &str)]) -> Config {
        let environment = environment.iter();
        let environment =
            environment.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::from_sources(file, environment, &[]).unwrap()
    }

    #[test]
    fn the_effective_configuration_is_a_file_that_can_be_read() {
        let printed = effective(&loaded(None, &[("FIRSTCOME_GATE_LEASE", "20s")]));
        assert!(printed.contains("lease = \"20s\""), "{printed}");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("firstcome.toml");
        std::fs::write(&file, &printed).unwrap();
        assert_eq!(effective(&loaded(Some(&file), &[])), printed);
    }

    #[test]
    fn secrets_are_masked() {
        let printed = effective(&loaded(
            None,
            &[
                ("FIRSTCOME_ADMIN_TOKEN", "hush, the admin token"),
                ("FIRSTCOME_DATABASE_URL", "mysql://u:hush@h/d"),
            ],
        ));
        assert!(!printed.contains("hush"), "{printed}");
        assert!(printed.contains("# token = \"********\""), "{printed}");
    }

    #[test]
    fn the_schema_accepts_the_effective_configuration_and_rejects_unknown_keys() {
        let schema = jsonschema::validator_for(&schema()).unwrap();
        let config = Config::default();
        let sections = config.sections().into_iter().map(|section| {
            let settings = section.settings();
            let values = settings
                .iter()
                .map(|setting| (setting.key.to_owned(), setting.value.value()));
            let present = values.filter(|(_, value)| !value.is_null());
            (section.name().to_owned(), Value::Object(present.collect()))
        });
        let file = Value::Object(sections.collect());
        assert!(schema.is_valid(&file), "{:?}", schema.validate(&file));
        assert!(!schema.is_valid(&json!({ "gate": { "leese": "1s" } })));
        assert!(!schema.is_valid(&json!({ "writer": { "batchers": 65 } })));
        assert!(!schema.is_valid(&json!({ "auth": { "mode": "open" } })));
    }

    #[test]
    fn the_tables_of_the_documentation_have_not_drifted() {
        let settings = std::fs::read_to_string("docs/configuration.md").unwrap();
        let metrics = std::fs::read_to_string("docs/metrics.md").unwrap();
        for page in [&settings, &metrics] {
            let made = with_tables(page);
            assert!(
                *page == made,
                "run `make reference` and look at the difference"
            );
        }
        for section in Config::default().sections() {
            assert!(
                settings.contains(&table(section)),
                "no table of {}",
                section.name()
            );
        }
        for (heading, _) in metric::ALL {
            let table = metric::table(heading).unwrap();
            assert!(metrics.contains(&table), "no table of {heading}");
        }
    }
}
