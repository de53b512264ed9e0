//! The window after the position of a stream: which of its dispatched events are done. An event is done when the
//! broker has acknowledged it or it is parked; the position is the last sequence up to which all are done.
//!
//! Every event in flight has a claim. If a claim is dropped before its event is done (the sender panicked, the lease
//! was lost), the stream is lost: the dispatcher reads it again from its position.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use super::Context;
use super::owner::Term;
use crate::domain::{LogPlace, StreamId};

/// The position of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) published: u64,
    /// When the position that it began with was read, or before.
    pub(super) read_at: Instant,
}

/// The window of one stream during one tenure of its bucket.
#[derive(Debug)]
pub(super) struct Window {
    /// Differs from that of every other window of the process.
    id: u64,
    pub(super) stream: StreamId,
    pub(super) term: Term,
    /// When its position was read, or before.
    read_at: Instant,
    done: Mutex<EventsDone>,
    is_lost: AtomicBool,
}

#[derive(Debug)]
struct EventsDone {
    /// The position.
    published: u64,
    /// The events after it that were dispatched.
    dispatched: VecDeque<bool>,
}

impl Window {
    /// The position was read after `read_at`.
    pub(super) fn new(stream: StreamId, term: Term, published: u64, read_at: Instant) -> Self {
        static NEXT_ID: AtomicU64 = AtomicU64::new(0);
        Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            stream,
            term,
            read_at,
            done: Mutex::new(EventsDone {
                published,
                dispatched: VecDeque::new(),
            }),
            is_lost: AtomicBool::new(false),
        }
    }

    /// The sequence of the last dispatched event.
    pub(super) fn dispatched(&self) -> u64 {
        let done = self.lock();
        done.published + done.dispatched.len() as u64
    }

    /// Whether every dispatched event is done.
    pub(super) fn is_empty(&self) -> bool {
        self.lock().dispatched.is_empty()
    }

    pub(super) fn is_lost(&self) -> bool {
        self.is_lost.load(Ordering::Acquire)
    }

    /// When its position was read, or before.
    pub(super) const fn read_at(&self) -> Instant {
        self.read_at
    }

    /// Its stream is read again from the position.
    pub(super) fn lose(&self) {
        self.is_lost.store(true, Ordering::Release);
    }

    /// The next event is dispatched. Returns its sequence.
    fn push(&self) -> u64 {
        let mut done = self.lock();
        done.dispatched.push_back(false);
        done.published + done.dispatched.len() as u64
    }

    /// An event is done. Returns the position, if it moves.
    fn done(&self, sequence: u64) -> Option<u64> {
        let mut done = self.lock();
        let nth = sequence.checked_sub(done.published + 1)?;
        let event = done.dispatched.get_mut(usize::try_from(nth).ok()?)?;
        *event = true;
        let before = done.published;
        while done.dispatched.front() == Some(&true) {
            done.dispatched.pop_front();
            done.published += 1;
        }
        (done.published > before && !self.is_lost()).then_some(done.published)
    }

    fn lock(&self) -> MutexGuard<'_, EventsDone> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An event in flight.
pub(super) struct Claim {
    context: Context,
    window: Arc<Window>,
    sequence: u64,
    is_done: bool,
}

impl std::fmt::Debug for Claim {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Claim")
            .field("sequence", &self.sequence)
            .finish_non_exhaustive()
    }
}

impl Claim {
    /// Claims the next event of a stream.
    pub(super) fn next(context: &Context, window: &Arc<Window>) -> Self {
        context.in_flight.add();
        context.ownership.add_in_flight(window.stream.bucket());
        Self {
            context: Context::clone(context),
            sequence: window.push(),
            window: Arc::clone(window),
            is_done: false,
        }
    }

    /// The place of the event.
    pub(super) fn place(&self) -> LogPlace {
        LogPlace {
            stream: self.window.stream,
            sequence: self.sequence,
        }
    }

    /// Whether its stream has lost an event in flight, and is read again.
    pub(super) fn is_lost(&self) -> bool {
        self.window.is_lost()
    }

    /// The id of its window.
    pub(super) fn window(&self) -> u64 {
        self.window.id
    }

    /// The epoch of the tenure that it was read under.
    pub(super) fn epoch(&self) -> u64 {
        self.window.term.epoch
    }

    /// The event is acknowledged or parked.
    pub(super) fn done(mut self) {
        self.is_done = true;
        if let Some(published) = self.window.done(self.sequence) {
            let read_at = self.window.read_at;
            let moved = Position { published, read_at };
            self.context.positions.moved(self.window.stream, moved);
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let Self {
            context, window, ..
        } = self;
        context.in_flight.remove();
        context.ownership.remove_in_flight(window.stream.bucket());
        if !self.is_done && !window.is_lost.swap(true, Ordering::AcqRel) {
            context.wake.notify_one();
        }
    }
}

/// Events in flight in all streams.
#[derive(Debug)]
pub(super) struct InFlight {
    count: AtomicUsize,
    max: usize,
    /// Set while the dispatcher waits for room.
    is_starved: AtomicBool,
    pub(super) room: Notify,
}

impl InFlight {
    pub(super) fn new(max: usize) -> Self {
        Self {
            count: AtomicUsize::new(0),
            max,
            is_starved: AtomicBool::new(false),
            room: Notify::new(),
        }
    }

    fn add(&self) {
        self.count.fetch_add(1, Ordering::AcqRel);
    }

    fn remove(&self) {
        self.count.fetch_sub(1, Ordering::AcqRel);
        if self.is_starved.swap(false, Ordering::AcqRel) {
            self.room.notify_one();
        }
    }

    /// Number of events that may still be dispatched. If it is 0, `room` is notified when it grows.
    pub(super) fn left(&self) -> usize {
        let left = || self.max.saturating_sub(self.count.load(Ordering::Acquire));
        match left() {
            0 => {
                self.is_starved.store(true, Ordering::Release);
                left()
            }
            some => some,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::CampaignId;

    fn window(published: u64) -> Window {
        let term = Term {
            number: 1,
            epoch: 1,
        };
        let stream = StreamId::of_participations(CampaignId(1));
        Window::new(stream, term, published, Instant::now())
    }

    #[test]
    fn the_position_moves_only_over_events_that_are_all_done() {
        let window = window(10);
        assert_eq!([window.push(), window.push(), window.push()], [11, 12, 13]);
        assert_eq!(window.done(13), None);
        assert_eq!(window.done(12), None);
        assert_eq!(window.dispatched(), 13);
        assert_eq!(window.done(11), Some(13));
        assert!(window.is_empty());
    }

    #[test]
    fn an_event_that_is_done_twice_or_was_never_dispatched_moves_nothing() {
        let window = window(0);
        window.push();
        assert_eq!(window.done(1), Some(1));
        assert_eq!(window.done(1), None);
        assert_eq!(window.done(2), None);
        assert_eq!(window.done(0), None);
    }

    #[test]
    fn a_lost_stream_does_not_move_its_position() {
        let window = window(0);
        window.push();
        window.is_lost.store(true, Ordering::Release);
        assert_eq!(window.done(1), None);
    }
}
