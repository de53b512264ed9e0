//! The gate stays consistent with the store: it is rebuilt after a loss, swept, and compared.

use std::sync::Arc;
use std::time::Duration;

use firstcome::domain::{CampaignId, ParticipationId, Refusal, State, UserId};
use firstcome::parts::gate::{
    Admission, Configured, Entrant, Gate, GateError, GivenBack, Key, KeyDigest, KeyRefused, Mark,
    RedisConfig, Return, ScriptGate, Settings,
};
use firstcome::runtime::clock::Clock;
use firstcome::sale::reconcile::{Patience, Reconciler, Renewed};
use redis::AsyncTypedCommands;
use secrecy::ExposeSecret;

use crate::gate::{forget, redis_config, redis_connection};
use crate::groups::Groups;
use crate::proxy::{Mode, Proxy};
use crate::store::new_participation;
use crate::support::{campaign_of, create, move_to, spawner, sqlite, unique};

const LEASE: Duration = Duration::from_secs(3_600);

fn entrant(user: i64) -> Entrant {
    Entrant {
        participation: ParticipationId::generate(),
        user: UserId(user),
        quantity: 1,
        key: Key::None,
    }
}

async fn admit(gate: &dyn Gate, campaign: CampaignId, user: i64) -> Admission {
    let answers = gate.admit(campaign, &[entrant(user)], LEASE).await;
    answers.unwrap().remove(0)
}

#[tokio::test]
async fn a_gate_ahead_of_the_store_is_rebuilt_in_a_newer_epoch() {
    let test = sqlite().await;
    let campaign = create(&test.store, campaign_of(Some(5))).await;
    let gate = Arc::new(ScriptGate::in_process(Clock::System, "it").unwrap());
    // As after the store was restored to an earlier copy.
    let settings = Settings::from(&campaign);
    gate.rebuild(campaign.id, 40, &settings, &[], Mark::default())
        .await
        .unwrap();
    let reconciler = Reconciler::new(test.store.clone(), gate.clone(), spawner())
        .with_rebuild_interval(Duration::ZERO);
    let renewed = reconciler
        .renew(campaign.id, Some(40), Patience::Waits)
        .await
        .unwrap();
    assert_eq!(renewed, Renewed::InStep);
    let now = test.store.campaign(campaign.id).await.unwrap().unwrap();
    let state = gate.inspect(campaign.id).await.unwrap().unwrap();
    assert!(now.gate_epoch > 40);
    assert_eq!(state.epoch, now.gate_epoch);
}

#[tokio::test]
async fn the_sweep_rebuilds_a_gate_of_an_older_epoch() {
    let test = sqlite().await;
    let campaign = create(&test.store, campaign_of(Some(5))).await;
    let gate = Arc::new(ScriptGate::in_process(Clock::System, "it").unwrap());
    let reconciler = Reconciler::new(test.store.clone(), gate.clone(), spawner())
        .with_rebuild_interval(Duration::ZERO);
    reconciler.align().await.unwrap();
    crate::support::raised(&test.store, campaign.id).await;
    assert_eq!(reconciler.sweep().await.unwrap().rebuilt, 1);
    assert_eq!(reconciler.sweep().await.unwrap().rebuilt, 0);
    assert!(matches!(
        admit(gate.as_ref(), campaign.id, 1).await,
        Admission::Admitted(_)
    ));
}

/// Deletes a key of a campaign's state in Redis, and admits again.
async fn after_losing(name: &str) -> (Admission, u64) {
    let test = sqlite().await;
    let campaign = create(&test.store, campaign_of(Some(3))).await;
    let prefix = unique("reconcile");
    let gate = Arc::new(ScriptGate::redis(&redis_config(), &prefix).await.unwrap());
    let reconciler = Reconciler::new(test.store.clone(), gate.clone(), spawner())
        .with_rebuild_interval(Duration::ZERO);
    reconciler.align().await.unwrap();
    // One is committed, two are only admitted, by a process that died.
    let three = [entrant(1), entrant(2), entrant(3)];
    gate.admit(campaign.id, &three, LEASE).await.unwrap();
    let epoch = gate.inspect(campaign.id).await.unwrap().unwrap().epoch;
    let rows = [new_participation(&campaign, 1, 1, 1)];
    let store = &test.store;
    store
        .commit_participations(&campaign, epoch, &rows)
        .await
        .unwrap();
    let key = format!("{prefix}:{{campaign:{}}}:{name}", campaign.id);
    let mut connection = redis_connection().await;
    assert_eq!(connection.del(&key).await.unwrap(), 1, "{key}");
    let swept = reconciler.sweep().await.unwrap();
    assert_eq!(swept.rebuilt, 1, "without {name}");
    let remaining = gate.inspect(campaign.id).await.unwrap().unwrap().remaining;
    let again = admit(gate.as_ref(), campaign.id, 2).await;
    forget(&prefix).await;
    (again, remaining.unwrap())
}

