//! Whether the parts answer, asked at most once a second however often somebody wants to know.

use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;

use crate::broker::Publisher;
use crate::gate::Gate;
use crate::store::Store;

/// How long an answer is good for.
const AGE_MAX: Duration = Duration::from_secs(1);
/// How long a part may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// How one part does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartHealth {
    /// `store`, `gate` or `broker`.
    pub name: &'static str,
    /// Why it is not well; none: it is.
    pub error: Option<String>,
}

/// Asks the parts.
#[derive(Clone)]
pub struct Health {
    store: Store,
    gate: Option<Arc<dyn Gate>>,
    publisher: Arc<dyn Publisher>,
    topic: String,
    answers: Cache<(), Vec<PartHealth>>,
}

impl Health {
    /// Asks these parts; the broker is asked for `topic`. A process that admits nobody has no gate.
    #[must_use]
    pub fn new(
        store: Store,
        gate: Option<Arc<dyn Gate>>,
        publisher: Arc<dyn Publisher>,
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
            topic,
            answers,
        }
    }

    /// How each part does.
    pub async fn check(&self) -> Vec<PartHealth> {
        self.answers.get_with((), self.ask()).await
    }

    async fn ask(&self) -> Vec<PartHealth> {
        let gate = async {
            match &self.gate {
                Some(gate) => {
                    let ping = async { gate.ping().await.map_err(|error| error.to_string()) };
                    Some(part("gate", ping).await)
                }
                None => None,
            }
        };
        let (store, gate, broker) = tokio::join!(
            part("store", async {
                self.store.ping().await.map_err(|error| error.to_string())
            }),
            gate,
            part("broker", async {
                self.publisher
                    .partitions(&self.topic)
                    .await
                    .map(drop)
                    .map_err(|error| error.to_string())
            }),
        );
        std::iter::once(store).chain(gate).chain([broker]).collect()
    }
}

async fn part(name: &'static str, answer: impl Future<Output = Result<(), String>>) -> PartHealth {
    let error = match tokio::time::timeout(ANSWER_TIMEOUT, answer).await {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error),
        Err(_) => Some("did not answer in time".to_owned()),
    };
    PartHealth { name, error }
}
