//! Faults that another client causes in an otherwise healthy MySQL.

use std::time::{Duration, Instant};

use rand::RngExt;
use sea_orm::sqlx::{self, Connection, MySqlConnection};
use uuid::Uuid;

use super::{random, struck};
use crate::schedule::Strike;
use crate::world::{World, mysql, restore_connections};

/// MySQL's limit on connections while a session holds all of them. The replicas' pools alone are larger.
const CONNECTIONS_MAX: u32 = 24;
/// Number of rows that the hostile session inserts: more than the writer, because MySQL rolls back the
/// transaction with fewer changes.
const RANKS_TAKEN: i64 = 300;
/// How long the hostile session waits until the writer blocks on it.
const TRAP: Duration = Duration::from_millis(150);

async fn run(connection: &mut MySqlConnection, sql: String) -> sqlx::Result<()> {
    let statement = sqlx::raw_sql(sqlx::AssertSqlSafe(sql));
    statement.execute(connection).await?;
    Ok(())
}

/// Opens all connections that MySQL allows, and cuts the replicas' own, so that they need new ones. Counts the
/// connections that MySQL refused.
pub async fn exhausted(world: &World, strike: Strike, lasts: Duration) -> sqlx::Result<u64> {
    let began = Instant::now();
    // A connection that is opened before the limit is lowered.
    let mut admin = world.mysql().await?;
    let before = status(&mut admin, "Connection_errors_max_connections").await?;
    run(
        &mut admin,
        format!("SET GLOBAL max_connections = {CONNECTIONS_MAX}"),
    )
    .await?;
    let mut held = Vec::new();
    let mut cuts = 0;
    while began.elapsed() < lasts {
        if cuts < 5 && began.elapsed() > Duration::from_millis(120) * cuts {
            cuts += 1;
            for replica in struck(world, strike) {
                replica.mysql.cut();
            }
        }
        // Root gets one connection more than the limit; a refused statement is retried.
        match tokio::time::timeout(Duration::from_secs(1), mysql(&world.parts, None)).await {
            Ok(Ok(connection)) => held.push(connection),
            _ => tokio::time::sleep(Duration::from_millis(15)).await,
        }
    }
    let refused = status(&mut admin, "Connection_errors_max_connections").await? - before;
    restore_connections(&mut admin).await?;
    Ok(refused)
}

async fn status(connection: &mut MySqlConnection, name: &str) -> sqlx::Result<u64> {
    let value: String = sqlx::query_scalar(
        "SELECT VARIABLE_VALUE FROM performance_schema.global_status WHERE VARIABLE_NAME = ?",
    )
    .bind(name)
    .fetch_one(connection)
    .await?;
    Ok(value.parse().unwrap())
}

/// Takes the next ranks of a campaign without a commit, waits until the writer, which holds the campaign's row,
/// waits for one of them, requests the campaign's row, and rolls back. Returns the number of MySQL's deadlocks.
pub async fn deadlocks(world: &World, strike: Strike, lasts: Duration) -> sqlx::Result<u64> {
    let mut random = random(strike);
    let mut hostile = world.mysql().await?;
    run(
        &mut hostile,
        "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED".to_owned(),
    )
    .await?;
    run(
        &mut hostile,
        "SET SESSION innodb_lock_wait_timeout = 2".to_owned(),
    )
    .await?;
    let before = deadlocks_counted(&mut hostile).await?;
    let began = Instant::now();
    while began.elapsed() < lasts {
        let offer = world.offers[random.random_range(0..4)];
        // It lost against the writer, or was rolled back by itself: both are a deadlock.
        trap(&mut hostile, offer.id).await.ok();
        tokio::time::sleep(Duration::from_millis(random.random_range(20..120))).await;
    }
    Ok(deadlocks_counted(&mut hostile).await? - before)
}

async fn trap(hostile: &mut MySqlConnection, campaign: i64) -> sqlx::Result<()> {
    let mut tx = hostile.begin().await?;
    let last: i64 = sqlx::query_scalar(
        "SELECT COALESCE(MAX(`rank`), 0) FROM participation WHERE campaign_id = ?",
    )
    .bind(campaign)
    .fetch_one(&mut *tx)
    .await?;
    let rows: Vec<String> = (1..=RANKS_TAKEN)
        .map(|nth| {
            let id = Uuid::new_v4().simple();
            let rank = last + nth;
            format!("(x'{id}', {campaign}, -{nth}, 1, {rank}, 1, 'confirmed', 1, NOW(), NOW())")
        })
        .collect();
    let take = format!(
        "INSERT INTO participation (id, campaign_id, user_id, quantity, `rank`, ordinal, status, \
         version, created_at, updated_at) VALUES {}",
        rows.join(",")
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(take))
        .execute(&mut *tx)
        .await?;
    tokio::time::sleep(TRAP).await;
    sqlx::query("SELECT id FROM campaign WHERE id = ? FOR UPDATE")
        .bind(campaign)
        .execute(&mut *tx)
        .await?;
    tx.rollback().await
}

async fn deadlocks_counted(connection: &mut MySqlConnection) -> sqlx::Result<u64> {
    let count: i64 = sqlx::query_scalar(
        "SELECT `COUNT` FROM information_schema.INNODB_METRICS WHERE NAME = 'lock_deadlocks'",
    )
    .fetch_one(connection)
    .await?;
    Ok(count.unsigned_abs())
}