#[tokio::test]
async fn a_gate_that_loses_any_part_of_its_state_loses_no_unit() {
    for name in ["state", "users", "leases"] {
        let (again, remaining) = after_losing(name).await;
        assert_eq!(remaining, 2, "without {name}");
        assert!(matches!(again, Admission::Admitted(_)), "without {name}");
    }
}

/// Every script must find the state missing.
async fn is_missing(gate: &ScriptGate, campaign: CampaignId, settings: &Settings) {
    assert_eq!(admit(gate, campaign, 1).await, Admission::Missing);
    assert_eq!(gate.inspect(campaign).await.unwrap(), None);
    let configured = gate.configure(campaign, settings).await.unwrap();
    assert_eq!(configured, Configured::Missing);
    let key = KeyDigest::of(UserId(1), "a key");
    let refused = gate.refuse_key(campaign, key, Duration::ZERO, LEASE).await;
    assert_eq!(refused.unwrap(), KeyRefused::Missing);
    let owners = [gate.owner().to_owned()];
    let leases = gate.leases_of(campaign, &owners, u64::MAX, 10).await;
    assert_eq!(leases.unwrap(), []);
    assert!(!gate.advance(campaign, 99, 100, &[]).await.unwrap());
    let given_back = [Return {
        number: 1,
        participation: ParticipationId::generate(),
        user: UserId(1),
        quantity: 1,
    }];
    let returned = gate.give_back(campaign, 1, &given_back).await.unwrap();
    assert_eq!(returned, GivenBack::Behind);
}

#[tokio::test]
async fn state_of_another_run_or_history_counts_as_missing_and_is_replaced() {
    let test = sqlite().await;
    let campaign = create(&test.store, campaign_of(Some(3))).await;
    let prefix = unique("run");
    let gate = Arc::new(ScriptGate::redis(&redis_config(), &prefix).await.unwrap());
    let reconciler = Reconciler::new(test.store.clone(), gate.clone(), spawner())
        .with_rebuild_interval(Duration::ZERO);
    reconciler.align().await.unwrap();
    let state = format!("{prefix}:{{campaign:{}}}:state", campaign.id);
    let mut connection = redis_connection().await;
    let other = "0".repeat(40);
    for (field, other, length) in [
        ("run", other.clone(), 40),
        ("history", format!("master_replid:{other}"), 54),
    ] {
        let before = connection.hget(&state, field).await.unwrap();
        assert_eq!(before.as_ref().map(String::len), Some(length), "{field}");
        // As from a file of an earlier run, or from another server: with a plausible epoch, and no units taken.
        connection
            .hset_multiple(&state, &[(field, other.as_str()), ("epoch", "99")])
            .await
            .unwrap();
        let now = test.store.campaign(campaign.id).await.unwrap().unwrap();
        is_missing(&gate, campaign.id, &Settings::from(&now)).await;
        let renewed = reconciler.renew(campaign.id, None, Patience::Waits).await;
        assert_eq!(renewed.unwrap(), Renewed::InStep);
        let user = i64::try_from(length).unwrap();
        assert!(matches!(
            admit(gate.as_ref(), campaign.id, user).await,
            Admission::Admitted(_)
        ));
        assert_eq!(connection.hget(&state, field).await.unwrap(), before);
    }
    forget(&prefix).await;
}

/// Until the settings of a campaign are written for the first time, its state may be that of an older release.
#[tokio::test]
async fn state_of_an_older_release_gets_the_history_of_its_server() {
    let test = sqlite().await;
    let campaign = create(&test.store, campaign_of(Some(3))).await;
    let prefix = unique("older");
    let gate = Arc::new(ScriptGate::redis(&redis_config(), &prefix).await.unwrap());
    let reconciler = Reconciler::new(test.store.clone(), gate.clone(), spawner());
    reconciler.align().await.unwrap();
    let state = format!("{prefix}:{{campaign:{}}}:state", campaign.id);
    let mut connection = redis_connection().await;
    let history = connection.hget(&state, "history").await.unwrap();
    connection.hdel(&state, "history").await.unwrap();
    assert!(matches!(
        admit(gate.as_ref(), campaign.id, 1).await,
        Admission::Admitted(_)
    ));
    reconciler.align().await.unwrap();
    assert_eq!(connection.hget(&state, "history").await.unwrap(), history);
    forget(&prefix).await;
}

