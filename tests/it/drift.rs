//! Settings of a campaign that differ between gate and store: which ones win, and how the difference is
//! detected.

use std::sync::Arc;
use std::time::Duration;

use firstcome::domain::{Campaign, ParticipationId, Refusal, State, UserId};
use firstcome::operate::verify::Verification;
use firstcome::parts::gate::{Admission, Entrant, Gate, Key, ScriptGate};
use firstcome::parts::store::{CampaignChange, Raise, Raised, Store};
use firstcome::runtime::clock::Clock;
use firstcome::sale::reconcile::{Patience, Reconciler, Renewed};

use crate::support::{TestStore, campaign_of, create, move_to, spawner, stores, unique};
use crate::verify::{run, vandal};

const STOCK: u64 = 5;

struct Scene {
    campaign: Campaign,
    gate: Arc<ScriptGate>,
    reconciler: Reconciler,
}

impl Scene {
    async fn new(store: &Store) -> Self {
        let campaign = create(store, campaign_of(Some(STOCK))).await;
        let gate = Arc::new(ScriptGate::in_process(Clock::System, &unique("drift")).unwrap());
        let reconciler = Reconciler::new(store.clone(), gate.clone(), spawner())
            .with_rebuild_interval(Duration::ZERO);
        reconciler.align().await.unwrap();
        Self {
            campaign,
            gate,
            reconciler,
        }
    }

    /// Changes the campaign in the store and in the gate, and loses the change of the store, as in a failover
    /// to a server that had not received it.
    async fn lose(&self, test: &TestStore, change: &CampaignChange) {
        let id = self.campaign.id;
        let before = test.store.campaign(id).await.unwrap().unwrap();
        // Twice, so that the next change of the store still has an older version.
        for version in [before.version, before.version + 1] {
            let changed = test.store.change_campaign(id, version, change, None).await;
            assert!(changed.unwrap());
        }
        let changed = test.store.campaign(id).await.unwrap().unwrap();
        let told = self.reconciler.configure(&changed, Patience::Waits).await;
        told.unwrap();
        run(
            &vandal(test).await,
            &format!(
                "UPDATE campaign SET version = {}, total_stock = {STOCK}, state = 'open' WHERE id = {id}",
                before.version
            ),
        )
        .await;
    }

    async fn remaining(&self) -> Option<u64> {
        let state = self.gate.inspect(self.campaign.id).await.unwrap();
        state.unwrap().remaining
    }
}

fn more_stock() -> CampaignChange {
    CampaignChange {
        total_stock: Some(Some(STOCK + 3)),
        ..CampaignChange::default()
    }
}

fn paused() -> CampaignChange {
    CampaignChange {
        state: Some(State::Paused),
        ..CampaignChange::default()
    }
}

#[tokio::test]
async fn a_rebuild_does_not_keep_stock_the_store_has_lost() {
    for test in stores().await {
        let scene = Scene::new(&test.store).await;
        scene.lose(&test, &more_stock()).await;
        assert_eq!(scene.remaining().await, Some(STOCK + 3));
        let seen = scene.gate.inspect(scene.campaign.id).await.unwrap();
        let seen = seen.map(|state| state.epoch);
        let renewed = scene
            .reconciler
            .renew(scene.campaign.id, seen, Patience::Waits)
            .await;
        assert_eq!(renewed.unwrap(), Renewed::InStep);
        assert_eq!(scene.remaining().await, Some(STOCK));
    }
}

#[tokio::test]
async fn the_sweep_ends_a_pause_the_store_has_lost() {
    for test in stores().await {
        let scene = Scene::new(&test.store).await;
        scene.lose(&test, &paused()).await;
        let swept = scene.reconciler.sweep().await.unwrap();
        assert_eq!(swept.rebuilt, 1);
        assert_eq!(scene.reconciler.sweep().await.unwrap().rebuilt, 0);
    }
}

