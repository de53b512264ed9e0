//! Campaigns whose streams belong to other relays, and to which events were committed here. The other replicas are
//! notified; a lost notification costs one poll interval.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::domain::CampaignId;

/// Maximum number of streams that wait for a notification; the poll finds the others.
const STREAMS_MAX: usize = 4_096;
/// Pause before a notification, to collect further commits of the same stream.
const COLLECT: Duration = Duration::from_millis(4);

/// Streams to notify other relays of. All clones share one set.
#[derive(Clone, Debug, Default)]
pub struct ForeignStreams {
    shared: Arc<(Mutex<BTreeSet<CampaignId>>, Notify)>,
}

impl ForeignStreams {
    /// Adds a stream that has new events.
    pub fn add(&self, campaign: CampaignId) {
        let (streams, changed) = &*self.shared;
        let mut streams = streams.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = streams.is_empty();
        if streams.len() < STREAMS_MAX {
            streams.insert(campaign);
        }
        if is_first {
            changed.notify_one();
        }
    }

    /// Waits until there is a stream, and takes it.
    pub async fn next(&self) -> CampaignId {
        let (streams, changed) = &*self.shared;
        loop {
            let next = streams
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop_first();
            if let Some(next) = next {
                return next;
            }
            changed.notified().await;
            tokio::time::sleep(COLLECT).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn added_streams_are_taken_once_each() {
        let foreign = ForeignStreams::default();
        for campaign in [2, 1, 2] {
            foreign.add(CampaignId(campaign));
        }
        assert_eq!(foreign.next().await, CampaignId(1));
        assert_eq!(foreign.next().await, CampaignId(2));
        let waiting = tokio::time::timeout(Duration::from_secs(1), foreign.next());
        assert!(waiting.await.is_err(), "nothing is left");
    }
}
