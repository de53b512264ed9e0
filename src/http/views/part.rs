//! The health of a part, in the responses of probes and in the problem of a process that is not ready.

use super::view;
use crate::operate::health::PartHealth;

view! {
    /// The health of one part.
    #[derive(Clone, PartialEq, Eq)]
    pub struct PartView as "PartHealth", skip_serializing_if_is_none from part: &PartHealth {
        /// `store`, `gate`, `broker` or `rewards`.
        name: String = part.name.to_owned(),
        /// `up` or `down`.
        status: String = if part.error.is_none() { "up" } else { "down" }.to_owned(),
        /// Why it is down, if that is known: `read-only: ` and the settings of the database that cause it.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String> = part.reason.clone(),
    }
}
