//! The rules of the stream that steps share: the effect of statements in the database, and the window of a
//! relay.

use super::{Check, EVENTS, Flight, LAST, Phase, Record, Relay, Row, State, Stream};

pub const fn bit(sequence: u8) -> u8 {
    1 << (sequence - 1)
}

impl State {
    pub const fn is_committed(&self, sequence: u8) -> bool {
        self.committed & bit(sequence) != 0
    }

    pub const fn is_in_topic(&self, sequence: u8) -> bool {
        self.topic & bit(sequence) != 0
    }

    /// The campaign's `event_sequence`.
    pub fn end(&self) -> u8 {
        let sequences = (1..=LAST).rev();
        sequences
            .into_iter()
            .find(|sequence| self.is_committed(*sequence))
            .unwrap_or(0)
    }

    pub fn row(&mut self, sequence: u8) -> &mut Option<Row> {
        &mut self.parked[usize::from(sequence) - 1]
    }

    /// A record arrives in the topic.
    pub fn append(&mut self, stream: &Stream, sequence: u8) {
        let later = sequence + 1..=LAST;
        let is_passed = later
            .filter(|later| stream.key(*later) == stream.key(sequence))
            .any(|later| self.is_in_topic(later));
        // A late arrival of a dead letter does not count as out of order, and neither does its replay.
        let is_dead = *self.row(sequence) == Some(Row::Dead);
        self.is_out_of_order |= !self.is_in_topic(sequence) && is_passed && !is_dead;
        self.topic |= bit(sequence);
    }

    /// Sequences with a parked row that holds back later events of this key.
    pub fn waiting(&self, stream: &Stream, key: u8) -> impl Iterator<Item = u8> {
        let parked = self.parked;
        let of_key = (1..=LAST).filter(|sequence| stream.key(*sequence) == key);
        let of_key: Vec<u8> = of_key.collect();
        let waits = move |sequence: &u8| parked[usize::from(*sequence) - 1].is_some_and(Row::waits);
        of_key.into_iter().filter(waits)
    }

    pub fn write_position(&mut self, stream: &Stream, position: u8) {
        self.position = if stream.has(Check::Forward) {
            position.max(self.position)
        } else {
            position
        };
        self.position_max = self.position_max.max(self.position);
        self.delete_acknowledged();
    }

    /// `release_keys`: the next row of a key is retried, unless one already is. Returns whether none waits.
    pub fn release_key(&mut self, stream: &Stream, key: u8) -> bool {
        let next = self.waiting(stream, key).next();
        if let Some(next) = next {
            *self.row(next) = Some(Row::Retry);
        }
        next.is_none()
    }

    pub fn delete_acknowledged(&mut self) {
        for sequence in 1..=self.position {
            let row = self.row(sequence);
            *row = row.filter(|row| *row != Row::Acknowledged);
        }
    }

    /// A process loses its state. Its statement in flight may still arrive.
    pub fn forget(&mut self, by: usize) {
        self.relays[by] = Relay {
            writing: self.relays[by].writing,
            ..Relay::default()
        };
    }

    /// Parks an event unless another relay has the lease. An already parked event stays unchanged.
    pub fn park(&mut self, stream: &Stream, by: usize, (sequence, row): (u8, Row)) {
        let relay = self.relays[by];
        if stream.has(Check::ParkLease) && relay.epoch != self.epoch {
            // The claim is dropped: the stream is read again from its position.
            self.relays[by] = Relay {
                phase: Phase::KnowsKeys,
                published: 0,
                dispatched: 0,
                window: [None; EVENTS],
                has_moved: false,
                ..relay
            };
            return;
        }
        self.row(sequence).get_or_insert(row);
        if row.waits() {
            self.relays[by].blocked |= 1 << stream.key(sequence);
        }
        self.relays[by].done(stream, sequence);
    }
}

impl Relay {
    pub fn flight(&mut self, sequence: u8) -> &mut Option<Flight> {
        &mut self.window[usize::from(sequence) - 1]
    }

    fn is_done(&self, stream: &Stream, sequence: u8) -> bool {
        match self.window[usize::from(sequence) - 1] {
            None => false,
            Some(Flight::Done) => true,
            Some(Flight::Record(_)) => !stream.has(Check::Acknowledged),
        }
    }

    /// An event of the window is done: the position moves over all that are.
    pub fn done(&mut self, stream: &Stream, sequence: u8) {
        *self.flight(sequence) = Some(Flight::Done);
        self.advance(stream);
    }

    pub fn advance(&mut self, stream: &Stream) {
        let before = self.published;
        let mut done = (before + 1..=self.dispatched).filter(|next| self.is_done(stream, *next));
        if stream.has(Check::Contiguous) {
            while self.published < self.dispatched && self.is_done(stream, self.published + 1) {
                self.published += 1;
            }
        } else {
            self.published = done.next_back().unwrap_or(before);
        }
        self.has_moved |= self.published > before;
        for sequence in 1..=self.published {
            let flight = self.flight(sequence);
            *flight = flight.filter(|flight| *flight != Flight::Done);
        }
    }

    fn is_sent(&self, sequence: u8) -> bool {
        self.window[usize::from(sequence) - 1] == Some(Flight::Record(Record::Sent))
    }

    /// Whether an earlier record of the same key is sent and not written.
    pub fn waits_in_flight(&self, stream: &Stream, sequence: u8) -> bool {
        let mut earlier = (1..sequence).filter(|one| stream.key(*one) == stream.key(sequence));
        earlier.any(|one| self.is_sent(one))
    }

    /// Later records of the same key that are sent and not written.
    pub fn sent_after(&self, stream: &Stream, sequence: u8) -> Vec<u8> {
        let later = sequence + 1..=LAST;
        let later = later.filter(|one| stream.key(*one) == stream.key(sequence));
        later.filter(|one| self.is_sent(*one)).collect()
    }

    fn is_in_flight(&self, sequence: u8) -> bool {
        let flight = self.window[usize::from(sequence) - 1];
        matches!(flight, Some(Flight::Record(_)))
    }

    pub fn has_in_flight(&self, stream: &Stream, key: u8) -> bool {
        let mut of_key = (1..=LAST).filter(|sequence| stream.key(*sequence) == key);
        of_key.any(|sequence| self.is_in_flight(sequence))
    }

    /// Whether an earlier record of the same key has no result yet.
    pub fn has_earlier_in_flight(&self, stream: &Stream, sequence: u8) -> bool {
        let mut earlier = (1..sequence).filter(|one| stream.key(*one) == stream.key(sequence));
        earlier.any(|one| self.is_in_flight(one))
    }
}
