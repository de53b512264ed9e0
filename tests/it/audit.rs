//! The audit log in the store, on both databases: an entry exists if and only if its action was committed.

mod replays;

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::TimeDelta;
use firstcome::domain::{
    Actor, AuditAction, AuditNote, Campaign, CampaignId, EventId, KeyChoice, Origin,
    RequestedChange, Timestamp,
};
use firstcome::events::relay::Retention;
use firstcome::operate::audit_retention::AuditPurger;
use firstcome::parts::store::{
    AuditEntry, AuditFilter, CampaignChange, ChangeRequest, ParkedState, Store,
};
use sea_orm::{ConnectionTrait, Database, Statement};
use serde_json::json;

use crate::groups::Groups;
use crate::store::new_participation;
use crate::support::{TestStore, campaign_of, create, park, sell, stores};

fn by(actor: &str) -> Origin {
    Origin {
        actor: Actor::Subject(actor.to_owned()),
        request_id: Some("r-1".to_owned()),
        address: Some("192.0.2.7".parse().unwrap()),
    }
}

fn note(actor: &str, action: AuditAction, campaign: i64) -> AuditNote {
    AuditNote::about(by(actor), action, CampaignId(campaign))
}

async fn entries(store: &Store, filter: &AuditFilter) -> Vec<AuditEntry> {
    store.audit_entries(filter, 100).await.unwrap()
}

async fn all(store: &Store) -> Vec<AuditEntry> {
    entries(store, &AuditFilter::default()).await
}

async fn forget_the_table(test: &TestStore) {
    let db = Database::connect(&test.url).await.unwrap();
    db.execute_unprepared("DROP TABLE audit_entry")
        .await
        .unwrap();
}

/// Sets the time of all entries.
async fn date(test: &TestStore, at: Timestamp) {
    let db = Database::connect(&test.url).await.unwrap();
    let backend = db.get_database_backend();
    let date = "UPDATE audit_entry SET created_at = ?";
    let date = Statement::from_sql_and_values(backend, date, [at.into()]);
    db.execute_raw(date).await.unwrap();
}

fn renamed() -> CampaignChange {
    CampaignChange {
        name: Some("another".to_owned()),
        ..CampaignChange::default()
    }
}

/// Makes the events of this number of participations dead letters, as the relay does.
async fn dead_letters(store: &Store, campaign: &Campaign, count: u64) -> Vec<EventId> {
    let batch: Vec<_> = (1..=count)
        .map(|rank| new_participation(campaign, i64::try_from(rank).unwrap(), rank, 1))
        .collect();
    let batch = sell(store, campaign, batch).await;
    for new_participation in &batch {
        park(store, &new_participation.event, ParkedState::Dead, None).await;
    }
    batch
        .iter()
        .map(|new_participation| new_participation.event.id)
        .collect()
}

#[tokio::test]
async fn a_change_commits_with_its_audit_entry() {
    for test in stores().await {
        let store = &test.store;
        let made = note("somebody", AuditAction::CampaignCreate, 0).to(json!({ "name": "one" }));
        let campaign = store.create_campaign(campaign_of(Some(5)), Some(made));
        let campaign = campaign.await.unwrap();
        let change = note("somebody", AuditAction::CampaignChange, campaign.id.0)
            .from(json!({ "name": "a campaign" }))
            .to(json!({ "name": "another" }));
        let (id, version) = (campaign.id, campaign.version);
        let renamed = renamed();
        let changed = store.change_campaign(id, version, &renamed, Some(&change));
        assert!(changed.await.unwrap());
        // With an outdated version nothing changes, and nothing is recorded.
        let late = store.change_campaign(id, version, &renamed, Some(&change));
        assert!(!late.await.unwrap());
        let [changed, created] = &all(store).await[..] else {
            panic!("two entries, the newest first");
        };
        assert_eq!(
            (created.campaign_id, changed.campaign_id),
            (Some(id), Some(id))
        );
        assert_eq!(created.before, None);
        assert_eq!(created.after, Some(json!({ "name": "one" })));
        assert_eq!(changed.action, "campaign.change");
        assert_eq!(changed.actor, "jwt:somebody");
        assert_eq!(changed.before, Some(json!({ "name": "a campaign" })));
        assert_eq!(changed.after, Some(json!({ "name": "another" })));
        assert_eq!(changed.request_id.as_deref(), Some("r-1"));
        assert_eq!(changed.address.as_deref(), Some("192.0.2.7"));
    }
}

