//! The producers, side by side, each for its share of the partitions. One producer has one request under
//! way to each broker (docs/decisions/0001), and librdkafka puts one partition into a request: a single
//! producer would serve the partitions one after the other. Rebuilds those that librdkafka calls fatal,
//! and those from which nothing has arrived for long: a producer has stayed silent after a broker that was
//! paused went on, while others of the same kind were served (docs/decisions/0006).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::reach::KnownReach;
use super::sender::Sender;
use super::{KafkaConfig, PublishError, classify};
use crate::domain::key_hash;

/// A producer: which one, and how often it was rebuilt.
#[derive(Clone)]
pub(super) struct Current {
    pub(super) sender: Sender,
    slot: usize,
    generation: u64,
    /// Its latest checks of whether topics can be written to.
    pub(super) known_reach: Arc<tokio::sync::Mutex<Vec<KnownReach>>>,
}

/// A producer is replaced after so many time-outs' time.
const SILENT_TIMEOUTS: u32 = 3;

/// Since when a producer has had nothing but time-outs.
#[derive(Debug, Default)]
struct Silence(Option<Instant>);

impl Silence {
    /// Whether it has lasted for so long now; then it begins anew.
    fn goes_on(&mut self, now: Instant, bound: Duration) -> bool {
        let since = *self.0.get_or_insert(now);
        let is_over = now.duration_since(since) >= bound;
        if is_over {
            self.0 = None;
        }
        is_over
    }
}

pub(super) struct Producers {
    /// The last one is for copies.
    slots: Vec<RwLock<Current>>,
    /// Since when each has had nothing but time-outs.
    silent: Vec<Mutex<Silence>>,
    /// How many partitions topics have, as far as somebody asked.
    partitions: RwLock<HashMap<String, u32>>,
}

impl Producers {
    pub(super) fn new(config: &KafkaConfig) -> Result<Self, PublishError> {
        let slots = (0..=usize::from(config.producers.max(1))).map(|slot| {
            let sender = make(config)?;
            Ok(RwLock::new(Current {
                sender,
                slot,
                generation: 0,
                known_reach: Arc::default(),
            }))
        });
        let slots = slots.collect::<Result<Vec<_>, PublishError>>()?;
        Ok(Self {
            silent: slots.iter().map(|_| Mutex::default()).collect(),
            slots,
            partitions: RwLock::default(),
        })
    }

    /// Any of them, for questions.
    pub(super) fn any(&self) -> Option<Sender> {
        Some(self.slots.first().map(read)?.sender)
    }

    pub(super) fn all(&self) -> Vec<Sender> {
        let senders = self.slots.iter().map(|slot| read(slot).sender);
        senders.collect()
    }

    /// The one for a record.
    pub(super) fn of(&self, topic: &str, key: &str) -> Option<Current> {
        let slots = self.slots.len().saturating_sub(1).max(1);
        let slots = u32::try_from(slots).unwrap_or(u32::MAX);
        let partitions = self.partitions(topic).unwrap_or(slots);
        let partition = partition(key, partitions);
        let slot = self.slots.get(usize::try_from(partition % slots).ok()?);
        slot.map(read)
    }

    /// The one for copies of records.
    pub(super) fn for_copies(&self) -> Option<Current> {
        self.slots.last().map(read)
    }

    /// The partition of a record; none where it is not known how many there are.
    pub(super) fn partition(&self, topic: &str, key: &str) -> Option<i32> {
        i32::try_from(partition(key, self.partitions(topic)?)).ok()
    }

    /// How many partitions a topic has, as far as it is known.
    pub(super) fn partitions(&self, topic: &str) -> Option<u32> {
        let known = self.partitions.read();
        let known = known.unwrap_or_else(PoisonError::into_inner);
        known.get(topic).copied()
    }

    /// Takes note of how many partitions a topic has.
    pub(super) fn know(&self, topic: &str, partitions: u32) {
        let known = self.partitions.write();
        let mut known = known.unwrap_or_else(PoisonError::into_inner);
        known.insert(topic.to_owned(), partitions);
    }

