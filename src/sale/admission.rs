//! The admission batcher: gathers concurrent entrants into one call of the gate per campaign. It decides nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::domain::CampaignId;
use crate::domain::metric;
use crate::parts::gate::{Admission, Entrant, Gate, GateError};
use crate::runtime::batcher::{BatcherConfig, Batchers, Reply, WAIT_BUCKETS};
use crate::runtime::metrics::RegisterMetric;
use crate::runtime::supervisor::{Spawner, Stage};
use crate::runtime::telemetry::cause;

/// Batches calls of the gate.
#[derive(Clone)]
pub struct AdmissionBatcher {
    batchers: Batchers<AdmissionRequest>,
    waits: Histogram,
}

/// The gate's answer, and the deadline of the commit.
#[derive(Debug)]
pub struct AdmissionAnswer {
    /// The answer.
    pub admission: Admission,
    /// Time of the request to the gate, by this process's monotonic clock.
    pub asked_at: Instant,
    /// End of the lease by this process's monotonic clock, or of a whole one if there is none: counted from before the
    /// request, so that it is never later than the gate's own. Adjusted clocks do not affect it.
    pub lease_deadline: Instant,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AdmissionError {
    /// The queue is full; nothing was reserved.
    #[error("the gate's queue is full")]
    Full,
    /// The request to the gate failed; there may be a lease.
    #[error("ask the gate for a batch")]
    Gate(#[source] Arc<GateError>),
}

/// Receives the answer on the batcher's task: it must not take long.
pub type AdmissionReply = Reply<Result<AdmissionAnswer, AdmissionError>>;

struct AdmissionRequest {
    campaign: CampaignId,
    entrant: Entrant,
    since: Instant,
    reply: AdmissionReply,
}

impl AdmissionBatcher {
    /// Starts the batcher.
    pub fn start(
        spawner: &Spawner,
        gate: Arc<dyn Gate>,
        config: BatcherConfig,
        lease: Duration,
    ) -> Self {
        let waits = Histogram::new(WAIT_BUCKETS);
        let observed = waits.clone();
        let batchers = Batchers::start(
            spawner,
            "admission.batch",
            Stage::Admission,
            config,
            move |batch| admit_all(Arc::clone(&gate), lease, observed.clone(), batch),
        );
        Self { batchers, waits }
    }

    /// Registers the metrics.
    pub fn register(&self, registry: &mut Registry) {
        registry.add(&metric::ADMISSION_SECONDS, self.waits.clone());
    }

    /// Requests the admission of one entrant. The reply is called with the answer, or with the error at once if the
    /// queue is full; it is dropped if the batcher stops before.
    pub fn ask(&self, campaign: CampaignId, entrant: Entrant, reply: AdmissionReply) {
        let request = AdmissionRequest {
            campaign,
            entrant,
            since: Instant::now(),
            reply,
        };
        if let Err(request) = self.batchers.offer(campaign, request) {
            (request.reply)(Err(AdmissionError::Full));
        }
    }
}

async fn admit_all(
    gate: Arc<dyn Gate>,
    lease: Duration,
    waits: Histogram,
    batch: Vec<AdmissionRequest>,
) {
    let mut campaigns: HashMap<CampaignId, Vec<AdmissionRequest>> = HashMap::new();
    for request in batch {
        campaigns.entry(request.campaign).or_default().push(request);
    }
    let calls = campaigns
        .into_iter()
        .map(|(campaign, group)| admit_group(gate.as_ref(), lease, &waits, campaign, group));
    join_all(calls).await;
}

async fn admit_group(
    gate: &dyn Gate,
    whole: Duration,
    waits: &Histogram,
    campaign: CampaignId,
    group: Vec<AdmissionRequest>,
) {
    let entrants: Vec<Entrant> = group.iter().map(|request| request.entrant).collect();
    let asked_at = Instant::now();
    let answer_of_gate = gate.admit(campaign, &entrants, whole).await;
    let answered_at = Instant::now();
    tracing::debug!(entrants = entrants.len(), took = ?answered_at - asked_at, "gate answered");
    match answer_of_gate {
        Ok(admissions) if admissions.len() == group.len() => {
            for (request, admission) in group.into_iter().zip(admissions) {
                waits.observe((answered_at - request.since).as_secs_f64());
                let lease_deadline = match admission {
                    Admission::Admitted(lease) => asked_at + lease.left.min(whole),
                    _ => asked_at + whole,
                };
                (request.reply)(Ok(AdmissionAnswer {
                    admission,
                    asked_at,
                    lease_deadline,
                }));
            }
        }
        Ok(admissions) => {
            let error = GateError::Protocol(format!(
                "{} answers to {} entrants",
                admissions.len(),
                group.len()
            ));
            answer_all(group, error);
        }
        Err(error) => answer_all(group, error),
    }
}

fn answer_all(group: Vec<AdmissionRequest>, error: GateError) {
    // The breaker logged the outage.
    if !matches!(error, GateError::Away) {
        tracing::warn!(
            error = cause(&error),
            entrants = group.len(),
            "the gate did not answer"
        );
    }
    let error = Arc::new(error);
    for request in group {
        (request.reply)(Err(AdmissionError::Gate(Arc::clone(&error))));
    }
}
