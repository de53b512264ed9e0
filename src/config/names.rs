//! Names in the configuration: in one text with commas between them, or as a list.

use serde::Deserialize;

#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Names {
    Text(String),
    List(Vec<String>),
}

impl Names {
    /// Each of them.
    pub(super) fn into_iter(self) -> impl Iterator<Item = String> {
        let names = match self {
            Self::Text(text) => text.split(',').map(|name| name.trim().to_owned()).collect(),
            Self::List(names) => names,
        };
        names.into_iter()
    }
}
