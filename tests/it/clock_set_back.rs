//! The database's clock is set back, by an administrator or a failover: times written before are far in the
//! future. The service does not wait for them.

use std::sync::Arc;
use std::time::Duration;

use firstcome::domain::{Campaign, ParticipationId, UserId};
use firstcome::parts::gate::{
    Admission, Entrant, Gate, Key, KeyDigest, Mark, ScriptGate, Settings,
};
use firstcome::parts::store::{Decision, ParkedState, Targets, Term};
use firstcome::runtime::clock::Clock;
use firstcome::sale::reconcile::{Patience, Reconciler, Renewed};
use redis::AsyncCommands;
use tokio::time::timeout;

use crate::direct::{applicant, ask, decide, keyed};
use crate::gate::{forget, redis_config, redis_connection};
use crate::store::new_participation;
use crate::support::{
    TestStore, campaign_of, create, park, sell, spawner, sqlite, stores, unique, until,
};
use crate::verify::{run, vandal};

/// Longer than any intended wait.
const SET_BACK: Duration = Duration::from_secs(3_600);
/// Shorter than the pause between rebuilds in these tests.
const AT_ONCE: Duration = Duration::from_secs(4);
const HELD: Duration = Duration::from_secs(60);

struct Scene {
    campaign: Campaign,
    gate: Arc<ScriptGate>,
    reconciler: Reconciler,
}

impl Scene {
    async fn new(test: &TestStore) -> Self {
        let campaign = create(&test.store, campaign_of(Some(5))).await;
        let gate = ScriptGate::in_process(Clock::System, &unique("back")).unwrap();
        let gate = Arc::new(gate);
        let reconciler = Reconciler::new(test.store.clone(), gate.clone(), spawner());
        Self {
            campaign,
            gate,
            reconciler,
        }
    }

    /// While this lasts, another replica seems to rebuild the campaign's gate.
    async fn hold(&self, test: &TestStore, term: Duration) {
        let epoch = test.store.campaign(self.campaign.id).await;
        let epoch = epoch.unwrap().unwrap().gate_epoch;
        let held = test.store.hold_rebuild(self.campaign.id, epoch, term).await;
        assert!(held.unwrap());
    }

    /// A replica with a long pause between two rebuilds, which also accepts such pauses of others.
    fn slow_replica(&self, test: &TestStore) -> Reconciler {
        Reconciler::new(test.store.clone(), self.gate.clone(), spawner())
            .with_rebuild_interval(HELD)
    }
}

/// The time this long from now, as the test's database stores it.
async fn stored_time(test: &TestStore, ahead: Duration) -> String {
    let at = test.store.time().await.unwrap() + ahead;
    // SQLite compares times as texts.
    let format = if test.store.is_embedded() {
        "%Y-%m-%dT%H:%M:%S%.6f+00:00"
    } else {
        "%Y-%m-%d %H:%M:%S%.6f"
    };
    at.format(format).to_string()
}

/// Writes a time as it was written before the clock was set back.
async fn write(test: &TestStore, campaign: &Campaign, column: &str) {
    let at = stored_time(test, SET_BACK).await;
    let sql = format!(
        "UPDATE campaign SET {column} = '{at}' WHERE id = {}",
        campaign.id
    );
    run(&vandal(test).await, &sql).await;
}

#[tokio::test]
async fn a_finished_rebuild_does_not_block_the_next_one() {
    for test in stores().await {
        let scene = Scene::new(&test).await;
        write(&test, &scene.campaign, "gate_rebuild_until").await;
        let renewed = scene
            .reconciler
            .renew(scene.campaign.id, None, Patience::Waits);
        let renewed = timeout(HELD / 4, renewed).await.expect("it waits");
        assert_eq!(renewed.unwrap(), Renewed::InStep);
        let state = scene.gate.inspect(scene.campaign.id).await.unwrap();
        assert!(state.is_some());
    }
}

#[tokio::test]
async fn a_gate_closed_earlier_is_opened() {
    for test in stores().await {
        let scene = Scene::new(&test).await;
        ask(&test.store, &scene.campaign, &[applicant(1, 1)]).await;
        write(&test, &scene.campaign, "gate_closed_until").await;
        let renewed = scene.reconciler.reopen(scene.campaign.id).await;
        assert_eq!(renewed.unwrap(), Renewed::InStep);
        assert!(!scene.reconciler.is_closed(scene.campaign.id));
    }
}

#[tokio::test]
async fn on_the_database_path_only_keys_under_way_get_503() {
    for test in stores().await {
        let scene = Scene::new(&test).await;
        ask(&test.store, &scene.campaign, &[applicant(1, 1)]).await;
        write(&test, &scene.campaign, "loosened_at").await;
        // It is unknown whether it came before units became available.
        let decision = decide(&test.store, &scene.campaign, &keyed(2)).await;
        assert!(matches!(decision, Decision::Outstanding), "{decision:?}");
        let decision = decide(&test.store, &scene.campaign, &keyed(2)).await;
        assert!(matches!(decision, Decision::Accepted(_)), "{decision:?}");
    }
}

#[tokio::test]
async fn an_admins_rebuild_does_not_wait_for_other_callers() {
    let test = sqlite().await;
    let scene = Scene::new(&test).await;
    scene.hold(&test, HELD).await;
    let replica = scene.slow_replica(&test);
    let waits = {
        let (replica, id) = (replica.clone(), scene.campaign.id);
        tokio::spawn(async move { replica.renew(id, None, Patience::Waits).await })
    };
    let deferred = || replica.metrics().deferred.get();
    until("one waits", async || deferred() > 0).await;
    let rebuilt = timeout(AT_ONCE, replica.rebuild(scene.campaign.id)).await;
    let rebuilt = rebuilt.expect("it waits with the others").unwrap();
    assert!(rebuilt.is_some());
    assert_eq!(waits.await.unwrap().unwrap(), Renewed::InStep);
}

