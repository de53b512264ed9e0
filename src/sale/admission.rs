//! The admission desk: gathers those who ask the gate at the same moment into one call per campaign.
//! It must not decide anything itself.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tokio::sync::oneshot;

use crate::domain::CampaignId;
use crate::domain::metric;
use crate::parts::gate::{Admission, Entrant, Gate, GateError};
use crate::runtime::batcher::{LaneConfig, Lanes, WAIT_BUCKETS};
use crate::runtime::metrics::RegisterMetric;
use crate::runtime::supervisor::{Spawner, Stage};

/// Asks the gate on behalf of many.
#[derive(Clone)]
pub struct Desk {
    lanes: Lanes<Asking>,
    waits: Histogram,
}

/// The gate's answer, and until when what it gave may be committed.
#[derive(Debug)]
pub struct Answer {
    /// Yes or no.
    pub admission: Admission,
    /// When the gate was asked, by this process's monotonic clock.
    pub asked_at: Instant,
    /// End of the lease by this process's monotonic clock, counted from before the gate was asked, so
    /// that it is never later than the gate's own. Clocks that jump do not matter to it.
    pub lease_deadline: Instant,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// The desk's queue is full; nothing was taken.
    #[error("the gate's queue is full")]
    Full,
    /// The gate could not be asked; a lease may be held.
    #[error("ask the gate for a batch")]
    Gate(#[source] Arc<GateError>),
    /// The desk stopped before it answered.
    #[error("await the gate's answer: the desk stopped")]
    Stopped,
}

struct Asking {
    campaign: CampaignId,
    entrant: Entrant,
    reply: oneshot::Sender<Result<Answer, DeskError>>,
}

impl Desk {
    /// Opens the desk.
    pub fn start(
        spawner: &Spawner,
        gate: Arc<dyn Gate>,
        config: LaneConfig,
        lease: Duration,
    ) -> Self {
        let lanes = Lanes::start(
            spawner,
            "admission.lane",
            Stage::Admission,
            config,
            move |batch| ask_for_all(Arc::clone(&gate), lease, batch),
        );
        Self {
            lanes,
            waits: Histogram::new(WAIT_BUCKETS),
        }
    }

    /// Makes visible how long answers take.
    pub fn register(&self, registry: &mut Registry) {
        registry.add(&metric::ADMISSION_SECONDS, self.waits.clone());
    }

    /// Asks for one entrant and waits for the answer.
    pub async fn ask(&self, campaign: CampaignId, entrant: Entrant) -> Result<Answer, DeskError> {
        let asked_at = Instant::now();
        let (reply, answer) = oneshot::channel();
        self.lanes
            .offer(
                campaign,
                Asking {
                    campaign,
                    entrant,
                    reply,
                },
            )
            .map_err(|_| DeskError::Full)?;
        let answer = answer.await.unwrap_or(Err(DeskError::Stopped));
        if answer.is_ok() {
            self.waits.observe(asked_at.elapsed().as_secs_f64());
        }
        answer
    }
}

async fn ask_for_all(gate: Arc<dyn Gate>, lease: Duration, batch: Vec<Asking>) {
    let mut campaigns: HashMap<CampaignId, Vec<Asking>> = HashMap::new();
    for asking in batch {
        campaigns.entry(asking.campaign).or_default().push(asking);
    }
    let calls = campaigns
        .into_iter()
        .map(|(campaign, group)| ask_for_group(gate.as_ref(), lease, campaign, group));
    join_all(calls).await;
}

async fn ask_for_group(gate: &dyn Gate, lease: Duration, campaign: CampaignId, group: Vec<Asking>) {
    let entrants: Vec<Entrant> = group.iter().map(|asking| asking.entrant).collect();
    let asked_at = Instant::now();
    let lease_deadline = asked_at + lease;
    let answer_of_gate = gate.admit(campaign, &entrants, lease).await;
    tracing::debug!(entrants = entrants.len(), took = ?asked_at.elapsed(), "gate asked");
    match answer_of_gate {
        Ok(admissions) if admissions.len() == group.len() => {
            for (asking, admission) in group.into_iter().zip(admissions) {
                answer(
                    asking,
                    Ok(Answer {
                        admission,
                        asked_at,
                        lease_deadline,
                    }),
                );
            }
        }
        Ok(admissions) => {
            let odd = GateError::Protocol(format!(
                "{} answers to {} entrants",
                admissions.len(),
                group.len()
            ));
            answer_all(group, odd);
        }
        Err(error) => answer_all(group, error),
    }
}

fn answer_all(group: Vec<Asking>, error: GateError) {
    // That the gate is away was said when it went.
    if !matches!(error, GateError::Away) {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            entrants = group.len(),
            "the gate did not answer"
        );
    }
    let error = Arc::new(error);
    for asking in group {
        answer(asking, Err(DeskError::Gate(Arc::clone(&error))));
    }
}

/// Who asked may have gone; a lease they hold is the sweeper's then.
fn answer(asking: Asking, answer: Result<Answer, DeskError>) {
    drop(asking.reply.send(answer));
}