    /// A record of this producer arrived.
    pub(super) fn arrived(&self, current: &Current) {
        if let Some(silent) = self.silent.get(current.slot) {
            let mut silent = silent.lock().unwrap_or_else(PoisonError::into_inner);
            *silent = Silence::default();
        }
    }

    /// A record of this producer was not answered in time. If that has been so for long, the next one
    /// goes through a new producer.
    pub(super) fn timed_out(&self, config: &KafkaConfig, current: &Current) {
        let Some(silent) = self.silent.get(current.slot) else {
            return;
        };
        let bound = config.message_timeout * SILENT_TIMEOUTS;
        let is_over = {
            let mut silent = silent.lock().unwrap_or_else(PoisonError::into_inner);
            silent.goes_on(Instant::now(), bound)
        };
        if is_over {
            tracing::warn!("a producer had nothing but time-outs: it is replaced");
            self.rebuild(config, current);
        }
    }

    /// Puts a new producer in the place of one that failed, unless somebody already has.
    pub(super) fn rebuild(&self, config: &KafkaConfig, failed: &Current) {
        let Some(slot) = self.slots.get(failed.slot) else {
            return;
        };
        let generation = failed.generation + 1;
        let replaced = {
            // Held while one is made, which takes milliseconds: all records of a batch fail together, and the
            // first of them makes it for all.
            let mut current = slot.write().unwrap_or_else(PoisonError::into_inner);
            if current.generation != failed.generation {
                return;
            }
            let sender = match make(config) {
                Ok(sender) => sender,
                Err(failure) => {
                    tracing::error!(%failure, "the producer could not be rebuilt");
                    return;
                }
            };
            let new = Current {
                sender,
                slot: failed.slot,
                generation,
                known_reach: Arc::default(),
            };
            std::mem::replace(&mut *current, new)
        };
        tracing::warn!(producer.generation = generation, "producer rebuilt");
        // Dropping the last handle waits for the producer's thread.
        drop(tokio::task::spawn_blocking(move || drop(replaced)));
    }
}

impl Drop for Producers {
    /// They are stopped together, so that they end together.
    fn drop(&mut self) {
        for sender in self.all() {
            sender.end();
        }
    }
}

fn read(slot: &RwLock<Current>) -> Current {
    slot.read().unwrap_or_else(PoisonError::into_inner).clone()
}

fn make(config: &KafkaConfig) -> Result<Sender, PublishError> {
    Sender::new(&config.producer()).map_err(|failure| classify(&failure))
}

/// Where a record with this key goes.
fn partition(key: &str, partitions: u32) -> u32 {
    key_hash(key) % partitions.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// There is no broker; a producer is created all the same.
    #[tokio::test]
    async fn one_of_many_that_failed_with_a_producer_replaces_it() {
        let config = KafkaConfig {
            brokers: Some("127.0.0.1:9".to_owned()),
            producers: 1,
            ..KafkaConfig::default()
        };
        let producers = Producers::new(&config).unwrap();
        let failed = producers.for_copies().unwrap();
        producers.rebuild(&config, &failed);
        let first = producers.for_copies().unwrap();
        producers.rebuild(&config, &failed);
        let second = producers.for_copies().unwrap();
        assert_eq!((first.generation, second.generation), (1, 1));
        assert!(first.sender.is(&second.sender) && !first.sender.is(&failed.sender));
    }

    #[test]
    fn only_an_uninterrupted_silence_counts_as_long() {
        let began = Instant::now();
        let after = |seconds| began + Duration::from_secs(seconds);
        let bound = Duration::from_secs(12);
        let mut silence = Silence::default();
        assert!(!silence.goes_on(after(0), bound));
        assert!(!silence.goes_on(after(11), bound));
        silence = Silence::default();
        assert!(!silence.goes_on(after(12), bound), "something arrived");
        assert!(!silence.goes_on(after(23), bound));
        assert!(silence.goes_on(after(24), bound));
        assert!(
            !silence.goes_on(after(25), bound),
            "the new one has time, too"
        );
    }
}
