//! A stream in the dispatcher: the dispatched events, the ready events after them, and the known end of the stream.
//! It accepts hints in any order and sorts them by sequence. Pure, except for the window's locks.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tokio::time::Instant;

use super::window::Window;
use crate::domain::{CommittedEvents, OutboxEvent};
use crate::parts::store::{LogEntry, ParkedState};

/// Maximum number of ready events of a stream, and of hinted events behind a gap; more are dropped, and read from the
/// database later.
const EVENTS_MAX: usize = 4_096;
/// Maximum number of such events of all streams, approximately: each stream gets its share, and a few at least.
const EVENTS_OF_ALL_MAX: usize = 65_536;
const EVENTS_MIN: usize = 16;
/// Maximum number of hints behind a gap; more are dropped, and read from the database.
const AHEAD_MAX: usize = 64;

/// An event that is ready to be dispatched.
#[derive(Debug)]
pub(super) enum Ready {
    /// It must be published.
    Send {
        event: OutboxEvent,
        committed_at: Option<Instant>,
    },
    /// Its request publishes it.
    Held(OutboxEvent),
    /// The read row cannot be sent.
    Read(LogEntry),
    /// It is missing in the database.
    Missing,
}

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) window: Arc<Window>,
    /// The events after the last dispatched one, without a gap.
    pub(super) ready: VecDeque<Ready>,
    /// Hints of events behind a gap, by their first sequence.
    ahead: BTreeMap<u64, CommittedEvents>,
    /// The highest sequence that is known to be committed.
    end: u64,
}

impl Stream {
    pub(super) fn new(window: Window, end: u64) -> Self {
        Self {
            window: Arc::new(window),
            ready: VecDeque::new(),
            ahead: BTreeMap::new(),
            end,
        }
    }

    /// The last sequence that was read or handed over without a gap.
    pub(super) fn read(&self) -> u64 {
        self.window.dispatched() + self.ready.len() as u64
    }

    /// Raises the known end of the stream.
    pub(super) fn extends_to(&mut self, end: u64) {
        self.end = self.end.max(end);
    }

    /// Events after the last one that was read: they must be read from the database, unless their hints arrive.
    pub(super) fn unread(&self) -> u64 {
        let next = self.ahead.keys().next().map_or(self.end, |first| first - 1);
        next.min(self.end).saturating_sub(self.read())
    }

    /// Whether there is nothing known to publish, and nothing in flight.
    pub(super) fn is_idle(&self) -> bool {
        self.ready.is_empty() && self.read() >= self.end && self.window.is_empty()
    }

    /// Maximum number of events of one stream while so many have events.
    pub(super) fn share(streams: usize) -> usize {
        (EVENTS_OF_ALL_MAX / streams.max(1)).clamp(EVENTS_MIN, EVENTS_MAX)
    }

    /// Takes a hint, unless the stream has `events_max` events already. Returns whether that made events ready.
    pub(super) fn hint(&mut self, committed: CommittedEvents, events_max: usize) -> bool {
        let (Some(first), Some(last)) = (committed.events.first(), committed.events.last()) else {
            return false;
        };
        let (first, last) = (first.sequence, last.sequence);
        self.extends_to(last);
        if last <= self.read() || self.ready.len() >= events_max {
            return false;
        }
        self.ahead.insert(first, committed);
        let before = self.ready.len();
        self.join();
        while self.ahead.len() > AHEAD_MAX || self.ahead_events() > events_max {
            self.ahead.pop_last();
        }
        self.ready.len() > before
    }

    /// Number of hinted events behind a gap.
    fn ahead_events(&self) -> usize {
        self.ahead.values().map(|hint| hint.events.len()).sum()
    }

    /// Adds the events read after [`Stream::read`]. A missing event between others is skipped.
    pub(super) fn was_read(&mut self, entries: Vec<LogEntry>) {
        if entries.is_empty() {
            // Nothing was found: the next sweep reads the end of the stream again.
            self.end = self.read();
        }
        for entry in entries {
            let (sequence, read) = (entry.sequence(), self.read());
            if sequence <= read {
                continue;
            }
            let missing = sequence - read - 1;
            self.ready.extend((0..missing).map(|_| Ready::Missing));
            self.ready.push_back(match entry {
                LogEntry::Event(event) => Ready::Send {
                    event,
                    committed_at: None,
                },
                other => Ready::Read(other),
            });
        }
        self.join();
    }

    /// Moves hints without a gap before them to the ready events.
    fn join(&mut self) {
        while let Some(first) = self.ahead.first_entry() {
            let read = self.window.dispatched() + self.ready.len() as u64;
            if *first.key() > read + 1 {
                return;
            }
            if self.ready.len() >= EVENTS_MAX {
                self.ahead.clear();
                return;
            }
            let CommittedEvents {
                events,
                is_held,
                committed_at,
                ..
            } = first.remove();
            let committed_at = Some(Instant::from_std(committed_at));
            let committed = events.into_iter().filter(|event| event.sequence > read);
            self.ready.extend(committed.map(|event| {
                if is_held {
                    Ready::Held(event)
                } else {
                    Ready::Send {
                        event,
                        committed_at,
                    }
                }
            }));
        }
    }
}

