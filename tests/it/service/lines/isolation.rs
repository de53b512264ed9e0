//! Orders of a locked campaign delay no other requests.

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use sea_orm::{
    ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction, TransactionTrait,
};
use serde_json::json;
use tempfile::TempDir;

use super::{change, order, placed, sale, statuses};
use crate::service::orders::{self, reserve, said};
use crate::service::process::{Service, body};
use crate::service::real::parts;
use crate::support::{until, waiting_for_locks};

/// Slots of a batcher, and those of them that one campaign may use.
const PLACES: usize = 32;
const PLACES_OF_ONE: usize = 28;

/// Locks the row of a campaign.
async fn lock(elsewhere: &DatabaseConnection, campaign: i64) -> DatabaseTransaction {
    let stall = elsewhere.begin().await.unwrap();
    let lock = format!("SELECT id FROM campaign WHERE id = {campaign} FOR UPDATE");
    stall.execute_unprepared(&lock).await.unwrap();
    stall
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_orders_of_a_locked_campaign_leaves_connections_for_others() {
    let mut parts = parts().await;
    let connections = ("FIRSTCOME_DATABASE_CONNECTIONS_MAX", "8".to_owned());
    parts.settings.push(connections);
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, parts.settings()).await;
    let hot = service.create(sale(100, Some(5))).await;
    let quiet = service.create(sale(100, None)).await;
    assert_eq!(service.take_part(quiet, 1).await.status(), 201);
    let mut orders = Vec::new();
    for user in 1..=24 {
        orders.push((user, placed(&service, user, &[(hot, 1)]).await));
    }
    let elsewhere = Database::connect(&parts.test.url).await.unwrap();
    let stall = lock(&elsewhere, hot).await;
    let flood = orders
        .iter()
        .map(|(user, order)| change(&service, order, "cancel", *user, json!({})));
    let meanwhile = async {
        until("a decision waits for the campaign", async || {
            waiting_for_locks(&parts.test, "campaign").await > 0
        })
        .await;
        assert_eq!(service.take_part(quiet, 2).await.status(), 201);
        let waiting = waiting_for_locks(&parts.test, "campaign").await;
        assert!(waiting <= 1, "{waiting}");
        stall.rollback().await.unwrap();
    };
    let (answers, ()) = tokio::join!(join_all(flood), meanwhile);
    for (answer, (user, placed)) in answers.into_iter().zip(&orders) {
        // None of them waits for more than its limit.
        if answer.status() == 503 {
            continue;
        }
        assert_eq!(said(answer).await, (200, "cancelled".to_owned()));
        assert_eq!(order(&service, placed, *user).await["status"], "cancelled");
    }
    parts.until_sound(&folder).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_without_room_in_the_writer_is_left_to_the_sweep() {
    let mut parts = parts().await;
    parts.settings.extend([
        ("FIRSTCOME_WRITER_CAPACITY", PLACES.to_string()),
        ("FIRSTCOME_WRITER_BATCH_ROWS_MAX", "16".to_owned()),
    ]);
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, parts.settings()).await;
    // Two consecutive ids have different batchers.
    let home = service.create(sale(100, Some(5))).await;
    let full = service.create(sale(100, Some(5))).await;
    let mut reserved = Vec::new();
    for user in 1..=40 {
        reserved.push((user, reserve(&service, full, user, 1).await));
    }
    let placed = placed(&service, 100, &[(home, 1), (full, 1)]).await;
    let elsewhere = Database::connect(&parts.test.url).await.unwrap();
    let stall = lock(&elsewhere, full).await;
    let mut flood: FuturesUnordered<_> = reserved
        .iter()
        .map(|(user, id)| orders::change(&service, id, "cancel", *user, json!({})))
        .collect();
    for _ in 0..reserved.len() - PLACES_OF_ONE {
        let refused = flood.next().await.unwrap();
        assert_eq!(body(refused).await["code"], "BUSY");
    }
    // The order is cancelled, although one of its lines has to wait.
    let two_wait = until("two transactions wait", async || {
        waiting_for_locks(&parts.test, "campaign").await > 1
    });
    tokio::select! {
        cancelled = change(&service, &placed, "cancel", 100, json!({})) => {
            assert_eq!(said(cancelled).await, (200, "cancelled".to_owned()));
        }
        () = two_wait => panic!("the line did not wait for room in the writer"),
    }
    stall.rollback().await.unwrap();
    while let Some(answer) = flood.next().await {
        assert!([200, 503].contains(&answer.status().as_u16()));
    }
    until("the lines have followed", async || {
        statuses(&service, &placed, 100).await == ["cancelled", "cancelled"]
    })
    .await;
    parts.until_sound(&folder).await;
}
