//! Ids of campaigns changed by this or another replica, for the schedule.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use crate::domain::CampaignId;

/// Campaigns that wait; further ones are dropped.
const WAITING_MAX: usize = 1_024;

/// Changed campaigns that were not taken yet.
#[derive(Default)]
pub(super) struct ChangedCampaigns {
    waiting: Mutex<HashSet<CampaignId>>,
    wake: Notify,
}

impl ChangedCampaigns {
    /// Adds a campaign.
    pub(super) fn add(&self, id: CampaignId) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < WAITING_MAX {
            waiting.insert(id);
        }
        drop(waiting);
        self.wake.notify_one();
    }

    /// Waits until there are some, and takes them. One task at a time may wait.
    pub(super) async fn take(&self) -> HashSet<CampaignId> {
        loop {
            let taken = self.take_waiting();
            if !taken.is_empty() {
                return taken;
            }
            self.wake.notified().await;
        }
    }

    fn take_waiting(&self) -> HashSet<CampaignId> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *waiting)
    }
}
