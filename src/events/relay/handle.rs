//! The handle of a running relay.

use tokio::sync::mpsc;

use super::breaker::BreakerState;
use super::foreign_streams::ForeignStreams;
use super::{Context, Metrics};
use crate::domain::{CampaignId, CommittedEvents, Topic};

/// A handle of a running relay.
#[derive(Clone, Debug)]
pub struct RelayHandle {
    pub(super) hints: mpsc::Sender<CommittedEvents>,
    pub(super) context: Context,
}

impl RelayHandle {
    /// The channel over which commits hand over their events, with `try_send`. A dropped hint delays its events by at
    /// most one poll interval.
    #[must_use]
    pub fn hints(&self) -> mpsc::Sender<CommittedEvents> {
        self.hints.clone()
    }

    /// Another replica has appended events to a stream: makes the relay read it now if the stream is its own.
    pub fn wake(&self, campaign: CampaignId) {
        if self.context.ownership.owns(campaign.bucket()) {
            self.context.metrics.woken.inc();
            self.context.appended_campaigns().insert(campaign);
            self.context.wake.notify_one();
        }
    }

    /// Streams to notify other relays of.
    #[must_use]
    pub fn foreign_streams(&self) -> ForeignStreams {
        self.context.foreign_streams.clone()
    }

    /// The relay's metrics.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.context.metrics
    }

    /// Whether all breakers are closed.
    #[must_use]
    pub fn is_publishing(&self) -> bool {
        self.context.breakers.closed()
    }

    /// The state of the broker's breaker, and of the topics' breakers: a topic with a failing partition is not
    /// closed.
    #[must_use]
    pub fn breakers(&self) -> (BreakerState, Vec<(Topic, BreakerState)>) {
        self.context.breakers.states()
    }

    /// The relay's name in the lease rows.
    #[must_use]
    pub fn owner(&self) -> &str {
        &self.context.config.owner
    }

    /// The buckets this relay owns now.
    #[must_use]
    pub fn buckets(&self) -> Vec<u16> {
        self.context.ownership.buckets()
    }
}