#[tokio::test]
async fn verify_names_settings_that_the_store_lost() {
    for test in stores().await {
        let scene = Scene::new(&test.store).await;
        scene.lose(&test, &more_stock()).await;
        let verification = Verification::new(test.store.clone(), scene.gate.clone());
        let found = verification.run().await.unwrap();
        assert_eq!(found[0].breaches.len(), 1, "{:?}", found[0].breaches);
    }
}

#[tokio::test]
async fn a_change_after_a_failover_reaches_the_gate() {
    for test in stores().await {
        let scene = Scene::new(&test.store).await;
        scene.lose(&test, &paused()).await;
        let id = scene.campaign.id;
        let before = test.store.campaign(id).await.unwrap().unwrap();
        let change = CampaignChange {
            total_stock: Some(Some(STOCK + 1)),
            ..CampaignChange::default()
        };
        let changed = test
            .store
            .change_campaign(id, before.version, &change, None)
            .await;
        assert!(changed.unwrap());
        let changed = test.store.campaign(id).await.unwrap().unwrap();
        let told = scene.reconciler.configure(&changed, Patience::Waits).await;
        assert_eq!(told.unwrap(), Renewed::InStep);
        assert_eq!(scene.remaining().await, Some(STOCK + 1));
        let state = scene.gate.inspect(id).await.unwrap().unwrap();
        assert_eq!(state.settings.state, State::Open);
    }
}

#[tokio::test]
async fn the_sweep_updates_a_gate_with_older_settings() {
    for test in stores().await {
        let scene = Scene::new(&test.store).await;
        // The process that changed it died before it notified the gate.
        move_to(&test.store, &scene.campaign, State::Paused).await;
        let swept = scene.reconciler.sweep().await.unwrap();
        assert_eq!((swept.configured, swept.rebuilt), (1, 0));
        let state = scene.gate.inspect(scene.campaign.id).await.unwrap();
        assert_eq!(state.unwrap().settings.state, State::Paused);
        assert_eq!(scene.reconciler.sweep().await.unwrap().configured, 0);
    }
}

#[tokio::test]
async fn a_campaign_closed_in_the_store_alone_is_removed_from_the_gate_and_stays_removed() {
    for test in stores().await {
        let campaign = create(&test.store, campaign_of(Some(STOCK))).await;
        let id = campaign.id;
        let clock = Clock::manual(Clock::System.now());
        let gate = ScriptGate::in_process(clock.clone(), &unique("over")).unwrap();
        let gate = Arc::new(gate.with_over_retention(Duration::from_secs(60)));
        let reconciler = Reconciler::new(test.store.clone(), gate.clone(), spawner())
            .with_rebuild_interval(Duration::ZERO);
        reconciler.align().await.unwrap();
        move_to(&test.store, &campaign, State::Closed).await;
        assert_eq!(reconciler.sweep().await.unwrap().over, 1);
        assert_eq!(reconciler.sweep().await.unwrap().over, 0);
        let entrant = Entrant {
            participation: ParticipationId::generate(),
            user: UserId(1),
            quantity: 1,
            key: Key::None,
        };
        let admit = async || {
            let answers = gate.admit(id, &[entrant], Duration::from_secs(9)).await;
            answers.unwrap().remove(0)
        };
        let ended = Admission::Refused {
            refusal: Refusal::Ended,
            remaining: Some(STOCK),
        };
        assert_eq!(admit().await, ended);
        let forget = async || {
            clock.advance(Duration::from_secs(61));
            let takes = gate.footprint(id).await.unwrap();
            assert_eq!((takes.bytes, gate.inspect(id).await.unwrap()), (0, None));
        };
        forget().await;
        // A replica whose copy of the campaign is a second old still asks the gate.
        assert_eq!(admit().await, Admission::Missing);
        let renewed = reconciler.renew(id, None, Patience::Waits).await.unwrap();
        assert_eq!(renewed, Renewed::InStep);
        assert_eq!(admit().await, ended);
        forget().await;
    }
}

