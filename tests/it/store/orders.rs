//! Orders: their decisions, and the time of their next step.

use std::time::Duration;

use firstcome::domain::{
    Campaign, Obstacle, OrderDecision, OrderId, OrderLine, OrderRefusal, OrderStatus,
    ParticipationId, UserId,
};
use firstcome::parts::store::{
    CampaignChange, DecidedOrder, DecisionContext, NewOrder, NewParticipation, Store,
};
use sea_orm::{ConnectionTrait, Database, TransactionTrait};

use super::new_participation;
use crate::groups::{BatchOutcome, Groups};
use crate::support::{campaign_of, create, mysql, stores, until, waits_for_a_lock};

const LONG: Duration = Duration::from_secs(60);
const FREE: OrderDecision = OrderDecision::Placed {
    amount: None,
    hold_seconds: 0,
};

async fn cancellable(store: &Store) -> Campaign {
    let mut campaign = campaign_of(None);
    campaign.cancellable = true;
    create(store, campaign).await
}

/// An order that is being placed, and is due at once.
async fn placing(store: &Store, user: i64, campaigns: &[&Campaign]) -> NewOrder {
    let lines = campaigns.iter().map(|campaign| OrderLine {
        campaign_id: campaign.id,
        quantity: 1,
        participation_id: ParticipationId::generate(),
    });
    let new = NewOrder {
        id: OrderId::generate(),
        user: UserId(user),
        idempotency_key: None,
        lines: lines.collect(),
    };
    assert!(store.insert_order(&new, Duration::ZERO).await.unwrap());
    new
}

async fn decide(store: &Store, order: &NewOrder, decision: &OrderDecision) -> DecidedOrder {
    let context = DecisionContext::default();
    let decided = store.decide_order((order.id, &order.lines), decision, &context);
    decided.await.unwrap().unwrap()
}

async fn confirmed(store: &Store, campaigns: &[&Campaign]) -> NewOrder {
    let order = placing(store, 1, campaigns).await;
    let decided = decide(store, &order, &FREE).await;
    assert_eq!(decided.order.status, OrderStatus::Confirmed);
    order
}

#[tokio::test]
async fn an_order_refused_at_once_is_found_by_its_key_and_has_nothing_left_to_do() {
    for test in stores().await {
        let store = &test.store;
        let campaign = create(store, campaign_of(None)).await;
        let new = NewOrder {
            id: OrderId::generate(),
            user: UserId(1),
            idempotency_key: Some("a key".to_owned()),
            lines: vec![OrderLine {
                campaign_id: campaign.id,
                quantity: 1,
                participation_id: ParticipationId::generate(),
            }],
        };
        let refusal = OrderRefusal {
            line: 0,
            code: "ENDED".to_owned(),
        };
        let context = DecisionContext::default();
        let refuse = async |new: &NewOrder| {
            let inserted = store.insert_refused_order(new, &refusal, &context);
            inserted.await.unwrap()
        };
        assert!(refuse(&new).await);
        let found = store.order_by_key(UserId(1), "a key").await.unwrap();
        let found = found.unwrap();
        assert_eq!(
            (found.id, found.status, found.version),
            (new.id, OrderStatus::Refused, 1)
        );
        assert_eq!(found.refusal, Some(refusal.clone()));
        assert!(store.due_orders(10).await.unwrap().is_empty());
        // The key is used, whatever becomes of the second order.
        let second = NewOrder {
            id: OrderId::generate(),
            ..new
        };
        assert!(!refuse(&second).await);
        assert!(!store.insert_order(&second, LONG).await.unwrap());
    }
}

