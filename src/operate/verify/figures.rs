//! The sums of one campaign.

use crate::domain::{EventId, ParticipationId, UserId};
use crate::parts::store::Waiting;

/// Sums over a campaign's rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Figures {
    pub(super) participations: u64,
    pub(super) units: u64,
    pub(super) changes: u64,
    pub(super) change_digest: i64,
    /// Events about participations, purged ones included.
    pub(super) events: u64,
    pub(super) event_digest: i64,
    /// Purged events about participations.
    pub(super) purged: u64,
    /// The same by the campaign's counter.
    pub(super) purged_counted: u64,
    /// Events about the campaign itself, and purged ones.
    pub(super) campaign_events: u64,
    pub(super) campaign_events_purged: u64,
    /// Events about orders, and purged ones.
    pub(super) order_events: u64,
    pub(super) order_events_purged: u64,
    pub(super) waiting: Waiting,
    pub(super) segments_kept: u64,
    pub(super) segments_read: u64,
    pub(super) overtaking: u64,
    /// Examples of rows that break an invariant.
    pub(super) over_limit: (u64, Vec<(UserId, u64)>),
    pub(super) without_event: Vec<ParticipationId>,
    pub(super) without_change: Vec<EventId>,
    pub(super) astray: Vec<EventId>,
    pub(super) overtaken: Vec<(EventId, EventId)>,
}

impl Figures {
    pub(super) fn waiting_of_participations(&self) -> u64 {
        self.waiting.pending + self.waiting.parked
    }

    /// Whether each change has its event, and each event its change.
    pub(super) fn has_its_events(&self) -> bool {
        self.changes == self.events && self.change_digest == self.event_digest
    }

    /// Events that are or were in the stream of the campaign itself.
    pub(super) fn campaign_stream(&self) -> u64 {
        self.campaign_events + self.campaign_events_purged
    }

    /// Events that are or were in the stream of orders.
    pub(super) fn order_stream(&self) -> u64 {
        self.order_events + self.order_events_purged
    }

    pub(super) fn events_there(&self) -> u64 {
        self.events.saturating_sub(self.purged)
    }

    pub(super) fn published(&self) -> u64 {
        self.events.saturating_sub(self.waiting_of_participations())
    }
}
