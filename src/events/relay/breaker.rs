//! Holds back what would fail anyway: one breaker for the broker, one for each topic, and one for each
//! partition that takes nothing. While open, one record at a time goes out to probe. It counts nothing against
//! a record.

mod partitions;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use tokio::time::Instant;

use crate::domain::Stream;
use crate::runtime::retry;
use partitions::Partitions;

/// A prober that was lost (its lane panicked) is waited for no longer than this.
const PROBE_MAX: Duration = Duration::from_secs(30);
/// How long to wait for somebody else's probe before looking again.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed,
    Open { until: Instant, failures: u32 },
    Probing { until: Instant, failures: u32 },
}

/// What a breaker does with records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// Lets them go.
    Closed,
    /// Holds them back.
    Open,
    /// Holds them back but for one, which finds out whether they can go again.
    Probing,
}

/// Whether a record may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    Go,
    /// As the one that finds out.
    Probe,
}

#[derive(Debug)]
struct Breaker {
    state: Mutex<State>,
    policy: retry::Policy,
}

impl Breaker {
    fn new(policy: retry::Policy) -> Self {
        Self {
            state: Mutex::new(State::Closed),
            policy,
        }
    }

    /// How long there is no point in asking; none: ask.
    fn wait(&self) -> Option<Duration> {
        let now = Instant::now();
        match *self.lock() {
            State::Open { until, .. } if now < until => Some(until - now),
            State::Probing { until, .. } if now < until => Some(LOOK_AGAIN),
            _ => None,
        }
    }

    fn leave(&self) -> Leave {
        let mut state = self.lock();
        match *state {
            State::Closed => Leave::Go,
            State::Open { failures, .. } | State::Probing { failures, .. } => {
                let until = Instant::now() + PROBE_MAX;
                *state = State::Probing { until, failures };
                Leave::Probe
            }
        }
    }

    /// Closes; whether it was not closed before.
    fn succeeded(&self) -> bool {
        std::mem::replace(&mut *self.lock(), State::Closed) != State::Closed
    }

    /// Opens, for longer each time its probe fails; whether it was closed before.
    fn failed(&self, leave: Leave) -> bool {
        let mut state = self.lock();
        let failures = match (*state, leave) {
            (State::Closed, _) => 1,
            (State::Probing { failures, .. }, Leave::Probe) => failures.saturating_add(1),
            // Sent before it opened: says nothing new.
            _ => return false,
        };
        let until = Instant::now() + self.policy.pause(failures);
        *state = State::Open { until, failures };
        failures == 1
    }

    /// The leave was not made use of: somebody else may probe.
    fn unused(&self, leave: Leave) {
        let mut state = self.lock();
        if let (State::Probing { failures, .. }, Leave::Probe) = (*state, leave) {
            let until = Instant::now();
            *state = State::Open { until, failures };
        }
    }

    fn is_closed(&self) -> bool {
        *self.lock() == State::Closed
    }

    /// Whether a probe is under way, as far as it is waited for.
    fn is_probing(&self) -> bool {
        matches!(*self.lock(), State::Probing { until, .. } if Instant::now() < until)
    }

