//! What the other replicas have answered lately. Each tells once a second, through Redis, for as many
//! campaigns as it answers for; who shows a status adds up. It is for show alone: while Redis is away a
//! replica shows what it knows itself, and says so.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use uuid::Uuid;

use crate::domain::CampaignId;
use crate::parts::gate::{Answered, GateError, ScriptGate};
use crate::runtime::supervisor::Spawner;
use crate::sale::meter::{Meter, Recent};

/// How often each replica tells.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long what it told counts: a replica that is late by one round is not left out.
const TERM: Duration = Duration::from_millis(2_500);
/// Campaigns that it tells of at most, the busiest first.
const CAMPAIGNS_MAX: usize = 1_000;
/// Campaigns that it tells of at the same time.
const TELLING_MAX: usize = 16;

/// Whose answers a figure is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All replicas together.
    Installation,
    /// The one that was asked, alone.
    Replica,
}

/// Tells the other replicas what this one answers, and knows what they do.
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

    /// Starts to tell.
    pub fn start(&self, spawner: &Spawner, meter: &Meter) {
        let (replicas, meter) = (self.clone(), meter.clone());
        spawner.repeat("status.tell", INTERVAL, move |_stop| {
            let (replicas, meter) = (replicas.clone(), meter.clone());
            async move {
                replicas.tell(meter.active()).await;
                INTERVAL
            }
        });
    }

    /// Tells what was answered here for these campaigns.
    async fn tell(&self, mut active: Vec<(CampaignId, Recent)>) {
        if self.gate.is_away() {
            return;
        }
        active.sort_unstable_by_key(|(_, recent)| std::cmp::Reverse(recent.processed));
        active.truncate(CAMPAIGNS_MAX);
        let told = active.into_iter().map(|(campaign, recent)| {
            let answered = Answered {
                count: recent.processed,
                took: recent.took,
            };
            self.gate.note_recent(campaign, &self.name, answered, TERM)
        });
        let mut told = stream::iter(told).buffer_unordered(TELLING_MAX);
        while let Some(told) = told.next().await {
            if let Err(error) = told {
                log(&error);
                return;
            }
        }
    }

    /// What was answered by all replicas, given what was by this one.
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

/// That Redis is away is said by who needs it.
fn log(error: &GateError) {
    tracing::debug!(
        error = error as &dyn std::error::Error,
        "no figures of other replicas"
    );
}
