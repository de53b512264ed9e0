//! The handle of a running relay.

use tokio::sync::mpsc;

use super::breaker::BreakerState;
use super::foreign_streams::ForeignStreams;
use super::{Context, Metrics};
use crate::domain::{CampaignId, Fresh, Topic};

/// A handle of a running relay.
#[derive(Clone, Debug)]
pub struct RelayHandle {
    pub(super) hints: mpsc::Sender<Fresh>,
    pub(super) context: Context,
}

impl RelayHandle {
    /// Where commits hand over their events, with `try_send`: a hint that is dropped costs at most one wait of the
    /// poll.
    #[must_use]
    pub fn hints(&self) -> mpsc::Sender<Fresh> {
        self.hints.clone()
    }

    /// Another replica has appended events to a stream: makes the relay read it now if the stream is its own.
    pub fn wake(&self, campaign: CampaignId) {
        if self.context.ownership.owns(campaign.bucket()) {
            self.context.metrics.woken.inc();
            self.context.touched().insert(campaign);
            self.context.wake.notify_one();
        }
    }

    /// Streams to notify other relays of.
    #[must_use]
    pub fn foreign_streams(&self) -> ForeignStreams {
        self.context.foreign_streams.clone()
    }

    /// The relay's numbers.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.context.metrics
    }

    /// Whether broker, topics and partitions are written to; false while a breaker holds rows back.
    #[must_use]
    pub fn is_publishing(&self) -> bool {
        self.context.breakers.closed()
    }

    /// The breaker of the broker, and those of the topics: one is not closed while a partition takes nothing.
    #[must_use]
    pub fn breakers(&self) -> (BreakerState, Vec<(Topic, BreakerState)>) {
        self.context.breakers.states()
    }

    /// Its name in the lease rows.
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
