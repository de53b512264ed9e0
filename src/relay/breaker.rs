//! Holds back what would fail anyway: one breaker for the broker, one for each topic. While open,
//! one record at a time goes out to probe. It counts nothing against a record.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use tokio::time::Instant;

use crate::domain::Stream;
use crate::retry;

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

/// Leave to send one record: from the broker's breaker and from its topic's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    stream: Stream,
    broker: Leave,
    topic: Leave,
}

impl Ticket {
    /// Whether its record finds out whether others may go.
    pub(super) fn is_probe(self) -> bool {
        self.broker == Leave::Probe || self.topic == Leave::Probe
    }
}

/// What a record has to wait for, and how long before asking again.
#[derive(Clone, Copy, Debug)]
pub(super) enum HeldBack {
    /// Nothing may go.
    All(Duration),
    /// Nothing to this topic.
    Topic,
}

/// The breakers of a relay, shared by its lanes.
#[derive(Debug)]
pub(super) struct Breakers {
    broker: Breaker,
    participation: Breaker,
    campaign: Breaker,
    /// 1 unless all of them are closed. Locked while it is found out which, so that who comes last is right.
    open: Mutex<Gauge>,
}

impl Breakers {
    /// Closed ones; `open` says when they are not.
    pub(super) fn new(policy: retry::Policy, open: Gauge) -> Self {
        Self {
            broker: Breaker::new(policy),
            participation: Breaker::new(policy),
            campaign: Breaker::new(policy),
            open: Mutex::new(open),
        }
    }

    /// Lets the gauge say what has changed.
    fn show(&self) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.set(i64::from(!self.closed()));
    }

    fn topic(&self, stream: Stream) -> &Breaker {
        match stream {
            Stream::Participation => &self.participation,
            Stream::Campaign => &self.campaign,
        }
    }

    /// Leave to send a record of `stream`, or what holds it back.
    pub(super) fn ask(&self, stream: Stream) -> Result<Ticket, HeldBack> {
        let topic = self.topic(stream);
        if let Some(wait) = self.broker.wait() {
            return Err(HeldBack::All(wait));
        }
        if self.is_held(stream) {
            return Err(HeldBack::Topic);
        }
        Ok(Ticket {
            stream,
            broker: self.broker.leave(),
            topic: topic.leave(),
        })
    }

    /// Whether there is no point in sending to the topic of `stream` for now.
    pub(super) fn is_held(&self, stream: Stream) -> bool {
        self.topic(stream).wait().is_some()
    }

    /// The streams whose topics are held back.
    pub(super) fn held_streams(&self) -> Vec<Stream> {
        let streams = Stream::ALL.into_iter();
        streams.filter(|stream| self.is_held(*stream)).collect()
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
        let topic = self.topic(ticket.stream).succeeded();
        if topic {
            tracing::info!(topic = ticket.stream.as_str(), "topic is writable again");
        }
        if broker || topic {
            self.show();
        }
        broker || topic
    }

    /// Whether leave that was given still holds: nothing has failed since, or this one finds out.
    pub(super) fn still(&self, ticket: Ticket) -> bool {
        let holds = |leave, breaker: &Breaker| leave == Leave::Probe || breaker.is_closed();
        holds(ticket.broker, &self.broker) && holds(ticket.topic, self.topic(ticket.stream))
    }

    /// The ticket was not made use of.
    pub(super) fn unused(&self, ticket: Ticket) {
        self.broker.unused(ticket.broker);
        self.topic(ticket.stream).unused(ticket.topic);
    }

    /// The broker is away, or the producer cannot take more.
    pub(super) fn away(&self, ticket: Ticket, reason: &str) {
        if self.broker.failed(ticket.broker) {
            tracing::warn!(reason, "nothing can be published: rows wait");
        }
        self.topic(ticket.stream).unused(ticket.topic);
        self.show();
    }

    /// The broker answered: nothing can be written to this topic.
    pub(super) fn destination(&self, ticket: Ticket, reason: &str) {
        if self.topic_failed(ticket) {
            let topic = ticket.stream.as_str();
            tracing::error!(topic, reason, "topic cannot be written to: its rows wait");
        }
    }

    /// The broker answered: a partition of this topic takes nothing for now.
    pub(super) fn partition(&self, ticket: Ticket, reason: &str) {
        if self.topic_failed(ticket) {
            let topic = ticket.stream.as_str();
            tracing::warn!(
                topic,
                reason,
                "a partition accepts no records: the topic's rows wait"
            );
        }
    }

    /// Opens the breaker of a topic; whether it was closed before.
    fn topic_failed(&self, ticket: Ticket) -> bool {
        self.broker.succeeded();
        let opened = self.topic(ticket.stream).failed(ticket.topic);
        self.show();
        opened
    }

    /// The breaker of the broker, and those of the topics.
    pub(super) fn states(&self) -> (BreakerState, Vec<(Stream, BreakerState)>) {
        let topics = Stream::ALL.into_iter();
        let topics = topics.map(|stream| (stream, self.topic(stream).state()));
        (self.broker.state(), topics.collect())
    }

    /// Whether the broker, and each topic, is written to.
    pub(super) fn closed(&self) -> bool {
        self.broker.is_closed() && self.participation.is_closed() && self.campaign.is_closed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_probe_at_a_time_finds_out_whether_the_broker_is_back() {
        let open = Gauge::default();
        let breakers = Breakers::new(retry::Policy::default(), open.clone());
        let first = breakers.ask(Stream::Participation).unwrap();
        breakers.away(first, "test");
        assert_eq!(open.get(), 1);
        tokio::time::sleep(Duration::from_millis(101)).await;
        assert!(!breakers.still(first), "who waited meanwhile does not go");
        let probe = breakers.ask(Stream::Participation).unwrap();
        assert!(breakers.still(probe));
        assert!(breakers.ask(Stream::Campaign).is_err());
        assert_eq!(breakers.states().0, BreakerState::Probing);
        breakers.answered(probe);
        assert_eq!(open.get(), 0);
        assert!(breakers.ask(Stream::Campaign).is_ok());
        assert!(breakers.closed());
        assert_eq!(breakers.states().0, BreakerState::Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn a_topic_that_cannot_be_written_to_holds_up_no_other() {
        let open = Gauge::default();
        let breakers = Breakers::new(retry::Policy::default(), open.clone());
        let ticket = breakers.ask(Stream::Participation).unwrap();
        breakers.destination(ticket, "test");
        assert_eq!(open.get(), 1);
        let (broker, topics) = breakers.states();
        assert_eq!(broker, BreakerState::Closed);
        let held = topics
            .into_iter()
            .filter(|(_, state)| *state == BreakerState::Open);
        let held: Vec<Stream> = held.map(|(stream, _)| stream).collect();
        assert_eq!(held, [Stream::Participation]);
        assert!(breakers.ask(Stream::Campaign).is_ok());
        assert!(!breakers.closed());
    }
}