#[tokio::test]
async fn no_change_is_made_without_its_audit_entry() {
    for test in stores().await {
        let store = &test.store;
        let campaign = create(store, campaign_of(Some(9))).await;
        let letters = dead_letters(store, &campaign, 2).await;
        let sold = store
            .campaign_and_count(campaign.id)
            .await
            .unwrap()
            .unwrap()
            .1;
        let before = store.campaign(campaign.id).await.unwrap().unwrap();
        forget_the_table(&test).await;

        let change = note("somebody", AuditAction::CampaignChange, campaign.id.0);
        let (version, renamed) = (before.version, renamed());
        let changed = store.change_campaign(before.id, version, &renamed, Some(&change));
        changed.await.unwrap_err();
        let created = store.create_campaign(campaign_of(None), Some(change.clone()));
        created.await.unwrap_err();
        let somebody = by("somebody");
        let replayed = store.replay_dead_letters(&letters, Some(&somebody));
        replayed.await.unwrap_err();
        let discarded = store.discard_dead_letters(&letters, Some(&somebody));
        discarded.await.unwrap_err();

        let after = store.campaign(campaign.id).await.unwrap();
        assert_eq!(after, Some(before), "{sold} sold");
        let campaigns = store.campaigns(&crate::support::all()).await.unwrap();
        assert_eq!(campaigns.len(), 1);
        let counts = store.outbox_counts(None).await.unwrap();
        assert_eq!((counts.dead, counts.pending, counts.discarded), (2, 0, 0));
    }
}

#[tokio::test]
async fn a_cancellation_by_an_admin_commits_with_its_audit_entry() {
    for test in stores().await {
        let store = &test.store;
        let mut new = campaign_of(Some(9));
        new.cancellable = true;
        let campaign = create(store, new).await;
        let batch: Vec<_> = (1..=3)
            .map(|user| new_participation(&campaign, user, user.unsigned_abs(), 1))
            .collect();
        let epoch = campaign.gate_epoch;
        let committed = store.commit_participations(&campaign, epoch, &batch);
        committed.await.unwrap();
        let cancelled = async |nth: usize, by: Option<Origin>| {
            let change_request = ChangeRequest {
                id: batch[nth].participation.id,
                requested: RequestedChange::Cancel {
                    suspended_until: None,
                },
                traceparent: None,
                by,
            };
            let key = KeyChoice::Participation;
            store
                .change_participations(campaign.id, &[change_request], key)
                .await
        };
        cancelled(0, None).await.unwrap();
        assert!(
            all(store).await.is_empty(),
            "its user's own doing is no admin's"
        );
        cancelled(1, Some(by("somebody"))).await.unwrap();
        // A repetition changes nothing, and nothing is recorded.
        cancelled(1, Some(by("somebody"))).await.unwrap();
        let [entry] = &all(store).await[..] else {
            panic!("one entry");
        };
        let id = batch[1].participation.id.to_string();
        assert_eq!(entry.subject.as_deref(), Some(&*id));
        assert_eq!(entry.action, "participation.cancel");
        assert_eq!(entry.before, Some(json!({ "status": "confirmed" })));
        assert_eq!(entry.after, Some(json!({ "status": "cancelled" })));
        forget_the_table(&test).await;
        cancelled(2, Some(by("somebody"))).await.unwrap_err();
        let units = store.counts(campaign.id).await.unwrap().units;
        assert_eq!(units, 1, "the third stands");
    }
}

