//! Health checks of the parts: whether they answer, and whether the databases accept writes. They run at most once per
//! second for all callers.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use futures_util::future::OptionFuture;
use moka::future::Cache;

use crate::operate::clock_skew::Skew;
use crate::parts::broker::Publisher;
use crate::parts::gate::Gate;
use crate::parts::store::{Rewards, Store, StoreError};

/// Maximum age of a result.
const AGE_MAX: Duration = Duration::from_secs(1);
/// Time limit for the answer of a part.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// Whether a process can do its work without a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// It cannot work without it.
    Needed,
    /// It can, at least for a while: the work for the part waits, or takes another path.
    Spared,
}

/// The health of one part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartHealth {
    /// `store`, `gate`, `broker` or `rewards`.
    pub name: &'static str,
    /// Whether the process works without it.
    pub need: Need,
    /// The error; none: it is healthy.
    pub error: Option<String>,
    /// The part of the error that clients may read; none: clients learn only that there is an error.
    pub reason: Option<String>,
}

/// The error of a part, and the part of it that clients may read.
type Fault = (String, Option<String>);

fn hidden(error: impl Display) -> Fault {
    (error.to_string(), None)
}

fn of_store(error: StoreError) -> Fault {
    match &error {
        StoreError::ReadOnly(settings) => {
            (error.to_string(), Some(format!("read-only: {settings}")))
        }
        _ => hidden(error),
    }
}

/// Checks the parts.
#[derive(Clone)]
pub struct Health {
    store: Store,
    gate: Option<(Arc<dyn Gate>, Need)>,
    publisher: Arc<dyn Publisher>,
    broker_need: Need,
    topic: String,
    rewards: Option<(Rewards, Need)>,
    skew: Skew,
    answers: Cache<(), Vec<PartHealth>>,
}

/// The condition of all parts together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// All parts answer.
    Ready,
    /// Only parts that are not needed are unavailable.
    Degraded,
    /// A needed part is unavailable.
    NotReady,
}

impl Condition {
    /// The condition of these parts.
    #[must_use]
    pub fn of(parts: &[PartHealth]) -> Self {
        let away = |part: &&PartHealth| part.error.is_some();
        let mut needs = parts.iter().filter(away).map(|part| part.need);
        match needs.next() {
            None => Self::Ready,
            Some(Need::Needed) => Self::NotReady,
            Some(Need::Spared) if needs.any(|need| need == Need::Needed) => Self::NotReady,
            Some(Need::Spared) => Self::Degraded,
        }
    }
}

impl Health {
    /// Checks these parts; the broker by `topic`. The store is always needed. A process without admissions has no gate.
    #[must_use]
    pub fn new(
        store: Store,
        gate: Option<(Arc<dyn Gate>, Need)>,
        (publisher, broker_need): (Arc<dyn Publisher>, Need),
        topic: String,
    ) -> Self {
        let answers = Cache::builder()
            .max_capacity(1)
            .time_to_live(AGE_MAX)
            .build();
        Self {
            store,
            gate,
            publisher,
            broker_need,
            topic,
            rewards: None,
            skew: Skew::new(),
            answers,
        }
    }

    /// Also checks the rewards database, if there is one.
    #[must_use]
    pub fn with_rewards(self, rewards: Option<Rewards>, need: Need) -> Self {
        Self {
            rewards: rewards.map(|rewards| (rewards, need)),
            ..self
        }
    }

    /// Also reports this machine's clock.
    #[must_use]
    pub fn with_clock(self, skew: Skew) -> Self {
        Self { skew, ..self }
    }

    /// The lead of this machine's clock over the database's; none: unknown.
    #[must_use]
    pub fn clock_ahead(&self) -> Option<TimeDelta> {
        self.skew.ahead()
    }

    /// The health of each part.
    pub async fn check(&self) -> Vec<PartHealth> {
        self.answers.get_with((), self.ask()).await
    }

    async fn ask(&self) -> Vec<PartHealth> {
        let gate = OptionFuture::from(self.gate.as_ref().map(|(gate, need)| {
            let ping = async { gate.ping().await.map_err(hidden) };
            part("gate", *need, ping)
        }));
        let rewards = OptionFuture::from(self.rewards.as_ref().map(|(rewards, need)| {
            let check = async { rewards.check_writable().await.map_err(of_store) };
            part("rewards", *need, check)
        }));
        let (store, gate, broker, rewards) = tokio::join!(
            part("store", Need::Needed, async {
                self.store.check_primary().await.map_err(of_store)
            }),
            gate,
            part("broker", self.broker_need, async {
                let partitions = self.publisher.partitions(&self.topic).await;
                partitions.map(drop).map_err(hidden)
            }),
            rewards,
        );
        std::iter::once(store)
            .chain(gate)
            .chain([broker])
            .chain(rewards)
            .collect()
    }
}

async fn part(
    name: &'static str,
    need: Need,
    answer: impl Future<Output = Result<(), Fault>>,
) -> PartHealth {
    let fault = match tokio::time::timeout(ANSWER_TIMEOUT, answer).await {
        Ok(Ok(())) => None,
        Ok(Err(fault)) => Some(fault),
        Err(_) => Some(hidden("did not answer in time")),
    };
    let (error, reason) = fault.unzip();
    PartHealth {
        name,
        need,
        error,
        reason: reason.flatten(),
    }
}