/// Whether a parked row blocks later events of its key.
pub(super) const fn holds_back(state: ParkedState) -> bool {
    matches!(
        state,
        ParkedState::Retry | ParkedState::Waiting | ParkedState::Blocked | ParkedState::Held
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{CampaignId, EventId, StreamId, Timestamp as Time, Topic};
    use crate::events::relay::owner::Term;

    fn stream(published: u64, end: u64) -> Stream {
        let term = Term {
            number: 1,
            epoch: 1,
        };
        let id = StreamId::of_participations(CampaignId(1));
        let now = std::time::Instant::now();
        Stream::new(Window::new(id, term, published, now), end)
    }

    fn event(sequence: u64) -> OutboxEvent {
        OutboxEvent {
            id: EventId::generate(),
            campaign_id: CampaignId(1),
            sequence,
            topic: Topic::Participation,
            aggregate_id: String::new(),
            event_type: String::new(),
            key: sequence.to_string().into(),
            key_sequence: 1,
            rank: Some(sequence),
            traceparent: None,
            payload: String::new(),
            created_at: Time::default(),
        }
    }

    fn hint(sequences: std::ops::RangeInclusive<u64>) -> CommittedEvents {
        CommittedEvents {
            stream: StreamId::of_participations(CampaignId(1)),
            events: sequences.map(event).collect(),
            is_held: false,
            committed_at: std::time::Instant::now(),
        }
    }

    #[test]
    fn hints_are_put_in_order_of_sequence() {
        let mut stream = stream(10, 10);
        assert!(
            !stream.hint(hint(13..=14), EVENTS_MAX),
            "11 and 12 are missing"
        );
        assert_eq!((stream.read(), stream.unread()), (10, 2));
        assert!(stream.hint(hint(11..=12), EVENTS_MAX));
        assert_eq!((stream.read(), stream.unread()), (14, 0));
        assert!(!stream.hint(hint(12..=14), EVENTS_MAX), "they are known");
        assert!(stream.hint(hint(14..=15), EVENTS_MAX));
        assert_eq!(stream.read(), 15);
    }

    #[test]
    fn a_gap_is_read_and_joined_with_the_hints_behind_it() {
        let mut stream = stream(0, 0);
        stream.hint(hint(3..=4), EVENTS_MAX);
        let read = vec![LogEntry::Event(event(1)), LogEntry::Event(event(2))];
        stream.was_read(read);
        assert_eq!((stream.read(), stream.unread()), (4, 0));
    }

    #[test]
    fn a_missing_event_is_passed_and_an_empty_read_ends_the_stream() {
        let mut stream = stream(0, 3);
        stream.was_read(vec![LogEntry::Event(event(2))]);
        assert!(matches!(stream.ready.front(), Some(Ready::Missing)));
        assert_eq!((stream.read(), stream.unread()), (2, 1));
        stream.was_read(Vec::new());
        assert_eq!(stream.unread(), 0);
    }

    #[test]
    fn events_that_are_not_dispatched_are_bounded_and_read_later() {
        let mut stream = stream(0, 0);
        for first in (1..20_000).step_by(100) {
            stream.hint(hint(first..=first + 99), EVENTS_MAX);
        }
        assert!(stream.ready.len() < EVENTS_MAX + 100);
        assert_eq!(stream.unread(), 20_000 - stream.read());
    }

    #[test]
    fn hints_far_ahead_are_bounded() {
        let mut stream = stream(0, 0);
        for first in 2..300 {
            stream.hint(hint(first * 2..=first * 2), EVENTS_MAX);
        }
        assert!(stream.ahead.len() <= AHEAD_MAX);
        assert_eq!(stream.unread(), 3);
    }

    #[test]
    fn the_events_of_many_streams_are_bounded_together() {
        for count in [1, 10, 100, 4_000] {
            let mut streams: Vec<Stream> = (0..count).map(|_| stream(0, 0)).collect();
            let share = Stream::share(count);
            for stream in &mut streams {
                // Twice as many as it may have.
                let end = 1 + 2 * u64::try_from(share).unwrap();
                for first in (1..end).step_by(10) {
                    stream.hint(hint(first..=first + 9), share);
                }
                // Behind a gap.
                for first in (2 * end..3 * end).step_by(10) {
                    stream.hint(hint(first..=first + 9), share);
                }
            }
            let events = |stream: &Stream| stream.ready.len() + stream.ahead_events();
            let all: usize = streams.iter().map(events).sum();
            assert!(all <= 2 * EVENTS_OF_ALL_MAX + 10 * count, "{all}");
        }
    }
}
