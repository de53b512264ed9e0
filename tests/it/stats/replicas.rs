//! Several replicas on MySQL: one aggregates at a time, and one that dies or loses its lease does not block the
//! others.

use std::time::Duration;

use firstcome::domain::Day;
use firstcome::operate::statistics::AggregateError;
use firstcome::parts::store::{Redo, RunState, Store, StoreConfig};
use firstcome::runtime::clock::Clock;
use futures_util::future::join_all;
use sea_orm::{ConnectionTrait, DatabaseTransaction, TransactionTrait};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::scene::{Replica, Sql, campaigns_with_one, day, now, settings};
use crate::service::process::{ADMIN_TOKEN, Service, body};
use crate::service::real::parts;
use crate::support::{TestStore, mysql, until};

async fn another(test: &TestStore) -> Store {
    let config = StoreConfig::new(test.url.as_str());
    Store::connect(&config, Clock::System).await.unwrap()
}

/// Blocks writes of this campaign's existing row of a day, until it is dropped.
async fn hold_back(sql: &Sql, day: Day, campaign: i64) -> DatabaseTransaction {
    sql.run(&format!(
        "INSERT IGNORE INTO daily_stat (zone, day, campaign_id, reserved, confirmed, cancelled, expired, \
         units, units_standing, refused, refusals, hours, run_id) \
         VALUES ('{}', '{}', {campaign}, 0, 0, 0, 0, 0, 0, 0, '{{}}', '[]', 0)",
        day.zone, day.date
    ))
    .await;
    let tx = sql.connection().begin().await.unwrap();
    // By the whole key: the adjacent rows stay unlocked.
    let lock = format!(
        "SELECT 1 FROM daily_stat WHERE zone = '{}' AND day = '{}' AND campaign_id = {campaign} FOR UPDATE",
        day.zone, day.date
    );
    tx.execute_unprepared(&lock).await.unwrap();
    tx
}