#[tokio::test]
async fn many_replicas_rebuild_a_gate_at_most_once_per_interval() {
    for test in stores().await {
        let scene = Scene::new(&test.store).await;
        let id = scene.campaign.id;
        let seen = scene
            .gate
            .inspect(id)
            .await
            .unwrap()
            .map(|state| state.epoch);
        let replica = |interval: Duration| {
            Reconciler::new(test.store.clone(), scene.gate.clone(), spawner())
                .with_rebuild_interval(interval)
        };
        let replicas: Vec<Reconciler> = (0..4).map(|_| replica(Duration::from_secs(60))).collect();
        let all = replicas.iter().flat_map(|replica| [replica; 3]);
        let renewed = all.map(|replica| replica.renew(id, seen, Patience::None));
        for renewed in futures_util::future::join_all(renewed).await {
            assert!(matches!(renewed.unwrap(), Renewed::InStep | Renewed::Later));
        }
        let rebuilds = || {
            replicas
                .iter()
                .map(|one| one.metrics().rebuilds.get())
                .sum::<u64>()
        };
        assert_eq!(rebuilds(), 1);
        let seen = scene
            .gate
            .inspect(id)
            .await
            .unwrap()
            .map(|state| state.epoch);
        for replica in &replicas {
            let renewed = replica.renew(id, seen, Patience::None).await.unwrap();
            assert_eq!(renewed, Renewed::Later);
        }
        assert_eq!(rebuilds(), 1);
        // A request of an admin does not wait.
        assert!(replicas[0].rebuild(id).await.unwrap() > seen);
        assert_eq!(rebuilds(), 2);
    }
}

#[tokio::test]
async fn the_lease_of_a_killed_rebuild_expires() {
    for test in stores().await {
        let scene = Scene::new(&test.store).await;
        let id = scene.campaign.id;
        let term = Duration::from_millis(300);
        let dies = Raise {
            term,
            ..Raise::default()
        };
        let raised = test.store.raise_epoch(id, &dies).await.unwrap();
        assert!(matches!(raised, Raised::To(_)));
        let underway = test.store.raise_epoch(id, &Raise::default()).await.unwrap();
        assert!(
            matches!(underway, Raised::Underway(left) if left <= term),
            "{underway:?}"
        );
        let seen = scene
            .gate
            .inspect(id)
            .await
            .unwrap()
            .map(|state| state.epoch);
        let renewed = scene.reconciler.renew(id, seen, Patience::Waits).await;
        assert_eq!(renewed.unwrap(), Renewed::InStep);
        let now = test.store.campaign(id).await.unwrap().unwrap();
        let state = scene.gate.inspect(id).await.unwrap().unwrap();
        assert_eq!(state.epoch, now.gate_epoch);
    }
}

/// A rebuild that began before a failover swaps its state in after it, in an epoch that the restored store has not
/// used yet: the next rebuild gets the same epoch.
#[tokio::test]
async fn a_gate_that_already_has_the_new_epoch_is_rebuilt_in_a_newer_one() {
    for test in stores().await {
        let scene = Scene::new(&test.store).await;
        let id = scene.campaign.id;
        let now = test.store.campaign(id).await.unwrap().unwrap();
        let next = now.gate_epoch + 1;
        let lost = firstcome::parts::gate::Settings {
            epoch: next,
            total_stock: Some(STOCK + 3),
            ..firstcome::parts::gate::Settings::from(&now)
        };
        let mark = firstcome::domain::Mark::default();
        let brought = scene.gate.rebuild(id, next, &lost, &[], mark).await;
        assert!(brought.unwrap());
        let renewed = scene
            .reconciler
            .renew(id, Some(next), Patience::Waits)
            .await;
        assert_eq!(renewed.unwrap(), Renewed::InStep);
        assert_eq!(scene.remaining().await, Some(STOCK));
        let now = test.store.campaign(id).await.unwrap().unwrap();
        assert!(now.gate_epoch > next);
    }
}