    fn state(&self) -> BreakerState {
        match *self.lock() {
            State::Closed => BreakerState::Closed,
            State::Open { .. } => BreakerState::Open,
            State::Probing { .. } => BreakerState::Probing,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a record goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// To the topic of this stream.
    pub(super) stream: Stream,
    /// To this partition of it; none: it is not known how many there are.
    pub(super) partition: Option<u32>,
}

impl Place {
    fn key(self) -> Option<(Stream, u32)> {
        Some((self.stream, self.partition?))
    }
}

/// Leave to send one record: from the broker's breaker, its topic's, and its partition's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    place: Place,
    broker: Leave,
    topic: Leave,
    partition: Leave,
}

impl Ticket {
    /// Whether its record finds out whether others may go.
    pub(super) fn is_probe(self) -> bool {
        [self.broker, self.topic, self.partition].contains(&Leave::Probe)
    }
}

/// What a record has to wait for, and how long before asking again.
#[derive(Clone, Copy, Debug)]
pub(super) enum HeldBack {
    /// Nothing may go.
    All(Duration),
    /// Nothing to this topic, or to this partition of it.
    Place,
}

/// What shows how much is held back.
#[derive(Debug)]
struct Shown {
    /// 1 unless all breakers are closed.
    open: Gauge,
    /// How many partitions take nothing.
    partitions: Gauge,
}

/// The breakers of a relay, shared by its lanes.
#[derive(Debug)]
pub(super) struct Breakers {
    broker: Breaker,
    participation: Breaker,
    campaign: Breaker,
    partitions: Partitions,
    /// Locked while it is found out what to show, so that who comes last is right.
    shown: Mutex<Shown>,
}

impl Breakers {
    /// Closed ones; `open` says when they are not, and `partitions` of how many partitions.
    pub(super) fn new(policy: retry::Policy, open: Gauge, partitions: Gauge) -> Self {
        Self {
            broker: Breaker::new(policy),
            participation: Breaker::new(policy),
            campaign: Breaker::new(policy),
            partitions: Partitions::new(policy),
            shown: Mutex::new(Shown { open, partitions }),
        }
    }

    /// Lets the gauges say what has changed.
    fn show(&self) {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.open.set(i64::from(!self.closed()));
        let away = i64::try_from(self.partitions.len()).unwrap_or(i64::MAX);
        shown.partitions.set(away);
    }

    fn topic(&self, stream: Stream) -> &Breaker {
        match stream {
            Stream::Participation => &self.participation,
            Stream::Campaign => &self.campaign,
        }
    }

    /// Leave to send a record to a place, or what holds it back.
    pub(super) fn ask(&self, place: Place) -> Result<Ticket, HeldBack> {
        let topic = self.topic(place.stream);
        if let Some(wait) = self.broker.wait() {
            return Err(HeldBack::All(wait));
        }
        if topic.wait().is_some() {
            return Err(HeldBack::Place);
        }
        let partition = self.partitions.ask(place).ok_or(HeldBack::Place)?;
        Ok(Ticket {
            place,
            broker: self.broker.leave(),
            topic: topic.leave(),
            partition,
        })
    }

    /// Whether there is no point in sending to the topic of `stream` for now.
    pub(super) fn is_held(&self, stream: Stream) -> bool {
        self.topic(stream).wait().is_some()
    }

    /// Whether there is no point in sending to the partition for now.
    pub(super) fn is_partition_held(&self, place: Place) -> bool {
        self.partitions.is_held(place)
    }

    /// The streams whose topics are held back.
    pub(super) fn held_streams(&self) -> Vec<Stream> {
        let streams = Stream::ALL.into_iter();
        streams.filter(|stream| self.is_held(*stream)).collect()
    }

    /// The partitions of a stream's topic that take nothing: those that may be probed now are among them.
    pub(super) fn partitions_away(&self, stream: Stream) -> Vec<u32> {
        self.partitions.away(stream)
    }

    /// Those of them that there is no point in sending to for now.
    pub(super) fn partitions_held(&self, stream: Stream) -> Vec<u32> {
        self.partitions.held(stream)
    }

    /// Those of them that may be probed now.
    pub(super) fn partitions_on_trial(&self, stream: Stream) -> Vec<u32> {
        self.partitions.on_trial(stream)
    }

    /// How long until a partition may be probed; none: none is away that is not probed now.
    pub(super) fn next_trial(&self) -> Option<Duration> {
        self.partitions.next_trial()
    }

    /// Whether the topic of `stream` refused what it was sent last.
    pub(super) fn is_on_trial(&self, stream: Stream) -> bool {
        !self.topic(stream).is_closed()
    }