#[tokio::test]
async fn dead_letters_are_reported_by_campaign() {
    for test in stores().await {
        let store = &test.store;
        let one = create(store, campaign_of(None)).await;
        let two = create(store, campaign_of(None)).await;
        let mut letters = dead_letters(store, &one, 2).await;
        letters.extend(dead_letters(store, &two, 1).await);
        let somebody = by("somebody");
        let replayed = store.replay_dead_letters(&letters[..1], Some(&somebody));
        assert_eq!(replayed.await.unwrap(), 1);
        // The first one is no longer dead, so it is not discarded.
        let discarded = store.discard_dead_letters(&letters, Some(&somebody));
        assert_eq!(discarded.await.unwrap(), 2);
        let told: BTreeSet<_> = all(store)
            .await
            .into_iter()
            .map(|entry| {
                let after = entry.after.unwrap();
                let campaign = entry.campaign_id.unwrap();
                (campaign, entry.action, after.to_string())
            })
            .collect();
        let expected = [
            (one.id, "dead_letter.replay", "retry", letters[0]),
            (one.id, "dead_letter.discard", "discarded", letters[1]),
            (two.id, "dead_letter.discard", "discarded", letters[2]),
        ];
        let expected: BTreeSet<_> = expected
            .into_iter()
            .map(|(campaign, action, state, event)| {
                let after = json!({ "state": state, "events": [event] });
                (campaign, action.to_owned(), after.to_string())
            })
            .collect();
        assert_eq!(told, expected);
    }
}

#[tokio::test]
async fn the_audit_log_is_read_newest_first_in_pages_with_filters() {
    for test in stores().await {
        let store = &test.store;
        for (actor, action, campaign) in [
            ("a", AuditAction::CampaignOpen, 1),
            ("b", AuditAction::CampaignPause, 1),
            ("a", AuditAction::CampaignClose, 2),
            ("a", AuditAction::CampaignOpen, 2),
            ("A", AuditAction::CampaignOpen, 3),
        ] {
            store.note(&note(actor, action, campaign)).await.unwrap();
        }
        let log = all(store).await;
        let ids: Vec<i64> = log.iter().map(|entry| entry.id).collect();
        assert_eq!(ids.len(), 5);
        assert!(ids.is_sorted_by(|newer, older| newer > older));

        let mut pages = Vec::new();
        let mut filter = AuditFilter::default();
        loop {
            let page = store.audit_entries(&filter, 2).await.unwrap();
            let Some(last) = page.last() else { break };
            filter.after = Some(last.id);
            pages.extend(page);
        }
        assert_eq!(pages, log, "page by page it is the same");

        let found = async |filter: AuditFilter| entries(store, &filter).await.len();
        let none = AuditFilter::default;
        let of = |campaign| Some(CampaignId(campaign));
        assert_eq!(
            found(AuditFilter {
                campaign_id: of(1),
                ..none()
            })
            .await,
            2
        );
        let actor = Some("jwt:a".to_owned());
        assert_eq!(found(AuditFilter { actor, ..none() }).await, 3);
        let action = Some(AuditAction::CampaignOpen);
        assert_eq!(found(AuditFilter { action, ..none() }).await, 3);
        assert_eq!(
            found(AuditFilter {
                action,
                campaign_id: of(2),
                ..none()
            })
            .await,
            1
        );
        let second = log[3].at;
        assert_eq!(
            found(AuditFilter {
                from: Some(second),
                ..none()
            })
            .await,
            4
        );
        assert_eq!(
            found(AuditFilter {
                to: Some(second),
                ..none()
            })
            .await,
            1
        );
    }
}

#[tokio::test]
async fn expired_entries_are_deleted_in_bounded_batches() {
    for test in stores().await {
        let store = &test.store;
        let note = note("a", AuditAction::CampaignOpen, 1);
        for _ in 0..7 {
            store.note(&note).await.unwrap();
        }
        let month = TimeDelta::days(30);
        date(
            &test,
            store.time().await.unwrap() - month + TimeDelta::minutes(1),
        )
        .await;
        let retention = Retention {
            audit_entries: Duration::from_secs(30 * 24 * 60 * 60),
            interval: Duration::from_secs(60),
            rows_max: 3,
            ..Retention::default()
        };
        let purger = AuditPurger::new(store.clone(), retention);
        assert_eq!(purger.purge_some("one").await.unwrap(), 0, "not yet");
        date(&test, store.time().await.unwrap() - month).await;
        assert_eq!(purger.purge_some("two").await.unwrap(), 0, "another's turn");
        let mut deleted = Vec::new();
        for _ in 0..4 {
            deleted.push(purger.purge_some("one").await.unwrap());
        }
        assert_eq!(deleted, [3, 3, 1, 0]);
        assert!(all(store).await.is_empty());
    }
}
