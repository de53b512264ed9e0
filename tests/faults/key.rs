//! The key of the events of a run.

use serde::Serialize;

/// The key of events: under a shared key the order is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Key {
    Participation,
    User,
    Campaign,
}

impl Key {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Participation => "participation",
            Self::User => "user",
            Self::Campaign => "campaign",
        }
    }
}
