//! The environment as keys and values of the configuration.

use std::collections::BTreeMap;

use figment::value::Value;

use super::Config;
use crate::runtime::settings::{Kind, PREFIX};

/// Variables of the scripts that provide the real parts, not settings.
const FOREIGN_SECTIONS: [&str; 1] = ["parts"];
/// Schedules of the tests, not settings.
const OF_TESTS: &str = "FIRSTCOME_TEST_SEEDS";
/// The variables of settings as keys and values.
pub(super) fn variables(
    environment: impl Iterator<Item = (String, String)>,
    mistakes: &mut Vec<String>,
) -> BTreeMap<String, Value> {
    let mut values = BTreeMap::new();
    for (name, value) in environment {
        let Some(rest) = name.strip_prefix(PREFIX).filter(|_| name != OF_TESTS) else {
            continue;
        };
        let (rest, value) = match rest.strip_suffix("_FILE") {
            Some(rest) => match std::fs::read_to_string(&value) {
                Ok(text) => (rest, text.trim_end_matches(['\n', '\r']).to_owned()),
                Err(error) => {
                    mistakes.push(format!("{name}: cannot read the file: {error}"));
                    continue;
                }
            },
            None => (rest, value),
        };
        let rest = rest.to_ascii_lowercase();
        match rest.split_once('_') {
            Some((section, _)) if FOREIGN_SECTIONS.contains(&section) => {}
            Some((section, key)) => {
                let key = format!("{section}.{key}");
                values.insert(key.clone(), typed(&key, &value));
            }
            None => mistakes.push(format!("{name}: is not a setting")),
        }
    }
    values
}

/// Whether a setting is text, also if its value looks like a number.
fn is_text(key: &str) -> bool {
    let defaults = Config::default();
    let sections = defaults.sections();
    let section = |name: &str| sections.iter().find(|section| section.name() == name);
    key.split_once('.').is_some_and(|(name, key)| {
        section(name).is_some_and(|section| {
            let settings = section.settings();
            let setting = settings.iter().find(|setting| setting.key == key);
            setting.is_some_and(|setting| {
                matches!(setting.value.kind(), Kind::Text | Kind::List | Kind::Secret)
            })
        })
    })
}

/// A value of the setting's type: text, or a number or truth value if it looks like one.
pub(super) fn typed(key: &str, value: &str) -> Value {
    if is_text(key) {
        return Value::from(value);
    }
    if let Ok(number) = value.parse::<i64>() {
        return Value::from(number);
    }
    let is_decimal = value
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    if let (true, Ok(number)) = (is_decimal, value.parse::<f64>()) {
        return Value::from(number);
    }
    match value {
        "true" => Value::from(true),
        "false" => Value::from(false),
        _ => Value::from(value),
    }
}
