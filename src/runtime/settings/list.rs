//! Lists of names in the configuration.

use serde::Deserialize;

/// Names: one text separated by commas, or a list.
#[derive(Deserialize)]
#[serde(untagged)]
pub enum Names {
    /// `a,b`.
    Text(String),
    /// `["a", "b"]`.
    List(Vec<String>),
}

impl Names {
    /// The names, without the spaces around them.
    pub fn split(self) -> impl Iterator<Item = String> {
        let names = match self {
            Self::Text(text) => text.split(',').map(|name| name.trim().to_owned()).collect(),
            Self::List(names) => names,
        };
        names.into_iter()
    }
}
