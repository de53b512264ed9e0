//! The settings of a campaign for the gate.

use super::EXACT_MAX;
use crate::domain::{Campaign, State, Timestamp};

/// The settings of a campaign in the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The campaign's gate epoch, read in the same row as the version. After a failover the store may have lost its
    /// last changes, and then counts versions again from an older one. First it raises the epoch beyond the gate's,
    /// so that epoch and version together still show which settings are newer.
    pub epoch: u64,
    /// The campaign's version.
    pub version: u64,
    /// State; `Scheduled` is treated as open within its window.
    pub state: State,
    /// First moment of the window.
    pub opens_at: Option<Timestamp>,
    /// End of the window, exclusive.
    pub closes_at: Option<Timestamp>,
    /// Total units; none: unlimited.
    pub total_stock: Option<u64>,
    /// Units one user may hold.
    pub per_user_limit: u32,
    /// Units one request may ask for.
    pub max_quantity: u32,
}

impl Settings {
    /// Whether these are newer than `other`. Only newer settings replace others.
    #[must_use]
    pub fn is_newer_than(&self, other: &Self) -> bool {
        (self.epoch, self.version) > (other.epoch, other.version)
    }

    /// Whether the campaign has ended.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        matches!(self.state, State::Closed | State::Archived)
    }

    /// Whether both are equal, except for epoch and version.
    #[must_use]
    pub fn is_same_as(&self, other: &Self) -> bool {
        let Self { epoch, version, .. } = *self;
        let other = Self {
            epoch,
            version,
            ..*other
        };
        *self == other
    }
}

impl From<&Campaign> for Settings {
    fn from(campaign: &Campaign) -> Self {
        Self {
            epoch: campaign.gate_epoch,
            version: campaign.version,
            state: campaign.state,
            opens_at: campaign.opens_at,
            closes_at: campaign.closes_at,
            total_stock: campaign.total_stock.map(|total| total.min(EXACT_MAX)),
            per_user_limit: campaign.per_user_limit,
            max_quantity: campaign.max_quantity,
        }
    }
}

/// The result of configuring the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Configured {
    /// The new settings are effective.
    Applied,
    /// The gate has newer settings; nothing changed.
    Stale,
    /// The gate has no state for this campaign.
    Missing,
}
