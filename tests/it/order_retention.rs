//! Old refused orders are deleted, on both databases; other orders are not.

use std::time::Duration;

use chrono::TimeDelta;
use firstcome::domain::{
    Campaign, KeyChoice, OrderDecision, OrderId, OrderLine, OrderRefusal, OrderStatus,
    ParticipationId, RequestedChange, Status, UserId,
};
use firstcome::events::relay::Retention;
use firstcome::operate::order_retention::OrderPurger;
use firstcome::operate::table_retention::Step;
use firstcome::parts::store::{ChangeRequest, DecisionContext, NewOrder, Store};
use sea_orm::{ConnectionTrait, Database, Statement, Value};

use crate::groups::Groups;
use crate::store::new_participation;
use crate::support::{TestStore, campaign_of, create, sell, stores};
use crate::verify::{FULL, assert_clean, verify};

const MONTH: Duration = Duration::from_secs(30 * 24 * 60 * 60);
const LONG: Duration = Duration::from_secs(60);

fn purger(store: &Store, rows_max: u32) -> OrderPurger {
    let retention = Retention {
        interval: Duration::from_secs(60),
        rows_max,
        ..Retention::default()
    };
    OrderPurger::new(store.clone(), MONTH, retention)
}

/// Sweeps over all orders. Returns the number of deleted ones.
async fn sweep(store: &Store) -> u64 {
    let purger = purger(store, 100);
    let step = purger.sweep_page("one").await.unwrap();
    let Step::Last(deleted) = step else {
        panic!("{step:?}");
    };
    deleted
}

fn refusal() -> OrderRefusal {
    OrderRefusal {
        line: 0,
        code: "SOLD_OUT".to_owned(),
    }
}

/// An order of this user with a line for each of these participations.
fn order_of(campaign: &Campaign, user: i64, lines: &[ParticipationId]) -> NewOrder {
    let lines = lines.iter().map(|participation| OrderLine {
        campaign_id: campaign.id,
        quantity: 1,
        participation_id: *participation,
    });
    NewOrder {
        id: OrderId::generate(),
        user: UserId(user),
        idempotency_key: Some("a key".to_owned()),
        lines: lines.collect(),
    }
}

/// An order of two lines that was refused before a line was reserved.
async fn refused(store: &Store, campaign: &Campaign, user: i64) -> NewOrder {
    let lines = [ParticipationId::generate(), ParticipationId::generate()];
    let order = order_of(campaign, user, &lines);
    insert_refused(store, &order).await;
    order
}

async fn insert_refused(store: &Store, order: &NewOrder) {
    let (refusal, context) = (refusal(), DecisionContext::default());
    let inserted = store.insert_refused_order(order, &refusal, &context);
    assert!(inserted.await.unwrap());
}

async fn decide(store: &Store, order: &NewOrder, decision: &OrderDecision) {
    let context = DecisionContext::default();
    let decided = store.decide_order((order.id, &order.lines), decision, &context);
    assert_eq!(decided.await.unwrap().unwrap().obstacle, None);
}

/// Shifts the last decision of all orders of this user so far into the past.
async fn age(test: &TestStore, user: i64, age: TimeDelta) {
    let at = test.store.time().await.unwrap() - age;
    let db = Database::connect(&test.url).await.unwrap();
    let sql = "UPDATE customer_order SET updated_at = ? WHERE user_id = ?";
    let values: [Value; 2] = [at.into(), user.into()];
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, values);
    db.execute_raw(statement).await.unwrap();
}

async fn exists(store: &Store, order: &NewOrder) -> bool {
    let row = store.order(order.id).await.unwrap();
    let line = order.lines[0].participation_id;
    let of_line = store.order_of_line(line).await.unwrap();
    assert_eq!(row.is_some(), of_line.is_some(), "an order and its lines");
    row.is_some()
}

