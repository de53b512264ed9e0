//! A Redis that is promoted again does not use what it has copied meanwhile.

use std::sync::Arc;
use std::time::Duration;

use firstcome::domain::{CampaignId, ParticipationId, UserId};
use firstcome::parts::gate::{Admission, Entrant, Gate, Key, RedisConfig, ScriptGate};
use firstcome::sale::reconcile::{Patience, Reconciler, Renewed};

use crate::gate::redis_config;
use crate::spare::Spare;
use crate::support::{campaign_of, create, spawner, sqlite, until};

const LEASE: Duration = Duration::from_secs(3_600);

async fn command(server: &Spare, words: &[&str]) -> String {
    let client = redis::Client::open(format!("redis://{}", server.address)).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    command.query_async(&mut connection).await.unwrap()
}

async fn replicate(replica: &Spare, primary: &Spare) {
    let (host, port) = primary.address.split_once(':').unwrap();
    command(replica, &["REPLICAOF", host, port]).await;
    until("the replica has the data", async || {
        let info = command(replica, &["INFO", "replication"]).await;
        info.contains("master_link_status:up")
    })
    .await;
}

async fn promote(server: &Spare) {
    command(server, &["REPLICAOF", "NO", "ONE"]).await;
}

async fn gate_at(server: &Spare) -> Arc<ScriptGate> {
    let config = RedisConfig {
        url: Some(format!("redis://{}", server.address).into()),
        ..redis_config()
    };
    Arc::new(ScriptGate::redis(&config, "promotion").await.unwrap())
}

async fn admit(gate: &ScriptGate, campaign: CampaignId, user: i64) -> Admission {
    let entrant = Entrant {
        participation: ParticipationId::generate(),
        user: UserId(user),
        quantity: 1,
        key: Key::None,
    };
    let answers = gate.admit(campaign, &[entrant], LEASE).await;
    answers.unwrap().remove(0)
}

/// The replica that is promoted lacks an admission. Its data go to the first server, whose process has never ended.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_promoted_again_counts_the_state_that_it_copied_as_missing() {
    let (first, second) = tokio::join!(
        Spare::up("redis", "promotion-a", &[]),
        Spare::up("redis", "promotion-b", &[])
    );
    replicate(&second, &first).await;
    let test = sqlite().await;
    let campaign = create(&test.store, campaign_of(Some(3))).await;
    let gate = gate_at(&first).await;
    let reconciler = Reconciler::new(test.store.clone(), gate.clone(), spawner());
    reconciler.align().await.unwrap();
    let state = format!("promotion:{{campaign:{}}}:state", campaign.id);
    let run = command(&first, &["HGET", &state, "run"]).await;
    until("the replica has the state", async || {
        command(&second, &["EXISTS", &state]).await == "1"
    })
    .await;
    promote(&second).await;
    let admitted = admit(&gate, campaign.id, 1).await;
    assert!(matches!(admitted, Admission::Admitted(_)), "{admitted:?}");

    replicate(&first, &second).await;
    promote(&first).await;
    // By its run, the state is that of this server.
    let info = command(&first, &["INFO", "server"]).await;
    assert!(info.contains(&run));
    assert_eq!(command(&first, &["HGET", &state, "run"]).await, run);
    let gate = gate_at(&first).await;
    assert_eq!(admit(&gate, campaign.id, 2).await, Admission::Missing);
    assert_eq!(gate.inspect(campaign.id).await.unwrap(), None);
    let reconciler = Reconciler::new(test.store.clone(), gate.clone(), spawner())
        .with_rebuild_interval(Duration::ZERO);
    let renewed = reconciler.renew(campaign.id, None, Patience::Waits).await;
    assert_eq!(renewed.unwrap(), Renewed::InStep);
    let admitted = admit(&gate, campaign.id, 2).await;
    assert!(matches!(admitted, Admission::Admitted(_)), "{admitted:?}");
}
