//! The breakers of partitions: one for each partition that accepts no records.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Breaker, BreakerState, SendMode, Target};
use crate::domain::Topic;
use crate::runtime::retry;

/// Maximum number of concurrent probes: when a broker fails, many partitions fail.
const PROBES_MAX: usize = 8;

/// A partition: its topic and its number.
type Key = (Topic, u32);

#[derive(Debug)]
pub(super) struct Partitions {
    failing: Mutex<HashMap<Key, Breaker>>,
    policy: retry::Policy,
}

impl Partitions {
    /// Whether all partitions accept records.
    pub(super) fn new(policy: retry::Policy) -> Self {
        Self {
            failing: Mutex::default(),
            policy,
        }
    }

    /// How a record may be sent; none: its partition is held back.
    pub(super) fn ask(&self, target: Target) -> Option<SendMode> {
        let failing = self.lock();
        match target.key().and_then(|key| failing.get(&key)) {
            None => Some(SendMode::Normal),
            Some(breaker) if may_probe(&failing, breaker) => Some(breaker.leave()),
            Some(_) => None,
        }
    }

    pub(super) fn is_away(&self, target: Target) -> bool {
        let key = target.key();
        key.is_some_and(|key| self.lock().contains_key(&key))
    }

    /// The partition accepted a record. Returns whether its breaker was open.
    pub(super) fn succeeded(&self, target: Target) -> bool {
        let mut failing = self.lock();
        target
            .key()
            .is_some_and(|key| failing.remove(&key).is_some())
    }

    /// The partition refused a record. Returns whether its breaker was closed.
    pub(super) fn failed(&self, key: Key, leave: SendMode) -> bool {
        let mut failing = self.lock();
        let breaker = failing.entry(key);
        let breaker = breaker.or_insert_with(|| Breaker::new(self.policy));
        breaker.failed(leave)
    }

    /// The record was not sent.
    pub(super) fn unused(&self, target: Target, leave: SendMode) {
        let failing = self.lock();
        if let Some(breaker) = target.key().and_then(|key| failing.get(&key)) {
            breaker.unused(leave);
        }
    }

    /// The failing partitions of a topic.
    pub(super) fn failing(&self, topic: Topic) -> Vec<u32> {
        self.of(topic, |_, _| true)
    }

    /// The failing partitions of a topic that may be probed.
    pub(super) fn probe_partitions(&self, topic: Topic) -> Vec<u32> {
        self.of(topic, may_probe)
    }

    /// Time until the next partition may be probed; none: no partition fails, or all failing ones are being probed.
    pub(super) fn next_probe(&self) -> Option<Duration> {
        let failing = self.lock();
        let waiting = failing.values().filter(|breaker| !breaker.is_probing());
        waiting
            .map(|breaker| breaker.wait().unwrap_or_default())
            .min()
    }

    /// The worst state of the breakers of a topic's partitions.
    pub(super) fn state(&self, topic: Topic) -> BreakerState {
        let failing = self.lock();
        let of_stream = failing.iter().filter(|((of, _), _)| *of == topic);
        let states: Vec<_> = of_stream.map(|(_, breaker)| breaker.state()).collect();
        if states.contains(&BreakerState::Open) {
            BreakerState::Open
        } else if states.is_empty() {
            BreakerState::Closed
        } else {
            BreakerState::Probing
        }
    }

    /// The number of failing partitions.
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    fn of(
        &self,
        topic: Topic,
        wanted: impl Fn(&HashMap<Key, Breaker>, &Breaker) -> bool,
    ) -> Vec<u32> {
        let failing = self.lock();
        let of_stream = failing.iter().filter(|((of, _), _)| *of == topic);
        let wanted = of_stream.filter(|(_, breaker)| wanted(&failing, breaker));
        let mut numbers: Vec<u32> = wanted.map(|((_, number), _)| *number).collect();
        numbers.sort_unstable();
        numbers
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Breaker>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a failing partition may be probed now.
fn may_probe(failing: &HashMap<Key, Breaker>, breaker: &Breaker) -> bool {
    let probed = || {
        failing
            .values()
            .filter(|breaker| breaker.is_probing())
            .count()
    };
    breaker.wait().is_none() && probed() < PROBES_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(number: u32) -> Target {
        Target {
            topic: Topic::Participation,
            partition: Some(number),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn few_of_many_partitions_are_probed_at_the_same_time() {
        let partitions = Partitions::new(retry::Policy::default());
        for number in 0..100 {
            assert!(partitions.failed((Topic::Participation, number), SendMode::Normal));
        }
        assert_eq!(partitions.probe_partitions(Topic::Participation).len(), 0);
        assert!(partitions.next_probe() > Some(Duration::ZERO));
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(partitions.probe_partitions(Topic::Participation).len(), 100);
        assert_eq!(partitions.next_probe(), Some(Duration::ZERO));
        assert_eq!(partitions.probe_partitions(Topic::Campaign).len(), 0);
        let asked: Vec<_> = (0..100)
            .map(|number| partitions.ask(target(number)))
            .collect();
        let probes = asked.iter().flatten().count();
        assert_eq!(probes, PROBES_MAX);
        assert_eq!(partitions.failing(Topic::Participation).len(), 100);
        assert!(partitions.succeeded(target(0)));
        assert_eq!(partitions.ask(target(0)), Some(SendMode::Normal));
        assert_eq!(partitions.ask(target(8)), Some(SendMode::Probe));
        assert_eq!(partitions.ask(target(9)), None);
        assert_eq!(partitions.len(), 99);
    }
}
