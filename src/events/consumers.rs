//! The consumers: each reads the events of participations in its own consumer group, and grants the rewards in the
//! rewards database, exactly once. In the events' database they only mark participations as rewarded.
//!
//! A batch of records is decoded, applied in one transaction and marked; then its offset is committed. A crash at any
//! point repeats the batch, and the inbox prevents a second effect. A record that cannot be applied becomes a dead
//! letter before the offset is committed. A second task applies replayed dead letters again.

mod batch;
mod config;
mod metrics;
mod poison;
mod record;
mod replay;
mod terms;
mod worker;

use std::sync::Arc;

use tokio::sync::Semaphore;

pub use self::config::{ConsumerConfig, Enabled};
pub use self::metrics::Metrics;
use self::worker::Worker;
use crate::domain::{Consumer, Topic};
use crate::parts::broker::kafka::{GroupConfig, Hooks, Kafka};
use crate::parts::store::{Rewards, Store};
use crate::runtime::supervisor::{Policy, Spawner, Stage};
use crate::sale::catalogue::Catalogue;

/// Batches in the queue of a partition.
const QUEUE_BATCHES: usize = 2;

/// The dependencies of a consumer.
#[derive(Clone)]
pub struct Parts {
    /// The events' database, where participations are marked as rewarded.
    pub store: Store,
    /// Campaigns, with their rewards.
    pub catalogue: Catalogue,
    /// The rewards database.
    pub rewards: Rewards,
    /// Source of the records, and of the dead letter topic.
    pub kafka: Arc<Kafka>,
    /// Metrics.
    pub metrics: Metrics,
}

/// Starts a consumer. It stops with its stage, and is restarted after a failure.
pub fn start(spawner: &Spawner, consumer: Consumer, parts: &Parts, config: &ConsumerConfig) {
    let replayer = worker(consumer, parts, config);
    let (parts, config, tasks) = (parts.clone(), config.clone(), spawner.clone());
    spawner.start(
        task_name(consumer),
        Stage::Consumers,
        Policy::restart(),
        move |stop| {
            let (group, hooks) = (
                group(consumer, &config),
                hooks(&tasks, consumer, &parts, &config),
            );
            let kafka = Arc::clone(&parts.kafka);
            async move { Ok(kafka.consume(group, hooks, &stop).await?) }
        },
    );
    spawner.start(
        replay_name(consumer),
        Stage::Consumers,
        Policy::restart(),
        move |stop| replay::run(Arc::clone(&replayer), stop),
    );
}

/// The name of a consumer's group.
#[must_use]
pub fn group_name(consumer: Consumer, topic_prefix: &str) -> String {
    format!("{topic_prefix}.{}", consumer.as_str())
}

const fn task_name(consumer: Consumer) -> &'static str {
    match consumer {
        Consumer::Points => "consumer.points",
        Consumer::Coupons => "consumer.coupons",
    }
}

const fn replay_name(consumer: Consumer) -> &'static str {
    match consumer {
        Consumer::Points => "consumer.points.replay",
        Consumer::Coupons => "consumer.coupons.replay",
    }
}

fn group(consumer: Consumer, config: &ConsumerConfig) -> GroupConfig {
    GroupConfig {
        group: group_name(consumer, &config.topic_prefix),
        topic: Topic::Participation.name(&config.topic_prefix),
        session_timeout: config.session_timeout,
        queue_records_max: config.batch_records_max * QUEUE_BATCHES,
    }
}

fn worker(consumer: Consumer, parts: &Parts, config: &ConsumerConfig) -> Arc<Worker> {
    let (topic, prefix) = (Topic::Participation, &config.topic_prefix);
    Arc::new(Worker {
        consumer,
        parts: parts.clone(),
        config: config.clone(),
        topic: topic.name(prefix),
        dead_letter_topic: topic.dead_letter_name_of(consumer, prefix),
        permits: Semaphore::new(config.parallel_max.max(1)),
        counts: parts.metrics.of(consumer),
    })
}

fn hooks(spawner: &Spawner, consumer: Consumer, parts: &Parts, config: &ConsumerConfig) -> Hooks {
    let worker = worker(consumer, parts, config);
    // The hooks are called on the polling thread, which belongs to no runtime.
    let spawner = spawner.on(tokio::runtime::Handle::current());
    let metrics = parts.metrics.clone();
    Hooks {
        begin: Arc::new(move |owned| {
            let work = Arc::clone(&worker).run(owned);
            spawner.detach("consumer.partition", Stage::Consumers, work);
        }),
        lag: Arc::new(move |partition, records| metrics.lag(consumer, partition, records)),
    }
}

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
