//! The breaker before the gate. Once the gate does not answer, nobody waits for it again until it has
//! answered a probe: a gate that hangs costs one time-out and not one per request. It must not decide
//! what is done without the gate.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::sync::watch;

use super::{
    Admission, Configured, Entrant, Footprint, Gate, GateError, GateState, GivenBack, KeyDigest,
    KeyRefused, Lease, Mark, Return, Seat, Settings,
};
use crate::domain::metric;
use crate::domain::{CampaignId, ParticipationId};
use crate::runtime::metrics::RegisterMetric;

/// A gate that is left alone while it is away.
pub struct Guarded {
    inner: Arc<dyn Gate>,
    away: watch::Sender<bool>,
    /// 1 while it is away, for the metrics.
    is_away: Gauge,
    outages: Counter,
}

impl Guarded {
    /// Guards this gate, which is taken to be there.
    #[must_use]
    pub fn new(inner: Arc<dyn Gate>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            away: watch::Sender::new(false),
            is_away: Gauge::default(),
            outages: Counter::default(),
        })
    }

    /// Whether the gate did not answer when it was asked last.
    #[must_use]
    pub fn is_away(&self) -> bool {
        *self.away.borrow()
    }

    /// Makes visible whether the gate is away, and how often it was.
    pub fn register(&self, registry: &mut Registry) {
        registry.add(&metric::GATE_AWAY, self.is_away.clone());
        registry.add(&metric::GATE_OUTAGES, self.outages.clone());
    }

    /// How often the gate has gone away.
    #[must_use]
    pub fn outages(&self) -> u64 {
        self.outages.get()
    }

    /// Waits until the gate is away.
    pub async fn until_away(&self) {
        // Fails only without a sender, and this is the sender.
        drop(self.away.subscribe().wait_for(|away| *away).await);
    }

    /// Asks a gate that is away whether it is back, so far apart, until it is.
    pub async fn until_back(&self, pause: Duration) {
        while self.inner.ping().await.is_err() {
            tokio::time::sleep(pause).await;
        }
        if self.away.send_replace(false) {
            self.is_away.set(0);
            tracing::info!("the gate is back");
        }
    }

    /// Asks something, unless it is away; notes it if there is no answer. For those who ask for other
    /// things than admission, in the same place.
    pub async fn ask<T>(
        &self,
        question: impl Future<Output = Result<T, GateError>> + Send,
    ) -> Result<T, GateError> {
        if self.is_away() {
            return Err(GateError::Away);
        }
        let answer = question.await;
        if let Err(error @ GateError::Unavailable(_)) = &answer
            && !self.away.send_replace(true)
        {
            self.outages.inc();
            self.is_away.set(1);
            tracing::error!(
                error = error as &dyn std::error::Error,
                "the gate is away: it is left alone until it answers a probe"
            );
        }
        answer
    }
}

#[async_trait]
impl Gate for Guarded {
    async fn admit(
        &self,
        campaign: CampaignId,
        entrants: &[Entrant],
        lease: Duration,
    ) -> Result<Vec<Admission>, GateError> {
        self.ask(self.inner.admit(campaign, entrants, lease)).await
    }

    async fn refuse_key(
        &self,
        campaign: CampaignId,
        key: KeyDigest,
        age: Duration,
        lease: Duration,
    ) -> Result<KeyRefused, GateError> {
        self.ask(self.inner.refuse_key(campaign, key, age, lease))
            .await
    }

    async fn settle(&self, campaign: CampaignId, ids: &[ParticipationId]) -> Result<(), GateError> {
        self.ask(self.inner.settle(campaign, ids)).await
    }

    async fn release(
        &self,
        campaign: CampaignId,
        epoch: u64,
        ids: &[ParticipationId],
    ) -> Result<u64, GateError> {
        self.ask(self.inner.release(campaign, epoch, ids)).await
    }

    async fn give_back(
        &self,
        campaign: CampaignId,
        epoch: u64,
        returns: &[Return],
    ) -> Result<GivenBack, GateError> {
        self.ask(self.inner.give_back(campaign, epoch, returns))
            .await
    }

    async fn configure(
        &self,
        campaign: CampaignId,
        settings: &Settings,
    ) -> Result<Configured, GateError> {
        self.ask(self.inner.configure(campaign, settings)).await
    }

    async fn rebuild(
        &self,
        campaign: CampaignId,
        epoch: u64,
        settings: &Settings,
        seats: &[Seat],
        mark: Mark,
    ) -> Result<bool, GateError> {
        let rebuilt = self.inner.rebuild(campaign, epoch, settings, seats, mark);
        self.ask(rebuilt).await
    }

    async fn expired(&self, campaign: CampaignId, limit: usize) -> Result<Vec<Lease>, GateError> {
        self.ask(self.inner.expired(campaign, limit)).await
    }

    async fn inspect(&self, campaign: CampaignId) -> Result<Option<GateState>, GateError> {
        self.ask(self.inner.inspect(campaign)).await
    }

    async fn footprint(&self, campaign: CampaignId) -> Result<Footprint, GateError> {
        self.ask(self.inner.footprint(campaign)).await
    }

    /// Goes to the gate in any case: who pings wants to know.
    async fn ping(&self) -> Result<(), GateError> {
        self.inner.ping().await
    }
}
