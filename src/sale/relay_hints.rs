//! Hands events over to the relay of this process right after their commit. A hint that finds no room costs a poll,
//! not an event.

use std::time::Instant;

use tokio::sync::mpsc;

use crate::domain::{CampaignId, CommittedEvents, OutboxEvent, StreamId};

/// The channel to the relay. Without one, or if another process publishes, the relay's poll finds the events.
#[derive(Clone, Debug, Default)]
pub struct RelayHints(Option<mpsc::Sender<CommittedEvents>>);

impl RelayHints {
    /// Hints through this channel; it may be full.
    #[must_use]
    pub const fn new(channel: Option<mpsc::Sender<CommittedEvents>>) -> Self {
        Self(channel)
    }

    /// Events of one campaign were committed, in order of sequence.
    pub fn committed(&self, events: Vec<OutboxEvent>) {
        self.hint(events, false);
    }

    /// An event was committed that its request publishes itself.
    pub fn held(&self, event: OutboxEvent) {
        self.hint(vec![event], true);
    }

    /// Events about a campaign itself were committed: the relay must read them.
    pub fn campaign_changed(&self, campaign: CampaignId) {
        if let Some(channel) = &self.0 {
            drop(channel.try_send(CommittedEvents {
                stream: StreamId::of_campaign(campaign),
                events: Vec::new(),
                is_held: false,
                committed_at: Instant::now(),
            }));
        }
    }

    /// One hint for each range without a gap.
    fn hint(&self, events: Vec<OutboxEvent>, is_held: bool) {
        let Some(channel) = &self.0 else {
            return;
        };
        let committed_at = Instant::now();
        let mut ranges: Vec<CommittedEvents> = Vec::new();
        for event in events {
            let follows = ranges.last().and_then(|range| range.events.last());
            let follows = follows.is_some_and(|last| last.sequence + 1 == event.sequence);
            match ranges.last_mut() {
                Some(range) if follows => range.events.push(event),
                _ => ranges.push(CommittedEvents {
                    stream: event.stream(),
                    events: vec![event],
                    is_held,
                    committed_at,
                }),
            }
        }
        for range in ranges {
            drop(channel.try_send(range));
        }
    }
}