    /// The broker answered and took the record, or refused it for what it is. True: rows that were
    /// held back may go again.
    pub(super) fn answered(&self, ticket: Ticket) -> bool {
        let broker = self.broker.succeeded();
        if broker {
            tracing::info!("publishing again");
        }
        let name = ticket.place.stream.as_str();
        let topic = self.topic(ticket.place.stream).succeeded();
        if topic {
            tracing::info!(topic = name, "topic is writable again");
        }
        let partition = self.partitions.succeeded(ticket.place);
        if partition {
            let partition = ticket.place.partition;
            tracing::info!(topic = name, partition, "partition is writable again");
        }
        let changed = broker || topic || partition;
        if changed {
            self.show();
        }
        changed
    }

    /// Whether leave that was given still holds: nothing has failed since, or this one finds out.
    pub(super) fn still(&self, ticket: Ticket) -> bool {
        let holds = |leave, breaker: &Breaker| leave == Leave::Probe || breaker.is_closed();
        holds(ticket.broker, &self.broker)
            && holds(ticket.topic, self.topic(ticket.place.stream))
            && (ticket.partition == Leave::Probe || self.partitions.is_closed(ticket.place))
    }

    /// The ticket was not made use of.
    pub(super) fn unused(&self, ticket: Ticket) {
        self.broker.unused(ticket.broker);
        self.place_unused(ticket);
    }

    fn place_unused(&self, ticket: Ticket) {
        self.topic(ticket.place.stream).unused(ticket.topic);
        self.partitions.unused(ticket.place, ticket.partition);
    }

    /// The broker is away, or the producer cannot take more.
    pub(super) fn away(&self, ticket: Ticket, reason: &str) {
        if self.broker.failed(ticket.broker) {
            tracing::warn!(reason, "nothing can be published: rows wait");
        }
        self.place_unused(ticket);
        self.show();
    }

    /// The broker answered: nothing can be written to this topic.
    pub(super) fn destination(&self, ticket: Ticket, reason: &str) {
        self.partitions.unused(ticket.place, ticket.partition);
        if self.topic_failed(ticket) {
            let topic = ticket.place.stream.as_str();
            tracing::error!(topic, reason, "topic cannot be written to: its rows wait");
        }
    }

    /// The broker answered: a partition of this topic takes nothing for now. It is `partition`, unless the
    /// ticket says; where neither does, the topic waits.
    pub(super) fn partition(&self, ticket: Ticket, partition: Option<u32>, reason: &str) {
        let place = Place {
            partition: ticket.place.partition.or(partition),
            ..ticket.place
        };
        let topic = place.stream.as_str();
        let Some(key) = place.key() else {
            if self.topic_failed(ticket) {
                tracing::warn!(
                    topic,
                    reason,
                    "a partition accepts no records: the topic's rows wait"
                );
            }
            return;
        };
        self.broker.succeeded();
        // Says nothing of the topic: a record for another partition finds out.
        self.topic(place.stream).unused(ticket.topic);
        let is_new = self.partitions.failed(key, ticket.partition);
        self.show();
        if is_new {
            let partition = place.partition;
            tracing::warn!(
                topic,
                partition,
                reason,
                "the partition accepts no records: its rows wait"
            );
        }
    }

    /// Opens the breaker of a topic; whether it was closed before.
    fn topic_failed(&self, ticket: Ticket) -> bool {
        self.broker.succeeded();
        let opened = self.topic(ticket.place.stream).failed(ticket.topic);
        self.show();
        opened
    }

    /// The breaker of the broker, and those of the topics: one is not closed while a partition takes nothing.
    pub(super) fn states(&self) -> (BreakerState, Vec<(Stream, BreakerState)>) {
        let of = |stream| match self.topic(stream).state() {
            BreakerState::Closed => self.partitions.state(stream),
            other => other,
        };
        let topics = Stream::ALL.into_iter();
        let topics = topics.map(|stream| (stream, of(stream)));
        (self.broker.state(), topics.collect())
    }

    /// Whether the broker, each topic, and each partition is written to.
    pub(super) fn closed(&self) -> bool {
        self.broker.is_closed()
            && self.participation.is_closed()
            && self.campaign.is_closed()
            && self.partitions.len() == 0
    }
}

#[cfg(test)]
mod tests;
