//! What happened to an event that was not simply published, on its way to the parker; and the claims of parked rows that
//! are being tried again.

use std::sync::{Arc, Mutex, PoisonError};

use super::window::Claim;
use super::{Item, Set};
use crate::domain::{EventId, LogPlace};
use crate::parts::store::PublishedEvent;

/// What happened to an event.
#[derive(Debug)]
pub(super) enum Report {
    /// A parked one was acknowledged: where, if that is kept.
    Delivered {
        item: Item,
        published: Option<PublishedEvent>,
    },
    /// It may have been published; it is tried again.
    Unsure { item: Item, error: String },
    /// It was refused, alone: it never will be published.
    Refused { item: Item, error: String },
    /// Its topic or partition takes no records: no attempt is charged.
    Wait(Item),
    /// It came while its key was blocked.
    Block(Item),
    /// It cannot be read: there is nothing to publish.
    Unreadable {
        place: LogPlace,
        id: EventId,
        error: String,
        claim: Claim,
    },
}

/// Parked rows that are being tried again.
pub(super) type Out = Arc<Mutex<Set<LogPlace>>>;

/// A parked row that is being tried again; until it is dropped, it is not brought back another time.
#[derive(Debug)]
pub(super) struct ParkedClaim {
    out: Out,
    place: LogPlace,
}

impl ParkedClaim {
    /// Claims a row, unless it is being tried already.
    pub(super) fn new(out: &Out, place: LogPlace) -> Option<Self> {
        let mut known = out.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(place).then(|| Self {
            out: Arc::clone(out),
            place,
        })
    }
}

impl Drop for ParkedClaim {
    fn drop(&mut self) {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        out.remove(&self.place);
    }
}
