//! Declares settings. One declaration has a setting's type, default, bounds and documentation. The generated struct
//! is a section of the configuration file and the configuration type of the component. The name of the environment
//! variable follows from the section and the key. Sources are read in `config`, not here.

mod bounds;
mod kind;
mod list;

use std::time::Duration;

pub use bounds::Bounds;
pub(crate) use kind::plain;
pub use kind::{AnySetting, Kind, Setting, duration_text, read};
pub use list::Names;

/// Units of durations in declarations.
pub const MILLISECOND: Duration = Duration::from_millis(1);
/// A second.
pub const SECOND: Duration = Duration::from_secs(1);
/// A minute.
pub const MINUTE: Duration = Duration::from_secs(60);
/// A day.
pub const DAY: Duration = Duration::from_secs(86_400);

/// Prefix of the environment variables.
pub const PREFIX: &str = "FIRSTCOME_";

/// One setting of a section, with its value.
pub struct Described<'a> {
    /// The key in the file.
    pub key: &'static str,
    /// The lines of its documentation.
    doc: &'static [&'static str],
    /// The default in words, if the documentation shows words.
    shown: Option<&'static str>,
    /// The value.
    pub value: &'a dyn AnySetting,
    /// The bounds, and whether the value is within them.
    pub bounds: Option<Bounds>,
}

impl<'a> Described<'a> {
    /// Used by the macro.
    #[doc(hidden)]
    #[must_use]
    pub fn new(
        key: &'static str,
        doc: &'static [&'static str],
        shown: &[&'static str],
        value: &'a dyn AnySetting,
        bounds: Option<Bounds>,
    ) -> Self {
        Self {
            key,
            doc,
            shown: shown.first().copied(),
            value,
            bounds,
        }
    }

    /// The documentation, in Markdown, on one line.
    #[must_use]
    pub fn doc(&self) -> String {
        let lines: Vec<&str> = self.doc.iter().map(|line| line.trim()).collect();
        lines.join(" ")
    }

    /// The default, in Markdown. The value must be the default.
    #[must_use]
    pub fn default_text(&self) -> String {
        match (self.shown, self.value.value()) {
            (Some(shown), _) => shown.to_owned(),
            (None, serde_json::Value::Null) => "none".to_owned(),
            (None, serde_json::Value::Array(items)) if items.is_empty() => "none".to_owned(),
            (None, serde_json::Value::String(text)) if text.is_empty() => "none".to_owned(),
            (None, serde_json::Value::String(text)) => format!("`{text}`"),
            (None, value) => format!("`{value}`"),
        }
    }

    /// Whether the default depends on the machine or on other settings.
    #[must_use]
    pub const fn is_default_described(&self) -> bool {
        self.shown.is_some()
    }
}

/// A section of the configuration.
pub trait Section {
    /// Its name in the file.
    fn name(&self) -> &'static str;

    /// Its settings in the order of their declaration.
    fn settings(&self) -> Vec<Described<'_>>;
}

/// The settings of a section outside of their bounds, each as `key: must be …, not …`.
#[must_use]
pub fn out_of_bounds(section: &dyn Section) -> Vec<String> {
    let settings = section.settings().into_iter();
    let broken = settings.filter_map(|setting| {
        let bounds = setting.bounds.filter(|bounds| !bounds.hold)?;
        let value = bounds::plain(&setting.value.value());
        Some(format!(
            "{}: must be {}, not {value}",
            setting.key,
            bounds.rule()
        ))
    });
    broken.collect()
}

/// The environment variable of a setting.
#[must_use]
pub fn variable(section: &str, key: &str) -> String {
    format!("{PREFIX}{section}_{key}").to_uppercase()
}

/// Declares a section: `key: Type = default, in bounds, shown "default in words";`. Fields under `beside` are no
/// settings: code sets them, not the configuration.
macro_rules! settings {
    (
        $(#[$meta:meta])*
        $name:ident in $section:literal {
            $(
                $(#[doc = $doc:literal])+
                $field:ident: $type:ty = $default:expr $(, in $bounds:expr)? $(, shown $shown:literal)?;
            )+
        }
        $(beside {
            $($(#[$other_meta:meta])* $other:ident: $other_type:ty = $other_default:expr;)+
        })?
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name {
            $(
                $(#[doc = $doc])+
                #[serde(deserialize_with = "crate::runtime::settings::read")]
                pub $field: $type,
            )+
            $($($(#[$other_meta])* #[serde(skip)] pub $other: $other_type,)+)?
        }

        impl Default for $name {
            fn default() -> Self {
                Self {
                    $($field: $default,)+
                    $($($other: $other_default,)+)?
                }
            }
        }

        impl $crate::runtime::settings::Section for $name {
            fn name(&self) -> &'static str {
                $section
            }

            fn settings(&self) -> Vec<$crate::runtime::settings::Described<'_>> {
                vec![$($crate::runtime::settings::Described::new(
                    stringify!($field),
                    &[$($doc),+],
                    &[$($shown)?],
                    &self.$field,
                    None $(.or(Some($crate::runtime::settings::Bounds::of(&self.$field, $bounds))))?,
                )),+]
            }
        }
    };
}
pub(crate) use settings;