#[tokio::test]
async fn while_one_run_is_under_way_others_get_its_id() {
    let test = mysql().await;
    let day = day("2026-11-18", "UTC");
    let campaigns = campaigns_with_one(&test.store, day, 2).await;
    let sql = Sql::of(&test.url).await;
    let held = hold_back(&sql, day, campaigns[0].id.0).await;
    let one = Replica::of(&test.store, settings("UTC"));
    let other = Replica::of(&another(&test).await, settings("UTC"));
    let run = one.begin(day, Redo::No).await.unwrap();
    for (asked, redo) in [(day, Redo::No), (day, Redo::Yes), (day.minus(1), Redo::No)] {
        let refused = other.begin(asked, redo).await;
        let Err(AggregateError::Running(running)) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!((running.id, running.state), (run.id, RunState::Started));
    }
    held.rollback().await.unwrap();
    assert_eq!(one.ended(&run).await.state, RunState::Completed);
    let after = other.aggregate(day.minus(1), Redo::No).await;
    assert_eq!(after.state, RunState::Completed);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_concurrent_runs_aggregates_each_day() {
    let test = mysql().await;
    let yesterday = Day::of(now(), firstcome::domain::Zone::UTC).minus(1);
    let campaigns = campaigns_with_one(&test.store, yesterday, 3).await;
    let sql = Sql::of(&test.url).await;
    let long_ago = sea_orm::Value::from(yesterday.minus(50).start());
    sql.with("UPDATE campaign SET created_at = ?", [long_ago])
        .await;
    let mut replicas = Vec::new();
    for _ in 0..4 {
        replicas.push(Replica::of(&another(&test).await, settings("UTC")));
    }
    let racing = replicas.iter().map(async |replica| {
        until("all days are done", async || {
            let stop = CancellationToken::new();
            match replica.aggregator.catch_up(&stop).await {
                Ok(()) => true,
                Err(AggregateError::Running(_) | AggregateError::Busy) => false,
                Err(AggregateError::Store(error)) if error.is_rolled_back() => false,
                Err(error) => panic!("{error}"),
            }
        })
        .await;
    });
    join_all(racing).await;
    let runs = replicas[0].aggregator.runs(None, 100).await.unwrap();
    assert!(
        runs.iter().all(|run| run.state == RunState::Completed),
        "{runs:?}"
    );
    let mut days: Vec<_> = runs.iter().map(|run| run.day.date).collect();
    days.sort_unstable();
    let expected: Vec<_> = (0..7).rev().map(|ago| yesterday.minus(ago).date).collect();
    assert_eq!(days, expected, "each once");
    let daily = replicas[3]
        .aggregator
        .daily(yesterday.date, None)
        .await
        .unwrap();
    assert_eq!(daily.campaigns.len(), campaigns.len());
}

#[tokio::test]
async fn a_run_that_lost_its_lease_writes_nothing() {
    let test = mysql().await;
    let day = day("2026-11-18", "UTC");
    let campaigns = campaigns_with_one(&test.store, day, 2).await;
    let sql = Sql::of(&test.url).await;
    let held = [
        hold_back(&sql, day, campaigns[0].id.0).await,
        hold_back(&sql, day, campaigns[1].id.0).await,
    ];
    let replica = Replica::of(&test.store, settings("UTC"));
    let run = replica.begin(day, Redo::No).await.unwrap();
    until("the day is read", async || {
        let found = replica.aggregator.run(run.id).await.unwrap().unwrap();
        found.progress.percent == 100
    })
    .await;
    sql.run("UPDATE duty SET owner = 'somebody else' WHERE name = 'aggregation'")
        .await;
    for held in held {
        held.rollback().await.unwrap();
    }
    until("it has noticed", async || {
        encoded(&replica).contains("runs_total{result=\"failed\"} 1")
    })
    .await;
    let written = "SELECT COUNT(*) FROM daily_stat WHERE run_id > 0";
    assert_eq!(sql.number(written).await, 0);
    assert_eq!(sql.number("SELECT COUNT(*) FROM daily_day").await, 0);
    let found = replica.aggregator.run(run.id).await.unwrap().unwrap();
    assert_eq!(
        (found.state, found.error.as_deref()),
        (RunState::Failed, Some("ABANDONED"))
    );
}

fn encoded(replica: &Replica) -> String {
    let mut registry = prometheus_client::registry::Registry::default();
    replica.metrics.register(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    text
}

async fn status(service: &Service, id: &Value) -> Value {
    let path = format!("/api/admin/batch/status/{id}");
    let asked = service.get(&path).bearer_auth(ADMIN_TOKEN);
    body(asked.send().await.unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_of_a_killed_replica_is_abandoned_and_its_day_is_run_again() {
    let mut parts = parts().await;
    for (name, value) in [
        ("FIRSTCOME_AGGREGATION_ENABLED", "false"),
        ("FIRSTCOME_AGGREGATION_LEASE", "3s"),
    ] {
        parts.settings.push((name, value.to_owned()));
    }
    let folder = TempDir::new().unwrap();
    // Before a service starts and raises the epochs of their gates.
    let yesterday = Day::of(Clock::System.now(), firstcome::domain::Zone::UTC).minus(1);
    let campaigns = campaigns_with_one(&parts.test.store, yesterday, 2).await;
    let mut first = Service::start(&folder, parts.settings()).await;
    let second = Service::start(&folder, parts.settings()).await;
    let sql = Sql::of(&parts.test.url).await;
    let held = hold_back(&sql, yesterday, campaigns[1].id.0).await;

    let begun = first.admin("/batch/aggregate").send().await.unwrap();
    assert_eq!(begun.status(), 202);
    let location = begun.headers()["location"].clone();
    let begun = body(begun).await;
    let id = begun["jobExecutionId"].clone();
    assert_eq!(location, format!("/api/admin/batch/status/{id}"));
    assert_eq!(
        (&begun["status"], &begun["cause"]),
        (&json!("STARTED"), &json!("admin"))
    );
    until("the first campaign is written", async || {
        status(&second, &id).await["progress"]["campaignsDone"] == json!(1)
    })
    .await;
    let refused = second.admin("/batch/aggregate").send().await.unwrap();
    assert_eq!(refused.status(), 409);
    let refused = body(refused).await;
    assert_eq!(
        (&refused["code"], &refused["jobExecutionId"]),
        (&json!("AGGREGATION_RUNNING"), &id)
    );

    first.kill();
    held.rollback().await.unwrap();
    until("the turn has run out", async || {
        status(&second, &id).await["status"] == json!("FAILED")
    })
    .await;
    assert_eq!(status(&second, &id).await["error"], json!("ABANDONED"));
    let again = second.admin("/batch/aggregate").send().await.unwrap();
    assert_eq!(again.status(), 202);
    let again = body(again).await["jobExecutionId"].clone();
    until("it is done", async || {
        status(&second, &again).await["status"] == json!("COMPLETED")
    })
    .await;
    assert_eq!(
        sql.number("SELECT CAST(SUM(confirmed) AS SIGNED) FROM daily_stat")
            .await,
        2
    );
    both_runs_are_reported(&second, &again, &id).await;
}

/// The completed run, and the abandoned run before it.
async fn both_runs_are_reported(service: &Service, done: &Value, abandoned: &Value) {
    let history = service
        .get("/api/admin/batch/history")
        .bearer_auth(ADMIN_TOKEN);
    let history = body(history.send().await.unwrap()).await;
    let told: Vec<_> = history["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| (run["jobExecutionId"].clone(), run["status"].clone()))
        .collect();
    let expected = [
        (done.clone(), json!("COMPLETED")),
        (abandoned.clone(), json!("FAILED")),
    ];
    assert_eq!(told, expected);
    let metrics = service
        .get("/metrics")
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let abandoned = "firstcome_aggregation_runs_total{result=\"abandoned\"} 1";
    assert!(metrics.contains(abandoned), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_starts_catches_up_and_only_one_of_two_does() {
    let parts = parts().await;
    let folder = TempDir::new().unwrap();
    let yesterday = Day::of(Clock::System.now(), firstcome::domain::Zone::UTC).minus(1);
    campaigns_with_one(&parts.test.store, yesterday, 2).await;
    let sql = Sql::of(&parts.test.url).await;
    let since = sea_orm::Value::from(yesterday.minus(2).start());
    sql.with("UPDATE campaign SET created_at = ?", [since])
        .await;
    let mut settings = parts.settings.clone();
    settings.push(("FIRSTCOME_AGGREGATION_SCHEDULE", "* * * * *".to_owned()));
    settings.push(("FIRSTCOME_AGGREGATION_LEASE", "3s".to_owned()));
    let starting = (0..2).map(|_| Service::start(&folder, &settings));
    let mut services = join_all(starting).await;
    until("three days are done", async || {
        sql.number("SELECT COUNT(*) FROM daily_day WHERE is_complete")
            .await
            == 3
    })
    .await;
    for service in &mut services {
        assert!(service.stop().await.success());
    }
    assert_eq!(sql.number("SELECT COUNT(*) FROM daily_run").await, 3);
    assert_eq!(sql.number("SELECT COUNT(*) FROM daily_stat").await, 2);
}

#[tokio::test]
async fn a_stopped_run_releases_its_lease() {
    let test = mysql().await;
    let day = day("2026-11-18", "UTC");
    let campaigns = campaigns_with_one(&test.store, day, 2).await;
    let sql = Sql::of(&test.url).await;
    let held = hold_back(&sql, day, campaigns[1].id.0).await;
    let replica = Replica::of(&test.store, settings("UTC"));
    let run = replica.begin(day, Redo::No).await.unwrap();
    let (signal, signals) = tokio::sync::mpsc::channel(1);
    until("the first campaign is written", async || {
        let found = replica.aggregator.run(run.id).await.unwrap().unwrap();
        found.progress.campaigns_done == 1
    })
    .await;
    signal.send(()).await.unwrap();
    let aggregator = replica.aggregator.clone();
    // Its write waits for the lock for at most two seconds.
    let stopping = tokio::time::timeout(Duration::from_secs(20), replica.supervisor.run(signals));
    stopping.await.unwrap();
    let found = aggregator.run(run.id).await.unwrap().unwrap();
    assert_eq!(
        (found.state, found.error.as_deref()),
        (RunState::Failed, Some("STOPPED"))
    );
    held.rollback().await.unwrap();
    let other = Replica::of(&another(&test).await, settings("UTC"));
    assert_eq!(
        other.aggregate(day, Redo::No).await.state,
        RunState::Completed
    );
}
