//! Replicas with wrong clocks: irreversible decisions use the database's clock, so they are neither too early
//! nor too late.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use firstcome::domain::{
    Actor, AuditAction, AuditNote, CampaignId, Origin, Pricing, State, Timestamp,
    to_stored_precision,
};
use firstcome::events::relay::Retention;
use firstcome::operate::audit_retention::AuditPurger;
use firstcome::operate::lifecycle::Lifecycle;
use firstcome::parts::gate::ScriptGate;
use firstcome::parts::store::{CampaignChange, NewCampaign, Store};
use firstcome::runtime::clock::Clock;
use firstcome::sale::catalogue::{Catalogue, CatalogueConfig};
use firstcome::sale::reconcile::Reconciler;

use crate::store::new_participation;
use crate::support::{TestStore, campaign_of, create, mysql, patient, sell, spawner};

const NINE_HOURS: TimeDelta = TimeDelta::hours(9);

/// The store of a replica whose clock is ahead by this.
async fn replica(test: &TestStore, ahead: TimeDelta) -> Store {
    let clock = Clock::manual(Clock::System.now() + ahead);
    Store::connect(&patient(&test.url), clock).await.unwrap()
}

fn lifecycle(store: &Store) -> Lifecycle {
    let catalogue = Catalogue::new(store.clone(), CatalogueConfig::default());
    let gate = Arc::new(ScriptGate::in_process(Clock::System, "it").unwrap());
    let reconciler = Reconciler::new(store.clone(), gate, spawner());
    Lifecycle::new(store.clone(), catalogue, reconciler, Pricing::Sold)
}

fn from_now(by: TimeDelta) -> Timestamp {
    to_stored_precision(Clock::System.now() + by)
}

fn admin() -> Origin {
    Origin {
        actor: Actor::CommandLine,
        request_id: None,
        address: None,
    }
}

async fn state(store: &Store, id: CampaignId) -> State {
    store.campaign(id).await.unwrap().unwrap().state
}

#[tokio::test]
async fn a_replica_with_a_fast_clock_neither_closes_nor_opens_early() {
    let test = mysql().await;
    let ahead = replica(&test, NINE_HOURS).await;
    let open = NewCampaign {
        closes_at: Some(from_now(TimeDelta::hours(1))),
        ..campaign_of(None)
    };
    let scheduled = NewCampaign {
        state: State::Scheduled,
        opens_at: Some(from_now(TimeDelta::hours(1))),
        ..campaign_of(None)
    };
    let open = ahead.create_campaign(open, None).await.unwrap().id;
    let scheduled = ahead.create_campaign(scheduled, None).await.unwrap().id;
    lifecycle(&ahead).tick().await.unwrap();
    assert_eq!(state(&test.store, open).await, State::Open);
    assert_eq!(state(&test.store, scheduled).await, State::Scheduled);
}

#[tokio::test]
async fn a_replica_with_a_slow_clock_closes_and_opens_on_time() {
    let test = mysql().await;
    let behind = replica(&test, -NINE_HOURS).await;
    let over = NewCampaign {
        closes_at: Some(from_now(TimeDelta::seconds(-1))),
        ..campaign_of(None)
    };
    let due = NewCampaign {
        state: State::Scheduled,
        opens_at: Some(from_now(TimeDelta::seconds(-1))),
        ..campaign_of(None)
    };
    let over = behind.create_campaign(over, None).await.unwrap().id;
    let due = behind.create_campaign(due, None).await.unwrap().id;
    lifecycle(&behind).tick().await.unwrap();
    assert_eq!(state(&test.store, over).await, State::Closed);
    assert_eq!(state(&test.store, due).await, State::Open);
}

#[tokio::test]
async fn admin_actions_on_a_replica_with_a_wrong_clock_use_the_databases_clock() {
    for ahead in [NINE_HOURS, -NINE_HOURS] {
        let test = mysql().await;
        let store = replica(&test, ahead).await;
        let lifecycle = lifecycle(&store);
        let window = NewCampaign {
            closes_at: Some(from_now(TimeDelta::hours(1))),
            ..campaign_of(None)
        };
        let made = lifecycle.create(window, None).await.unwrap();
        let paused = lifecycle.move_to(made.id, State::Paused, &admin()).await;
        assert_eq!(paused.unwrap().state, State::Paused);
        let opened = lifecycle.move_to(made.id, State::Open, &admin()).await;
        assert_eq!(opened.unwrap().state, State::Open);
        for (at, state) in [(-1, State::Open), (1, State::Scheduled)] {
            let change = CampaignChange {
                opens_at: Some(Some(from_now(TimeDelta::minutes(at)))),
                ..CampaignChange::default()
            };
            let changed = lifecycle.change(made.id, change, &admin()).await;
            assert_eq!(changed.unwrap().state, state, "clock {ahead}");
        }
        let past = NewCampaign {
            closes_at: Some(from_now(TimeDelta::minutes(-1))),
            ..campaign_of(None)
        };
        assert!(lifecycle.create(past, None).await.is_err(), "clock {ahead}");
    }
}

#[tokio::test]
async fn a_replica_with_a_fast_clock_deletes_no_audit_entry_early() {
    let test = mysql().await;
    let by = admin();
    let note = AuditNote::about(by, AuditAction::CampaignOpen, CampaignId(1));
    test.store.note(&note).await.unwrap();
    let retention = Retention {
        audit_entries: Duration::from_secs(8 * 60 * 60),
        interval: Duration::from_secs(60),
        rows_max: 10,
        ..Retention::default()
    };
    let ahead = replica(&test, NINE_HOURS).await;
    let purger = AuditPurger::new(ahead, retention);
    assert_eq!(purger.purge_some("one").await.unwrap(), 0);
}

#[tokio::test]
async fn a_replica_with_a_fast_clock_forgets_no_key_early() {
    let test = mysql().await;
    let campaign = create(&test.store, campaign_of(None)).await;
    let mut new_participation = new_participation(&campaign, 1, 1, 1);
    new_participation.idempotency_key = Some("a".to_owned());
    sell(&test.store, &campaign, vec![new_participation]).await;
    let ahead = replica(&test, NINE_HOURS).await;
    let age = Duration::from_secs(8 * 60 * 60);
    let page = ahead.purge_keys(None, age, 10).await.unwrap();
    assert_eq!((page.read, page.deleted), (1, 0));
}
