//! The gate stays consistent with the store: it is rebuilt after a loss, swept, and compared.

use std::sync::Arc;
use std::time::Duration;

use firstcome::domain::{CampaignId, ParticipationId, UserId};
use firstcome::parts::gate::{
    Admission, Entrant, Gate, GateError, Key, Mark, RedisConfig, ScriptGate, Settings,
};
use firstcome::runtime::clock::Clock;
use firstcome::sale::reconcile::{Patience, Reconciler, Renewed};
use redis::AsyncTypedCommands;
use secrecy::ExposeSecret;

use crate::gate::{forget, redis_config, redis_connection};
use crate::groups::Groups;
use crate::proxy::{Mode, Proxy};
use crate::store::new_participation;
use crate::support::{campaign_of, create, spawner, sqlite, unique};

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

#[tokio::test]
async fn state_of_another_run_of_redis_counts_as_missing_and_is_replaced() {
    let test = sqlite().await;
    let campaign = create(&test.store, campaign_of(Some(3))).await;
    let prefix = unique("run");
    let gate = Arc::new(ScriptGate::redis(&redis_config(), &prefix).await.unwrap());
    let reconciler = Reconciler::new(test.store.clone(), gate.clone(), spawner())
        .with_rebuild_interval(Duration::ZERO);
    reconciler.align().await.unwrap();
    let state = format!("{prefix}:{{campaign:{}}}:state", campaign.id);
    let mut connection = redis_connection().await;
    let run = connection.hget(&state, "run").await.unwrap();
    assert_eq!(run.as_ref().map(String::len), Some(40));
    // As from a file of an earlier run: with a plausible epoch, and no units taken.
    let other = "0".repeat(40);
    connection
        .hset_multiple(&state, &[("run", other.as_str()), ("epoch", "99")])
        .await
        .unwrap();
    assert_eq!(
        admit(gate.as_ref(), campaign.id, 1).await,
        Admission::Missing
    );
    assert_eq!(gate.inspect(campaign.id).await.unwrap(), None);
    let renewed = reconciler
        .renew(campaign.id, None, Patience::Waits)
        .await
        .unwrap();
    assert_eq!(renewed, Renewed::InStep);
    assert!(matches!(
        admit(gate.as_ref(), campaign.id, 1).await,
        Admission::Admitted(_)
    ));
    assert_eq!(connection.hget(&state, "run").await.unwrap(), run);
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