/// Redis has restarted with its file. A rebuild reads the campaign, then the campaign is closed, and the rebuild ends.
#[tokio::test]
async fn a_rebuild_of_another_runs_state_does_not_open_what_is_over() {
    let test = sqlite().await;
    let campaign = create(&test.store, campaign_of(Some(3))).await;
    let open = Settings::from(&campaign);
    let closed = Settings {
        version: open.version + 1,
        state: State::Closed,
        ..open
    };
    let id = campaign.id;
    let prefix = unique("over");
    let gate = ScriptGate::redis(&redis_config(), &prefix).await.unwrap();
    let rebuild = async |epoch| {
        let rebuilt = gate.rebuild(id, epoch, &open, &[], Mark::default()).await;
        assert!(rebuilt.unwrap());
    };
    rebuild(5).await;
    let state = format!("{prefix}:{{campaign:{id}}}:state");
    let mut connection = redis_connection().await;
    connection
        .hset(&state, "run", "0".repeat(40))
        .await
        .unwrap();

    let configured = gate.configure(id, &closed).await.unwrap();
    assert_eq!(configured, Configured::Applied);
    assert_eq!(gate.inspect(id).await.unwrap(), None);
    rebuild(2).await;
    let refused = Admission::Refused {
        refusal: Refusal::Ended,
        remaining: Some(3),
    };
    assert_eq!(admit(&gate, id, 1).await, refused);
    forget(&prefix).await;
}

#[tokio::test]
async fn a_gate_that_does_not_answer_is_not_called_until_a_probe_succeeds() {
    let real = redis_config();
    let url = real.url.as_ref().unwrap().expose_secret().to_owned();
    let address = url.trim_start_matches("redis://").trim_end_matches('/');
    let proxy = Proxy::start(address.parse().unwrap()).await;
    let through = RedisConfig {
        url: Some(url.replace(address, &proxy.address.to_string()).into()),
        response_timeout: Duration::from_millis(300),
        ..real
    };
    let prefix = unique("guarded");
    let gate = ScriptGate::redis(&through, &prefix).await.unwrap();
    let gate = gate.with_breaker();
    assert!(gate.inspect(CampaignId(1)).await.is_ok());
    proxy.set(Mode::Swallow);
    let error = gate.inspect(CampaignId(1)).await.unwrap_err();
    assert!(matches!(error, GateError::Unavailable(_)), "{error:?}");
    assert!(gate.is_away());
    let error = gate.inspect(CampaignId(1)).await.unwrap_err();
    assert!(matches!(error, GateError::Away), "{error:?}");
    proxy.set(Mode::Pass);
    gate.until_back(Duration::from_millis(20)).await;
    assert!(!gate.is_away());
    assert!(gate.inspect(CampaignId(1)).await.is_ok());
    assert_eq!(gate.outages(), 1);
    forget(&prefix).await;
}

/// As behind a proxy that has lost the server: the bytes are acknowledged, and there is no response.
#[tokio::test]
async fn a_connection_that_takes_everything_and_answers_nothing_is_replaced() {
    let real = redis_config();
    let url = real.url.as_ref().unwrap().expose_secret().to_owned();
    let address = url.trim_start_matches("redis://").trim_end_matches('/');
    let proxy = Proxy::start(address.parse().unwrap()).await;
    let through = RedisConfig {
        url: Some(url.replace(address, &proxy.address.to_string()).into()),
        response_timeout: Duration::from_millis(300),
        ..real
    };
    let prefix = unique("silent");
    let gate = ScriptGate::redis(&through, &prefix).await.unwrap();
    let gate = gate.with_breaker();
    assert!(gate.inspect(CampaignId(1)).await.is_ok());
    proxy.silence();
    gate.inspect(CampaignId(1)).await.unwrap_err();
    assert!(gate.is_away());
    let back = gate.until_back(Duration::from_millis(20));
    let back = tokio::time::timeout(Duration::from_secs(30), back).await;
    back.expect("the gate is back by a new connection");
    assert!(gate.inspect(CampaignId(1)).await.is_ok());
    forget(&prefix).await;
}