#[tokio::test]
async fn a_confirmed_order_is_cancelled_only_if_all_its_campaigns_allow_it() {
    for test in stores().await {
        let store = &test.store;
        let one = cancellable(store).await;
        let two = create(store, campaign_of(None)).await;
        let order = confirmed(store, &[&one, &two]).await;
        let kept = decide(store, &order, &OrderDecision::Cancelled).await;
        assert_eq!(kept.obstacle, Some(Obstacle::NotCancellable));
        assert_eq!(kept.order.status, OrderStatus::Confirmed);

        let two = store.campaign(two.id).await.unwrap().unwrap();
        let change = CampaignChange {
            cancellable: Some(true),
            ..CampaignChange::default()
        };
        let changed = store.change_campaign(two.id, two.version, &change, None);
        assert!(changed.await.unwrap());
        let cancelled = decide(store, &order, &OrderDecision::Cancelled).await;
        assert_eq!(cancelled.obstacle, None);
        assert_eq!(cancelled.order.status, OrderStatus::Cancelled);
        let again = decide(store, &order, &OrderDecision::Cancelled).await;
        assert_eq!(again.obstacle, Some(Obstacle::Already));
    }
}

#[tokio::test]
async fn a_cancellation_that_waited_for_its_campaign_obeys_the_change_it_waited_for() {
    let test = mysql().await;
    let campaign = cancellable(&test.store).await;
    let order = confirmed(&test.store, &[&campaign]).await;
    let db = Database::connect(&test.url).await.unwrap();
    let change = db.begin().await.unwrap();
    let id = campaign.id;
    let forbid = format!("UPDATE campaign SET cancellable = FALSE WHERE id = {id}");
    change.execute_unprepared(&forbid).await.unwrap();
    let store = test.store.clone();
    let cancelling =
        tokio::spawn(async move { decide(&store, &order, &OrderDecision::Cancelled).await });
    let is_waiting = async || waits_for_a_lock(&test, "campaign").await;
    until("the cancellation waits", is_waiting).await;
    change.commit().await.unwrap();
    let kept = cancelling.await.unwrap();
    assert_eq!(kept.obstacle, Some(Obstacle::NotCancellable));
}

#[tokio::test]
async fn only_the_step_that_was_read_is_postponed() {
    for test in stores().await {
        let store = &test.store;
        let campaign = create(store, campaign_of(None)).await;
        let order = placing(store, 1, &[&campaign]).await;
        let read = store.due_orders(10).await.unwrap();
        assert_eq!((read.len(), read[0].id), (1, order.id));
        decide(store, &order, &FREE).await;
        assert!(!store.postpone_order(&read[0], LONG).await.unwrap());
        until("the lines of the decided order are due", async || {
            !store.due_orders(10).await.unwrap().is_empty()
        })
        .await;
        let read = store.due_orders(10).await.unwrap();
        assert!(store.postpone_order(&read[0], LONG).await.unwrap());
        assert!(store.due_orders(10).await.unwrap().is_empty());
        assert!(!store.postpone_order(&read[0], LONG).await.unwrap());
    }
}

/// Most rows of the table are locked at once, which a scan would do faster than lookups by key.
#[tokio::test]
async fn lines_do_not_wait_for_the_locked_row_of_another_order() {
    let test = mysql().await;
    let store = &test.store;
    let campaign = create(store, campaign_of(None)).await;
    let mut orders = Vec::new();
    for user in 1..=17 {
        orders.push(placing(store, user, &[&campaign]).await);
    }
    let other = orders.pop().unwrap().id.0.simple();
    let db = Database::connect(&test.url).await.unwrap();
    let lock = db.begin().await.unwrap();
    let row = format!("SELECT 1 FROM customer_order WHERE id = X'{other}' FOR UPDATE");
    lock.execute_unprepared(&row).await.unwrap();
    let lines: Vec<NewParticipation> = (1..)
        .zip(&orders)
        .map(|(rank, order)| NewParticipation {
            order: Some(order.id),
            ..new_participation(&campaign, order.user.0, rank, 1)
        })
        .collect();
    let committed = store.commit_participations(&campaign, campaign.gate_epoch, &lines);
    let committed = committed.await.unwrap();
    assert!(
        matches!(committed, BatchOutcome::Committed { .. }),
        "{committed:?}"
    );
    lock.rollback().await.unwrap();
}
