//! Rebuilds whose callers disconnect or are many.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use firstcome::domain::{Actor, CampaignId, Origin, ParticipationId, Pricing, State};
use firstcome::operate::lifecycle::{Lifecycle, LifecycleError};
use firstcome::parts::gate::{
    Admission, Configured, Entrant, Footprint, Gate, GateError, GateState, GivenBack, HeldLease,
    KeyDigest, KeyRefused, Mark, Return, Settings, UserUnits,
};
use firstcome::parts::store::CampaignChange;
use firstcome::sale::catalogue::{Catalogue, CatalogueConfig};
use firstcome::sale::reconcile::{Patience, Reconciler, Renewed};
use futures_util::future::join_all;
use tokio::sync::Semaphore;

use crate::support::{campaign_of, create, spawner, sqlite, until};

/// A gate that has lost its state, and whose rebuilds wait for a permit.
struct LostGate {
    state: Mutex<Option<GateState>>,
    begun: AtomicUsize,
    inspected: AtomicUsize,
    may_end: Semaphore,
}

impl LostGate {
    fn new(permits: usize) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(None),
            begun: AtomicUsize::new(0),
            inspected: AtomicUsize::new(0),
            may_end: Semaphore::new(permits),
        })
    }
}

#[async_trait]
impl Gate for LostGate {
    async fn rebuild(
        &self,
        _: CampaignId,
        epoch: u64,
        settings: &Settings,
        _: &[UserUnits],
        _: Mark,
    ) -> Result<bool, GateError> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        self.may_end.acquire().await.unwrap().forget();
        *self.state.lock().unwrap() = Some(GateState {
            epoch,
            units: 0,
            last_rank: 0,
            remaining: None,
            leases: 0,
            users: 0,
            returns: 0,
            settings: *settings,
        });
        Ok(true)
    }

    async fn release_listed(&self, _: CampaignId, _: &[HeldLease]) -> Result<u64, GateError> {
        unreachable!()
    }

    fn owner(&self) -> &'static str {
        "0"
    }

    async fn leases_of(
        &self,
        _: CampaignId,
        _: &[String],
        _: u64,
        _: usize,
    ) -> Result<Vec<HeldLease>, GateError> {
        unreachable!()
    }

    async fn advance(
        &self,
        _: CampaignId,
        _: u64,
        _: u64,
        _: &[String],
    ) -> Result<bool, GateError> {
        unreachable!()
    }

    async fn inspect(&self, _: CampaignId) -> Result<Option<GateState>, GateError> {
        self.inspected.fetch_add(1, Ordering::SeqCst);
        Ok(*self.state.lock().unwrap())
    }

    async fn admit(
        &self,
        _: CampaignId,
        _: &[Entrant],
        _: Duration,
    ) -> Result<Vec<Admission>, GateError> {
        unreachable!()
    }

    async fn refuse_key(
        &self,
        _: CampaignId,
        _: KeyDigest,
        _: Duration,
        _: Duration,
    ) -> Result<KeyRefused, GateError> {
        unreachable!()
    }

    async fn settle(&self, _: CampaignId, _: &[ParticipationId]) -> Result<(), GateError> {
        unreachable!()
    }

    async fn release(
        &self,
        _: CampaignId,
        _: u64,
        _: &[ParticipationId],
    ) -> Result<u64, GateError> {
        unreachable!()
    }

    async fn give_back(&self, _: CampaignId, _: u64, _: &[Return]) -> Result<GivenBack, GateError> {
        unreachable!()
    }

    async fn configure(&self, _: CampaignId, settings: &Settings) -> Result<Configured, GateError> {
        Ok(match self.state.lock().unwrap().as_mut() {
            None => Configured::Missing,
            Some(state) if state.settings.is_newer_than(settings) => Configured::Stale,
            Some(state) => {
                state.settings = *settings;
                Configured::Applied
            }
        })
    }

    async fn expired(&self, _: CampaignId, _: usize) -> Result<Vec<HeldLease>, GateError> {
        unreachable!()
    }

    async fn footprint(&self, _: CampaignId) -> Result<Footprint, GateError> {
        unreachable!()
    }

    async fn ping(&self) -> Result<(), GateError> {
        unreachable!()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_completes_after_its_caller_is_dropped() {
    let test = sqlite().await;
    let campaign = create(&test.store, campaign_of(Some(5))).await;
    let gate = LostGate::new(0);
    let reconciler = Reconciler::new(test.store.clone(), gate.clone(), spawner());
    let caller = {
        let reconciler = reconciler.clone();
        tokio::spawn(async move { reconciler.renew(campaign.id, None, Patience::Waits).await })
    };
    until("the rebuild has begun", async || {
        gate.begun.load(Ordering::SeqCst) == 1
    })
    .await;
    // Like a request whose client closes the connection.
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    gate.may_end.add_permits(1);
    until("the gate has the store's epoch", async || {
        let stored = test.store.campaign(campaign.id).await.unwrap().unwrap();
        let state = *gate.state.lock().unwrap();
        state.is_some_and(|state| state.epoch == stored.gate_epoch)
    })
    .await;
    assert_eq!(
        gate.begun.load(Ordering::SeqCst),
        1,
        "one rebuild is enough"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_that_waits_for_a_rebuild_does_not_ask_the_gate_one_by_one() {
    let test = sqlite().await;
    let campaign = create(&test.store, campaign_of(Some(5))).await;
    let gate = LostGate::new(0);
    let reconciler = Reconciler::new(test.store.clone(), gate.clone(), spawner());
    // In one task: all of them wait before the rebuild may end.
    let crowd = (0..1_000).map(|_| reconciler.renew(campaign.id, None, Patience::Waits));
    let (renewed, ()) = tokio::join!(join_all(crowd), async {
        until("the rebuild has begun", async || {
            gate.begun.load(Ordering::SeqCst) == 1
        })
        .await;
        gate.may_end.add_permits(1);
    });
    for renewed in renewed {
        assert_eq!(renewed.unwrap(), Renewed::InStep);
    }
    assert_eq!(gate.begun.load(Ordering::SeqCst), 1);
    let inspected = gate.inspected.load(Ordering::SeqCst);
    assert!(inspected <= 3, "{inspected} questions");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_during_the_rebuild_of_another_caller_reaches_the_gate() {
    let test = sqlite().await;
    let campaign = create(&test.store, campaign_of(Some(5))).await;
    let gate = LostGate::new(0);
    let reconciler = Reconciler::new(test.store.clone(), gate.clone(), spawner());
    let other = {
        let reconciler = reconciler.clone();
        tokio::spawn(async move { reconciler.renew(campaign.id, None, Patience::Waits).await })
    };
    until("the other rebuild has begun", async || {
        gate.begun.load(Ordering::SeqCst) == 1
    })
    .await;
    let pause = CampaignChange {
        state: Some(State::Paused),
        ..CampaignChange::default()
    };
    let version = campaign.version;
    let changed = test
        .store
        .change_campaign(campaign.id, version, &pause, None)
        .await;
    assert!(changed.unwrap());
    let paused = test.store.campaign(campaign.id).await.unwrap().unwrap();
    let (configured, ()) = tokio::join!(reconciler.configure(&paused, Patience::Waits), async {
        gate.may_end.add_permits(1);
    });
    assert_eq!(configured.unwrap(), Renewed::InStep);
    assert_eq!(other.await.unwrap().unwrap(), Renewed::InStep);
    let state = gate.state.lock().unwrap().unwrap();
    assert_eq!(state.settings.state, State::Paused);
}

/// The other rebuild has read the campaign as it was, and takes longer than an administrator waits.
#[tokio::test(flavor = "multi_thread")]
async fn a_pause_is_done_only_when_the_gate_has_it() {
    let test = sqlite().await;
    let campaign = create(&test.store, campaign_of(Some(5))).await;
    let gate = LostGate::new(0);
    let reconciler = Reconciler::new(test.store.clone(), gate.clone(), spawner());
    let catalogue = Catalogue::new(test.store.clone(), CatalogueConfig::default());
    let (store, pricing) = (test.store.clone(), Pricing::Sold);
    let lifecycle = Lifecycle::new(store, catalogue, reconciler.clone(), pricing);
    let other =
        tokio::spawn(async move { reconciler.renew(campaign.id, None, Patience::Waits).await });
    until("the other rebuild has begun", async || {
        gate.begun.load(Ordering::SeqCst) == 1
    })
    .await;
    let admin = Origin {
        actor: Actor::CommandLine,
        request_id: None,
        address: None,
    };
    let early = lifecycle
        .move_to(campaign.id, State::Paused, &admin)
        .await
        .unwrap_err();
    assert!(
        matches!(early, LifecycleError::Gate(GateError::Away)),
        "{early:?}"
    );
    gate.may_end.add_permits(1);
    assert_eq!(other.await.unwrap().unwrap(), Renewed::InStep);
    let paused = lifecycle.move_to(campaign.id, State::Paused, &admin).await;
    assert_eq!(paused.unwrap().state, State::Paused);
    let state = gate.state.lock().unwrap().unwrap();
    assert_eq!(state.settings.state, State::Paused);
}