/// A field of one campaign's state is not a number, so it cannot be read.
#[tokio::test]
async fn a_campaign_with_a_corrupt_gate_does_not_keep_the_sweep_from_others() {
    let test = sqlite().await;
    let store = &test.store;
    let prefix = unique("corrupt");
    let gate = Arc::new(ScriptGate::redis(&redis_config(), &prefix).await.unwrap());
    let reconciler = Reconciler::new(store.clone(), gate.clone(), spawner())
        .with_rebuild_interval(Duration::ZERO);
    let mut campaigns = Vec::new();
    for _ in 0..4 {
        campaigns.push(create(store, campaign_of(Some(3))).await);
    }
    reconciler.align().await.unwrap();
    let [first, corrupt, last, over] = &campaigns[..] else {
        panic!("{campaigns:?}");
    };
    let state = format!("{prefix}:{{campaign:{}}}:state", corrupt.id);
    let mut connection = redis_connection().await;
    connection.hset(&state, "units", "x").await.unwrap();
    let error = gate.inspect(corrupt.id).await.unwrap_err();
    assert!(matches!(error, GateError::Protocol(_)), "{error:?}");

    // On both sides of it, in the order of the sweep.
    for campaign in [first, last] {
        move_to(store, campaign, State::Paused).await;
    }
    move_to(store, over, State::Closed).await;
    let swept = reconciler.sweep().await.unwrap();
    assert_eq!((swept.configured, swept.over), (2, 1));
    for campaign in [first, last] {
        let state = gate.inspect(campaign.id).await.unwrap().unwrap();
        assert_eq!(state.settings.state, State::Paused);
    }
    let aligned = reconciler.align().await.unwrap();
    assert_eq!((aligned.campaigns, aligned.failed), (3, 1));
    forget(&prefix).await;
}

/// As with a slot of a cluster that no server has: calls about one campaign open the breaker, and the others are away
/// until a probe succeeds.
#[tokio::test]
async fn a_campaign_whose_gate_does_not_answer_is_aligned_after_the_others() {
    let test = sqlite().await;
    let prefix = unique("unserved");
    let mut campaigns = Vec::new();
    for _ in 0..3 {
        campaigns.push(create(&test.store, campaign_of(Some(3))).await);
    }
    // Newest first: without the rule it stops each alignment before the others.
    let [one, other, unserved] = &campaigns[..] else {
        panic!("{campaigns:?}");
    };
    // Redis lets this user use the keys of the other two campaigns only.
    let mut user = redis::cmd("ACL");
    user.arg("SETUSER").arg(&prefix).arg("reset").arg("on");
    user.arg(">secret").arg("+@all").arg("&*");
    user.arg(format!("~{prefix}:ping"));
    for campaign in [one, other] {
        user.arg(format!("~{prefix}:{{campaign:{}}}:*", campaign.id));
    }
    let mut connection = redis_connection().await;
    user.exec_async(&mut connection).await.unwrap();
    let real = redis_config();
    let url = real.url.as_ref().unwrap().expose_secret().to_owned();
    let (_, address) = url.split_once("://").unwrap();
    let address = address
        .rsplit_once('@')
        .map_or(address, |(_, address)| address);
    let config = RedisConfig {
        url: Some(format!("redis://{prefix}:secret@{address}").into()),
        ..real
    };
    let gate = ScriptGate::redis(&config, &prefix).await.unwrap();
    let gate = Arc::new(gate.with_breaker());
    let reconciler = Reconciler::new(test.store.clone(), gate.clone(), spawner())
        .with_rebuild_interval(Duration::ZERO);

    let stopped = reconciler.align().await;
    assert!(stopped.is_err() && gate.is_away(), "{stopped:?}");
    gate.until_back(Duration::from_millis(20)).await;
    let aligned = reconciler.align().await.unwrap();
    assert_eq!((aligned.campaigns, aligned.failed), (3, 1));
    gate.until_back(Duration::from_millis(20)).await;
    for campaign in [one, other] {
        assert!(gate.inspect(campaign.id).await.unwrap().is_some());
    }
    assert!(gate.inspect(unserved.id).await.is_err());
    let mut remove = redis::cmd("ACL");
    remove.arg("DELUSER").arg(&prefix);
    remove.exec_async(&mut connection).await.unwrap();
    forget(&prefix).await;
}
