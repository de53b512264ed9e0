//! Acknowledged events whose offsets are not written yet (`relay.keep_offsets`). They count as in flight until the
//! offsets are written. This bounds their number, and the position does not pass an event without a written offset.

use std::sync::{Mutex, PoisonError};

use super::window::Claim;
use crate::parts::store::PublishedEvent;

#[derive(Debug, Default)]
pub(super) struct Offsets(Mutex<Vec<(Claim, PublishedEvent)>>);

impl Offsets {
    pub(super) fn add(&self, claim: Claim, event: PublishedEvent) {
        self.lock().push((claim, event));
    }

    pub(super) fn take(&self) -> Vec<(Claim, PublishedEvent)> {
        std::mem::take(&mut self.lock())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(Claim, PublishedEvent)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
