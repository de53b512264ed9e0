//! Reviews: only those of confirmed participations exist and count.

use firstcome::domain::campaign::Ratings;
use firstcome::domain::{Campaign, KeyChoice, Participation, RequestedChange};
use firstcome::parts::store::{ChangeRequest, ReviewOutcome, Store};
use sea_orm::{ConnectionTrait, Database, TransactionTrait};

use super::new_participation;
use crate::groups::Groups;
use crate::support::{campaign_of, create, mysql, sell, stores, until, waits_for_a_lock};

async fn cancellable(store: &Store) -> Campaign {
    let mut campaign = campaign_of(None);
    campaign.cancellable = true;
    create(store, campaign).await
}

/// A confirmed participation of this user.
async fn confirmed(store: &Store, campaign: &Campaign, user: i64, rank: u64) -> Participation {
    let batch = vec![new_participation(campaign, user, rank, 1)];
    let sold = sell(store, campaign, batch).await;
    sold[0].participation.clone()
}

async fn cancel(store: &Store, participations: &[&Participation]) {
    let requests: Vec<ChangeRequest> = participations
        .iter()
        .map(|one| ChangeRequest {
            id: one.id,
            requested: RequestedChange::Cancel {
                suspended_until: None,
            },
            traceparent: None,
            by: None,
        })
        .collect();
    let campaign = participations[0].campaign_id;
    let changed = store.change_participations(campaign, &requests, KeyChoice::Participation);
    assert_eq!(changed.await.unwrap().changed.len(), participations.len());
}

async fn review(store: &Store, of: &Participation, rating: u32) {
    let written = store.insert_review(of, rating, "text").await.unwrap();
    assert!(matches!(written, ReviewOutcome::Written(_)), "{written:?}");
}

/// The number of a campaign's reviews, the sum of their ratings, and the users of those in the list.
async fn reviews(store: &Store, campaign: &Campaign) -> (u64, u64, Vec<i64>) {
    let found = store.campaign(campaign.id).await.unwrap().unwrap();
    let Ratings { count, sum } = found.ratings;
    let listed = store.reviews_of(campaign.id, None, 10).await.unwrap();
    let users = listed.iter().map(|review| review.user_id.0);
    (count, sum, users.collect())
}

#[tokio::test]
async fn a_cancellation_deletes_the_review_and_its_rating() {
    for test in stores().await {
        let store = &test.store;
        let campaign = cancellable(store).await;
        let other = confirmed(store, &campaign, 1, 1).await;
        review(store, &other, 2).await;
        for round in 1..=3 {
            let own = confirmed(store, &campaign, 7, 2 * round).await;
            // It has no review.
            let beside = confirmed(store, &campaign, 8, 2 * round + 1).await;
            review(store, &own, 5).await;
            assert_eq!(reviews(store, &campaign).await, (2, 7, vec![7, 1]));
            cancel(store, &[&own, &beside]).await;
            assert_eq!(reviews(store, &campaign).await, (1, 2, vec![1]));
        }
    }
}

#[tokio::test]
async fn only_a_confirmed_participation_is_reviewed_whatever_was_read_before() {
    for test in stores().await {
        let store = &test.store;
        let campaign = cancellable(store).await;
        let read = confirmed(store, &campaign, 7, 1).await;
        cancel(store, &[&read]).await;
        let refused = store.insert_review(&read, 5, "").await.unwrap();
        assert_eq!(refused, ReviewOutcome::NotConfirmed);
        assert_eq!(reviews(store, &campaign).await, (0, 0, vec![]));
    }
}

#[tokio::test]
async fn a_participation_is_reviewed_once() {
    for test in stores().await {
        let store = &test.store;
        let campaign = cancellable(store).await;
        let own = confirmed(store, &campaign, 7, 1).await;
        review(store, &own, 4).await;
        let again = store.insert_review(&own, 5, "").await.unwrap();
        assert_eq!(again, ReviewOutcome::AlreadyReviewed);
        assert_eq!(reviews(store, &campaign).await, (1, 4, vec![7]));
    }
}

/// A statement about the table would fail.
#[tokio::test]
async fn a_cancellation_in_a_campaign_without_reviews_uses_no_reviews() {
    for test in stores().await {
        let store = &test.store;
        let campaign = cancellable(store).await;
        let own = confirmed(store, &campaign, 7, 1).await;
        let db = Database::connect(&test.url).await.unwrap();
        db.execute_unprepared("DROP TABLE review").await.unwrap();
        cancel(store, &[&own]).await;
    }
}

#[tokio::test]
async fn a_review_that_waited_for_a_cancellation_is_refused() {
    let test = mysql().await;
    let campaign = cancellable(&test.store).await;
    let read = confirmed(&test.store, &campaign, 7, 1).await;
    let db = Database::connect(&test.url).await.unwrap();
    let cancellation = db.begin().await.unwrap();
    let (id, row) = (campaign.id, read.id.0.simple());
    for sql in [
        format!("SELECT 1 FROM campaign WHERE id = {id} FOR UPDATE"),
        format!("UPDATE participation SET status = 'cancelled' WHERE id = X'{row}'"),
    ] {
        cancellation.execute_unprepared(&sql).await.unwrap();
    }
    let store = test.store.clone();
    let reviewing = tokio::spawn(async move { store.insert_review(&read, 5, "").await });
    let is_waiting = async || waits_for_a_lock(&test, "campaign").await;
    until("the review waits", is_waiting).await;
    cancellation.commit().await.unwrap();
    let refused = reviewing.await.unwrap().unwrap();
    assert_eq!(refused, ReviewOutcome::NotConfirmed);
    assert_eq!(reviews(&test.store, &campaign).await, (0, 0, vec![]));
}
