//! Shares the recent answers of replicas. Each replica writes its figures to Redis once per second, for all campaigns that
//! it serves; the status shows their sum. During an outage of Redis, a replica shows only its own figures, and says so.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use uuid::Uuid;

use crate::domain::CampaignId;
use crate::parts::gate::{Answered, GateError, ScriptGate};
use crate::runtime::supervisor::Spawner;
use crate::runtime::telemetry::cause;
use crate::sale::meter::{Meter, Recent};

/// Interval between writes of a replica.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long figures count: longer than two intervals, so that one late write does not matter.
const TERM: Duration = Duration::from_millis(2_500);
/// Maximum number of campaigns, the busiest first.
const CAMPAIGNS_MAX: usize = 1_000;
/// Campaigns written at the same time.
const WRITES_MAX: usize = 16;

/// The replicas that a figure includes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All replicas.
    Installation,
    /// Only this replica.
    Replica,
}

/// Shares the figures of this replica, and reads those of the others.
#[derive(Clone)]
pub struct Replicas {
    gate: Arc<ScriptGate>,
    name: Arc<str>,
}

impl Replicas {
    /// Shares figures through this gate.
    #[must_use]
    pub fn new(gate: Arc<ScriptGate>) -> Self {
        Self {
            gate,
            name: Uuid::now_v7().to_string().into(),
        }
    }

    /// Starts to share figures.
    pub fn start(&self, spawner: &Spawner, meter: &Meter) {
        let (replicas, meter) = (self.clone(), meter.clone());
        spawner.repeat("status.share", INTERVAL, move |_stop| {
            let (replicas, meter) = (replicas.clone(), meter.clone());
            async move {
                replicas.share(meter.active()).await;
                INTERVAL
            }
        });
    }

    /// Writes the answers of this replica for these campaigns.
    async fn share(&self, mut active: Vec<(CampaignId, Recent)>) {
        if self.gate.is_away() {
            return;
        }
        active.sort_unstable_by_key(|(_, recent)| std::cmp::Reverse(recent.processed));
        active.truncate(CAMPAIGNS_MAX);
        let writes = active.into_iter().map(|(campaign, recent)| {
            let answered = Answered {
                count: recent.processed,
                took: recent.took,
            };
            self.gate.note_recent(campaign, &self.name, answered, TERM)
        });
        let mut writes = stream::iter(writes).buffer_unordered(WRITES_MAX);
        while let Some(written) = writes.next().await {
            if let Err(error) = written {
                log(&error);
                return;
            }
        }
    }

    /// Adds the answers of the other replicas to those of this one.
    pub(super) async fn add_to(&self, own: Recent, campaign: CampaignId) -> (Recent, Scope) {
        if self.gate.is_away() {
            return (own, Scope::Replica);
        }
        match self.gate.recent_of_others(campaign, &self.name).await {
            Ok(others) => {
                let sum = Recent {
                    processed: own.processed + others.count,
                    took: own.took + others.took,
                };
                (sum, Scope::Installation)
            }
            Err(error) => {
                log(&error);
                (own, Scope::Replica)
            }
        }
    }
}

/// Other modules log an outage of Redis.
fn log(error: &GateError) {
    tracing::debug!(error = cause(error), "no figures of other replicas");
}
