//! What happened to an event that was not simply published, as a report to the parker; and the claims of parked rows
//! that are being retried.

use std::sync::{Arc, Mutex, PoisonError};

use super::window::Claim;
use super::{Item, Set};
use crate::domain::{EventId, LogPlace};
use crate::parts::store::PublishedEvent;

/// What happened to an event.
#[derive(Debug)]
pub(super) enum ParkerReport {
    /// A parked one was acknowledged; with its position, if positions are stored.
    Delivered {
        item: Item,
        published: Option<PublishedEvent>,
    },
    /// It may have been published; it is retried.
    Unsure { item: Item, error: String },
    /// It was rejected when sent alone: it will never be published.
    Refused { item: Item, error: String },
    /// Its topic or partition accepts no records: no attempt is charged.
    Wait(Item),
    /// Its key was blocked when it came.
    Block(Item),
    /// It cannot be read: there is nothing to publish.
    Unreadable {
        place: LogPlace,
        id: EventId,
        error: String,
        claim: Claim,
    },
}

/// Parked rows that are being retried.
pub(super) type RetriesInFlight = Arc<Mutex<Set<LogPlace>>>;

/// A parked row that is being retried; until it is dropped, the row is not read again.
#[derive(Debug)]
pub(super) struct ParkedClaim {
    retries: RetriesInFlight,
    place: LogPlace,
}

impl ParkedClaim {
    /// Claims a row, unless it is already being retried.
    pub(super) fn new(retries: &RetriesInFlight, place: LogPlace) -> Option<Self> {
        let mut known = retries.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(place).then(|| Self {
            retries: Arc::clone(retries),
            place,
        })
    }
}

impl Drop for ParkedClaim {
    fn drop(&mut self) {
        let mut retries = self.retries.lock().unwrap_or_else(PoisonError::into_inner);
        retries.remove(&self.place);
    }
}
