//! Which campaigns were changed lately, here or on another replica, for the schedule. It must not say how.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use crate::domain::CampaignId;

/// Campaigns that wait to be looked at; further ones are dropped.
const WAITING_MAX: usize = 1_024;

/// Campaigns that were changed and not looked at since.
#[derive(Default)]
pub(super) struct Changed {
    waiting: Mutex<HashSet<CampaignId>>,
    wake: Notify,
}

impl Changed {
    /// Adds one.
    pub(super) fn note(&self, id: CampaignId) {
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