#[tokio::test]
async fn a_request_that_waits_too_long_for_a_rebuild_gets_503() {
    let test = sqlite().await;
    let scene = Scene::new(&test).await;
    scene.hold(&test, HELD).await;
    let replica = scene.slow_replica(&test);
    let renew = || replica.renew(scene.campaign.id, None, Patience::Waits);
    // The second one waits for the first.
    let both = futures_util::future::join(renew(), renew());
    let (first, second) = timeout(HELD / 2, both).await.expect("they wait");
    assert_eq!(first.unwrap(), Renewed::Later);
    assert_eq!(second.unwrap(), Renewed::Later);
}

#[tokio::test]
async fn a_campaign_rebuilt_elsewhere_does_not_delay_the_alignment_of_others() {
    let test = sqlite().await;
    let scene = Scene::new(&test).await;
    let other = create(&test.store, campaign_of(Some(5))).await;
    let replica = scene.slow_replica(&test);
    // Newest first: the reservation is listed before the other one.
    let (held, free) = (other, &scene.campaign);
    let held_epoch = held.gate_epoch;
    let answer = test.store.hold_rebuild(held.id, held_epoch, HELD).await;
    assert!(answer.unwrap());
    let aligned = timeout(AT_ONCE, replica.align()).await.expect("it waits");
    assert_eq!(aligned.unwrap().campaigns, 2);
    assert!(scene.gate.inspect(free.id).await.unwrap().is_some());
    assert!(scene.gate.inspect(held.id).await.unwrap().is_none());
}

#[tokio::test]
async fn an_event_parked_before_is_due_at_once() {
    for test in stores().await {
        let campaign = create(&test.store, campaign_of(Some(5))).await;
        let batch = (1..=2).map(|nth| new_participation(&campaign, nth, nth.unsigned_abs(), 1));
        let sold = sell(&test.store, &campaign, batch.collect()).await;
        let (before, since) = (&sold[0].event, &sold[1].event);
        park(&test.store, before, ParkedState::Waiting, Some(SET_BACK)).await;
        park(&test.store, since, ParkedState::Waiting, Some(AT_ONCE)).await;
        let at_most = (10, HELD);
        let buckets = [campaign.id.bucket()];
        let all = Targets::ALL;
        let due = test
            .store
            .parked_due(ParkedState::Waiting, &buckets, &all, at_most)
            .await;
        let due = due.unwrap().parked;
        let due: Vec<_> = due.iter().map(|parked| parked.event.id).collect();
        assert_eq!(due, [before.id], "{}", test.url);
    }
}

/// Its owner may have died: nobody would do the task for the length of the step.
#[tokio::test]
async fn a_task_lease_taken_before_is_over_unless_its_term_is_not_fixed() {
    for test in stores().await {
        let store = &test.store;
        let take = async |owner: &str| {
            let taken = store
                .take_task_lease("a task", owner, Term::Fixed(HELD))
                .await;
            taken.unwrap()
        };
        let ends_in = async |ahead: Duration| {
            let at = stored_time(&test, ahead).await;
            let sql = format!("UPDATE duty SET expires_at = '{at}' WHERE name = 'a task'");
            run(&vandal(&test).await, &sql).await;
        };
        assert!(take("one").await);
        ends_in(HELD.saturating_sub(AT_ONCE)).await;
        assert!(!take("other").await, "{}", test.url);
        ends_in(SET_BACK).await;
        assert!(take("other").await, "{}", test.url);
        assert!(!take("one").await, "{}", test.url);
        // The lease of a retention lasts until its next sweep.
        ends_in(SET_BACK).await;
        let taken = store
            .take_task_lease("a task", "one", Term::Varying(HELD))
            .await;
        assert!(!taken.unwrap(), "{}", test.url);
    }
}

/// The same for Redis' clock: the keys that a gate knows begin at the time of its rebuild.
#[tokio::test]
async fn after_the_clock_of_redis_was_set_back_keys_are_undecided_only_once() {
    let test = sqlite().await;
    let scene = Scene::new(&test).await;
    let prefix = unique("back");
    let gate = ScriptGate::redis(&redis_config(), &prefix).await.unwrap();
    let (id, settings) = (scene.campaign.id, Settings::from(&scene.campaign));
    let rebuilt = gate.rebuild(id, 2, &settings, &[], Mark::default()).await;
    assert!(rebuilt.unwrap());
    let mut redis = redis_connection().await;
    let state = format!("{prefix}:{{campaign:{id}}}:state");
    let since: i64 = redis.hget(&state, "keys_since_us").await.unwrap();
    let ahead = since + i64::try_from(SET_BACK.as_micros()).unwrap();
    let set: usize = redis.hset(&state, "keys_since_us", ahead).await.unwrap();
    assert_eq!(set, 0);
    let user = UserId(1);
    let entrant = Entrant {
        participation: ParticipationId::generate(),
        user,
        quantity: 1,
        key: Key::Decide(KeyDigest::of(user, "a key")),
    };
    let admitted = gate.admit(id, &[entrant], HELD).await.unwrap().remove(0);
    let Admission::Admitted(ticket) = admitted else {
        panic!("{admitted:?}");
    };
    assert_eq!(ticket.not_refused_for, Some(Duration::ZERO));
    let since: i64 = redis.hget(&state, "keys_since_us").await.unwrap();
    assert!(since < ahead, "{since}");
    forget(&prefix).await;
}
