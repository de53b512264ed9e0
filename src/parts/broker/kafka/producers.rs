//! Several producers, each for a share of the partitions. One producer has one request in flight to each broker
//! (docs/decisions/0001), and librdkafka sends one partition per request, so a single producer would serve the
//! partitions one after the other. Rebuilds producers after a fatal error of librdkafka, and producers without any
//! acknowledgement for long: a producer can stay silent after a paused broker has continued, while other producers
//! are served (docs/decisions/0006).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::sender::Sender;
use super::writability::CachedCheck;
use super::{KafkaConfig, PublishError, classify};
use crate::domain::key_hash;

/// A producer, with its index and the number of its rebuilds.
#[derive(Clone)]
pub(super) struct Current {
    pub(super) sender: Sender,
    slot: usize,
    generation: u64,
    /// Its latest checks of whether topics accept records.
    pub(super) cached_checks: Arc<tokio::sync::Mutex<Vec<CachedCheck>>>,
}

/// A producer is replaced after this number of message timeouts without an acknowledgement.
const SILENT_TIMEOUTS: u32 = 3;

/// Since when a producer has had only timeouts.
#[derive(Debug, Default)]
struct Silence(Option<Instant>);

impl Silence {
    /// Whether it has reached the bound; if so, it starts again.
    fn has_lasted(&mut self, now: Instant, bound: Duration) -> bool {
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
    /// Since when each producer has had only timeouts.
    silent: Vec<Mutex<Silence>>,
    /// The known numbers of partitions of topics.
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
                cached_checks: Arc::default(),
            }))
        });
        let slots = slots.collect::<Result<Vec<_>, PublishError>>()?;
        Ok(Self {
            silent: slots.iter().map(|_| Mutex::default()).collect(),
            slots,
            partitions: RwLock::default(),
        })
    }

    /// Any producer, for queries.
    pub(super) fn any(&self) -> Option<Sender> {
        Some(self.slots.first().map(read)?.sender)
    }

    pub(super) fn all(&self) -> Vec<Sender> {
        let senders = self.slots.iter().map(|slot| read(slot).sender);
        senders.collect()
    }

    /// The producer of a record.
    pub(super) fn of(&self, topic: &str, key: &str) -> Option<Current> {
        let slots = self.slots.len().saturating_sub(1).max(1);
        let slots = u32::try_from(slots).unwrap_or(u32::MAX);
        let partitions = self.partitions(topic).unwrap_or(slots);
        let partition = partition(key, partitions);
        let slot = self.slots.get(usize::try_from(partition % slots).ok()?);
        slot.map(read)
    }

    /// The producer of copies.
    pub(super) fn for_copies(&self) -> Option<Current> {
        self.slots.last().map(read)
    }

    /// The partition of a record; none: the number of partitions is unknown.
    pub(super) fn partition(&self, topic: &str, key: &str) -> Option<i32> {
        i32::try_from(partition(key, self.partitions(topic)?)).ok()
    }

    /// The number of partitions of a topic, if it is known.
    pub(super) fn partitions(&self, topic: &str) -> Option<u32> {
        let known = self.partitions.read();
        let known = known.unwrap_or_else(PoisonError::into_inner);
        known.get(topic).copied()
    }

    /// Stores the number of partitions of a topic.
    pub(super) fn know(&self, topic: &str, partitions: u32) {
        let known = self.partitions.write();
        let mut known = known.unwrap_or_else(PoisonError::into_inner);
        known.insert(topic.to_owned(), partitions);
    }

    /// A record of this producer was acknowledged.
    pub(super) fn arrived(&self, current: &Current) {
        if let Some(silent) = self.silent.get(current.slot) {
            let mut silent = silent.lock().unwrap_or_else(PoisonError::into_inner);
            *silent = Silence::default();
        }
    }

    /// A record of this producer timed out. If the producer has had only timeouts for long, it is replaced.
    pub(super) fn timed_out(&self, config: &KafkaConfig, current: &Current) {
        let Some(silent) = self.silent.get(current.slot) else {
            return;
        };
        let bound = config.message_timeout * SILENT_TIMEOUTS;
        let is_over = {
            let mut silent = silent.lock().unwrap_or_else(PoisonError::into_inner);
            silent.has_lasted(Instant::now(), bound)
        };
        if is_over {
            tracing::warn!("a producer had only timeouts: it is replaced");
            self.rebuild(config, current);
        }
    }

    /// Replaces a failed producer, unless another caller has already replaced it.
    pub(super) fn rebuild(&self, config: &KafkaConfig, failed: &Current) {
        let Some(slot) = self.slots.get(failed.slot) else {
            return;
        };
        let generation = failed.generation + 1;
        let replaced = {
            // Locked while the producer is created, which takes milliseconds: all records of a batch fail together,
            // and the first one replaces it for all.
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
                cached_checks: Arc::default(),
            };
            std::mem::replace(&mut *current, new)
        };
        tracing::warn!(producer.generation = generation, "producer rebuilt");
        // The drop of the last handle waits for the producer's thread.
        drop(tokio::task::spawn_blocking(move || drop(replaced)));
    }
}

impl Drop for Producers {
    /// Stops all producers at once, so that they end together.
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

/// The partition of a key.
fn partition(key: &str, partitions: u32) -> u32 {
    key_hash(key) % partitions.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A producer is created even without a broker.
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
        assert!(!silence.has_lasted(after(0), bound));
        assert!(!silence.has_lasted(after(11), bound));
        silence = Silence::default();
        assert!(!silence.has_lasted(after(12), bound), "something arrived");
        assert!(!silence.has_lasted(after(23), bound));
        assert!(silence.has_lasted(after(24), bound));
        assert!(
            !silence.has_lasted(after(25), bound),
            "the new one has time, too"
        );
    }
}