#[tokio::test]
async fn old_refused_orders_are_deleted_with_their_lines_in_bounded_batches() {
    for test in stores().await {
        let store = &test.store;
        let campaign = create(store, campaign_of(None)).await;
        let mut orders = Vec::new();
        for user in 1..=7 {
            orders.push(refused(store, &campaign, user).await);
            age(&test, user, TimeDelta::days(30) - TimeDelta::minutes(1)).await;
        }
        let purger = purger(store, 3);
        for step in [Step::Page(0), Step::Page(0), Step::Last(0)] {
            assert_eq!(purger.sweep_page("one").await.unwrap(), step, "not yet");
        }
        for user in 1..=7 {
            age(&test, user, TimeDelta::days(30)).await;
        }
        for step in [Step::Page(3), Step::Page(3), Step::Last(1)] {
            assert_eq!(purger.sweep_page("one").await.unwrap(), step);
        }
        for order in &orders {
            assert!(!exists(store, order).await);
        }
        // The key is free.
        let again = order_of(&campaign, 1, &[ParticipationId::generate()]);
        assert!(store.insert_order(&again, LONG).await.unwrap());
        assert_clean(&verify(store, &FULL).await);
    }
}

#[tokio::test]
async fn orders_that_are_young_unfinished_or_not_refused_stay() {
    for test in stores().await {
        let store = &test.store;
        let campaign = create(store, campaign_of(None)).await;
        let young = refused(store, &campaign, 1).await;
        let unfinished = order_of(&campaign, 2, &[ParticipationId::generate()]);
        assert!(store.insert_order(&unfinished, LONG).await.unwrap());
        decide(store, &unfinished, &OrderDecision::Refused(refusal())).await;
        let placing = order_of(&campaign, 3, &[ParticipationId::generate()]);
        assert!(store.insert_order(&placing, LONG).await.unwrap());
        for user in [2, 3] {
            age(&test, user, TimeDelta::days(31)).await;
        }
        assert_eq!(sweep(store).await, 0);
        for order in [&young, &unfinished, &placing] {
            assert!(exists(store, order).await);
        }
        let order = store.order(unfinished.id).await.unwrap().unwrap();
        store.finish_order(&order).await.unwrap();
        assert_eq!(sweep(store).await, 1);
        assert!(!exists(store, &unfinished).await);
    }
}

#[tokio::test]
async fn the_cancelled_line_of_a_deleted_order_stays_a_sound_participation() {
    for test in stores().await {
        let store = &test.store;
        let campaign = create(store, campaign_of(None)).await;
        let mut line = new_participation(&campaign, 1, 1, 1);
        let id = line.participation.id;
        let order = order_of(&campaign, 1, &[id]);
        assert!(store.insert_order(&order, LONG).await.unwrap());
        line.order = Some(order.id);
        sell(store, &campaign, vec![line]).await;
        decide(store, &order, &OrderDecision::Refused(refusal())).await;
        let requests = [ChangeRequest {
            id,
            requested: RequestedChange::FollowOrder {
                status: Status::Cancelled,
                reference: None,
            },
            traceparent: None,
            by: None,
        }];
        let changed = store.change_participations(campaign.id, &requests, KeyChoice::Participation);
        assert_eq!(changed.await.unwrap().changed.len(), 1);
        let decided = store.order(order.id).await.unwrap().unwrap();
        assert_eq!(decided.status, OrderStatus::Refused);
        store.finish_order(&decided).await.unwrap();
        age(&test, 1, TimeDelta::days(31)).await;
        assert_clean(&verify(store, &FULL).await);

        assert_eq!(sweep(store).await, 1);
        assert!(!exists(store, &order).await);
        let left = store.participation(id).await.unwrap().unwrap();
        assert_eq!(left.status, Status::Cancelled);
        assert_clean(&verify(store, &FULL).await);
    }
}

#[tokio::test]
async fn an_order_that_verify_reports_stays() {
    for test in stores().await {
        let store = &test.store;
        let campaign = create(store, campaign_of(None)).await;
        let standing = new_participation(&campaign, 1, 1, 1);
        let order = order_of(&campaign, 1, &[standing.participation.id]);
        sell(store, &campaign, vec![standing]).await;
        insert_refused(store, &order).await;
        age(&test, 1, TimeDelta::days(31)).await;
        assert_eq!(sweep(store).await, 0);
        assert_eq!(store.contradicting_lines().await.unwrap().len(), 1);
    }
}
