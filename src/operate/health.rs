//! Whether the parts answer, and whether the databases take writes, asked at most once a second however often somebody wants to know.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use moka::future::Cache;

use crate::operate::clock_skew::Skew;
use crate::parts::broker::Publisher;
use crate::parts::gate::Gate;
use crate::parts::store::{Rewards, Store, StoreError};

/// How long an answer is good for.
const AGE_MAX: Duration = Duration::from_secs(1);
/// How long a part may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// Whether a process can do its work without a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// It cannot.
    Needed,
    /// It can, at least for a while: what the part would have done waits, or is done by another way.
    Spared,
}

/// How one part does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartHealth {
    /// `store`, `gate`, `broker` or `rewards`.
    pub name: &'static str,
    /// Whether the work goes on without it.
    pub need: Need,
    /// Why it is not well; none: it is.
    pub error: Option<String>,
    /// What of that a client may be told; none: only that it is not well.
    pub reason: Option<String>,
}

/// What is wrong with a part.
struct Fault {
    error: String,
    reason: Option<String>,
}

impl From<String> for Fault {
    fn from(error: String) -> Self {
        Self {
            error,
            reason: None,
        }
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        let reason = match &error {
            StoreError::ReadOnly(settings) => Some(format!("read-only: {settings}")),
            _ => None,
        };
        Self {
            error: error.to_string(),
            reason,
        }
    }
}

/// Asks the parts.
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

/// What the parts together are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// All parts answer.
    Ready,
    /// Parts are away that the work goes on without.
    Degraded,
    /// A part is away that is needed.
    NotReady,
}

impl Condition {
    /// What these parts are together.
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
    /// Asks these parts; the broker is asked for `topic`. The store is always needed. A process that
    /// admits nobody has no gate.
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

    /// Asks the rewards database, too, where there is one.
    #[must_use]
    pub fn with_rewards(self, rewards: Option<Rewards>, need: Need) -> Self {
        Self {
            rewards: rewards.map(|rewards| (rewards, need)),
            ..self
        }
    }

    /// Tells of this machine's clock, too.
    #[must_use]
    pub fn with_clock(self, skew: Skew) -> Self {
        Self { skew, ..self }
    }

    /// By how much this machine's clock is ahead of the database's; none: that is not known yet.
    #[must_use]
    pub fn clock_ahead(&self) -> Option<TimeDelta> {
        self.skew.ahead()
    }

    /// How each part does.
    pub async fn check(&self) -> Vec<PartHealth> {
        self.answers.get_with((), self.ask()).await
    }

    async fn ask(&self) -> Vec<PartHealth> {
        let gate = async {
            match &self.gate {
                Some((gate, need)) => {
                    let ping =
                        async { gate.ping().await.map_err(|error| error.to_string().into()) };
                    Some(part("gate", *need, ping).await)
                }
                None => None,
            }
        };
        let rewards = async {
            match &self.rewards {
                Some((rewards, need)) => {
                    let asked = async { rewards.check_writable().await.map_err(Fault::from) };
                    Some(part("rewards", *need, asked).await)
                }
                None => None,
            }
        };
        let (store, gate, broker, rewards) = tokio::join!(
            part("store", Need::Needed, async {
                self.store.check_writable().await.map_err(Fault::from)
            }),
            gate,
            part("broker", self.broker_need, async {
                self.publisher
                    .partitions(&self.topic)
                    .await
                    .map(drop)
                    .map_err(|error| error.to_string().into())
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
        Err(_) => Some(Fault::from("did not answer in time".to_owned())),
    };
    let (error, reason) = fault.map_or((None, None), |fault| (Some(fault.error), fault.reason));
    PartHealth {
        name,
        need,
        error,
        reason,
    }
}
