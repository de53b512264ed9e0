//! Campaigns are written at the same time, as many as configured and no more.

use firstcome::domain::{Campaign, Day};
use firstcome::operate::statistics::Settings;
use firstcome::parts::store::{Redo, RunState};
use sea_orm::{ConnectionTrait, DatabaseTransaction, TransactionTrait};

use super::scene::{Replica, Sql, campaigns_with_one, day, settings};
use crate::support::{mysql, stores, until};

fn with_concurrency(concurrency: usize) -> Settings {
    Settings {
        concurrency,
        ..settings("UTC")
    }
}

/// Holds back the writes of these campaigns on a day, until it is dropped.
async fn hold_back(sql: &Sql, day: Day, campaigns: &[Campaign]) -> DatabaseTransaction {
    let tx = sql.connection().begin().await.unwrap();
    for campaign in campaigns {
        let row = format!(
            "INSERT INTO daily_stat (zone, day, campaign_id, reserved, confirmed, cancelled, expired, units, \
             units_standing, refused, refusals, hours, run_id) \
             VALUES ('{}', '{}', {}, 0, 0, 0, 0, 0, 0, 0, '{{}}', '[]', 0)",
            day.zone, day.date, campaign.id
        );
        tx.execute_unprepared(&row).await.unwrap();
    }
    tx
}

/// The run is one task, which fills its free places before it waits. So on this single thread no other task sees the
/// number below the limit while enough campaigns are left, or ever above it.
#[tokio::test]
async fn as_many_campaigns_as_configured_are_written_at_the_same_time_and_no_more() {
    for concurrency in [1, 2, 3] {
        for test in stores().await {
            let day = day("2026-11-18", "UTC");
            campaigns_with_one(&test.store, day, 20).await;
            let replica = Replica::of(&test.store, with_concurrency(concurrency));
            let run = replica.begin(day, Redo::No).await.unwrap();
            let mut most = 0;
            let watching = async {
                loop {
                    most = most.max(replica.metrics.campaigns_writing.get());
                    tokio::task::yield_now().await;
                }
            };
            let run = tokio::select! {
                run = replica.ended(&run) => run,
                () = watching => unreachable!(),
            };
            assert_eq!(most, i64::try_from(concurrency).unwrap());
            assert_eq!(run.state, RunState::Completed);
            assert_eq!(run.progress.campaigns_done, 20);
            assert_eq!(replica.metrics.campaigns_writing.get(), 0);
            let rows = replica.aggregator.daily(day.date, None).await.unwrap();
            assert_eq!(rows.campaigns.len(), 20);
        }
    }
}

#[tokio::test]
async fn several_transactions_of_a_run_are_open_at_the_same_time() {
    let test = mysql().await;
    let day = day("2026-11-18", "UTC");
    let campaigns = campaigns_with_one(&test.store, day, 5).await;
    let sql = Sql::of(&test.url).await;
    let held = hold_back(&sql, day, &campaigns).await;
    let replica = Replica::of(&test.store, with_concurrency(3));
    let run = replica.begin(day, Redo::No).await.unwrap();
    let schema = test.url.rsplit('/').next().unwrap();
    let waiting = format!(
        "SELECT COUNT(DISTINCT ENGINE_TRANSACTION_ID) FROM performance_schema.data_locks \
         WHERE OBJECT_SCHEMA = '{schema}' AND OBJECT_NAME = 'daily_stat' AND LOCK_STATUS = 'WAITING'"
    );
    until("three campaigns wait in the database", async || {
        sql.number(&waiting).await == 3
    })
    .await;
    assert_eq!(replica.metrics.campaigns_writing.get(), 3);
    held.rollback().await.unwrap();
    assert_eq!(replica.ended(&run).await.state, RunState::Completed);
}

#[tokio::test]
async fn a_campaign_that_waits_for_a_lock_does_not_hold_back_the_others() {
    let test = mysql().await;
    let day = day("2026-11-18", "UTC");
    let campaigns = campaigns_with_one(&test.store, day, 6).await;
    let sql = Sql::of(&test.url).await;
    let held = hold_back(&sql, day, &campaigns[..1]).await;
    let replica = Replica::of(&test.store, with_concurrency(2));
    let run = replica.begin(day, Redo::No).await.unwrap();
    until("all others are written and reported", async || {
        let found = replica.aggregator.run(run.id).await.unwrap().unwrap();
        found.progress.campaigns_done == 5
    })
    .await;
    assert_eq!(replica.metrics.campaigns_writing.get(), 1);
    held.rollback().await.unwrap();
    let run = replica.ended(&run).await;
    assert_eq!(
        (run.state, run.progress.campaigns_done),
        (RunState::Completed, 6)
    );
}

/// Transactions of a run share its lease: one that has read it and not committed yet does not block the others.
#[tokio::test]
async fn transactions_of_a_run_commit_side_by_side() {
    let test = mysql().await;
    let day = day("2026-11-18", "UTC");
    let campaigns = campaigns_with_one(&test.store, day, 3).await;
    let sql = Sql::of(&test.url).await;
    let held = hold_back(&sql, day, &campaigns).await;
    let replica = Replica::of(&test.store, with_concurrency(3));
    let run = replica.begin(day, Redo::No).await.unwrap();
    let sharing = sql.connection().begin().await.unwrap();
    let share = "SELECT owner FROM duty WHERE name = 'aggregation' LOCK IN SHARE MODE";
    sharing.execute_unprepared(share).await.unwrap();
    held.rollback().await.unwrap();
    until("all campaigns are written", async || {
        sql.number("SELECT COUNT(*) FROM daily_stat").await == 3
    })
    .await;
    sharing.rollback().await.unwrap();
    assert_eq!(replica.ended(&run).await.state, RunState::Completed);
}
