//! Suspension of coupons while the consumer issues them, on both databases.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use firstcome::domain::{
    CampaignId, Change, Consumer, EventId, ParticipationId, Reward, Status, Timestamp, UserId,
    to_stored_precision,
};
use firstcome::parts::store::{Due, Revocation, Rewards, StoreConfig, StoreError, Suspension};
use firstcome::runtime::clock::Clock;
use futures_util::future::join_all;
use sea_orm::{ConnectionTrait, Database, DatabaseConnection, Statement, TransactionTrait};
use tempfile::TempDir;

use super::scene::{Scene, coupon_terms};

struct Subject {
    rewards: Rewards,
    db: DatabaseConnection,
}

async fn subjects(folder: &TempDir) -> Vec<Subject> {
    let scene = Scene::new().await;
    let file = format!("sqlite://{}", folder.path().join("rewards.db").display());
    let mut subjects = Vec::new();
    for url in [file, scene.rewards_url.clone()] {
        let rewards = Rewards::connect(&StoreConfig::new(url.as_str()), Clock::System)
            .await
            .unwrap();
        rewards.migrate().await.unwrap();
        let db = Database::connect(&url).await.unwrap();
        subjects.push(Subject { rewards, db });
    }
    subjects
}

fn due(participation: ParticipationId, status: Status, sequence: u32) -> Due {
    Due {
        change: Change {
            event: EventId::generate(),
            participation,
            campaign: CampaignId(1),
            user: UserId(1),
            quantity: 2,
            status,
            sequence,
        },
        reward: Some(Reward::Coupon(coupon_terms())),
    }
}

impl Subject {
    async fn apply(&self, batch: &[Due]) {
        loop {
            match self.rewards.apply(Consumer::Coupons, batch).await {
                Ok(_) => return,
                // As the consumer does.
                Err(StoreError::Contended(_) | StoreError::Constraint(_)) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
    }

    async fn suspend(&self, one: ParticipationId, until: Timestamp) -> Suspension {
        loop {
            match self.rewards.suspend_coupons(one, until).await {
                Ok(suspension) => return suspension,
                Err(StoreError::Contended(_)) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
    }

    async fn count(&self, sql: &str) -> i64 {
        let statement = Statement::from_string(self.db.get_database_backend(), sql);
        let row = self.db.query_one_raw(statement).await.unwrap().unwrap();
        row.try_get_by_index(0).unwrap()
    }

    async fn of(&self, status: &str) -> i64 {
        let sql = format!("SELECT COUNT(*) FROM coupon WHERE status = '{status}'");
        self.count(&sql).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn coupons_issued_while_they_are_suspended_cannot_be_used() {
    const MANY: usize = 120;
    let folder = TempDir::new().unwrap();
    for subject in subjects(&folder).await {
        let subject = Arc::new(subject);
        let until = to_stored_precision(Clock::System.now()) + TimeDelta::seconds(60);
        let all: Vec<ParticipationId> = (0..MANY).map(|_| ParticipationId::generate()).collect();
        let granting = all.chunks(7).map(|some| {
            let batch: Vec<Due> = some
                .iter()
                .map(|one| due(*one, Status::Confirmed, 1))
                .collect();
            let subject = Arc::clone(&subject);
            tokio::spawn(async move { subject.apply(&batch).await })
        });
        let granting: Vec<_> = granting.collect();
        let suspending = all.iter().rev().map(|one| subject.suspend(*one, until));
        let suspended = join_all(suspending).await;
        for granted in granting {
            granted.await.unwrap();
        }
        assert!(suspended.iter().all(|one| *one == Suspension::Suspended));
        let many = i64::try_from(MANY).unwrap();
        assert_eq!(subject.of("issued").await, 0);
        assert_eq!(subject.of("suspended").await, 2 * many);

        // The consumer reads cancellations of the first half; the others were not cancelled.
        let (cancelled, stand) = all.split_at(MANY / 2);
        let ends: Vec<Due> = cancelled
            .iter()
            .map(|one| due(*one, Status::Cancelled, 2))
            .collect();
        subject.apply(&ends).await;
        assert_eq!(subject.of("revoked").await, many);
        assert_eq!(
            subject
                .rewards
                .due_revocations(until, 1_000)
                .await
                .unwrap()
                .len(),
            MANY / 2
        );
        let early = until - TimeDelta::microseconds(1);
        assert_eq!(
            subject.rewards.due_revocations(early, 1_000).await.unwrap(),
            []
        );
        let decided: Vec<Revocation> = stand
            .iter()
            .map(|one| Revocation {
                participation: *one,
                undecided_until: until,
            })
            .collect();
        // One of them has another pending cancellation: it stays suspended.
        let later = until + TimeDelta::seconds(1);
        assert_eq!(
            subject.suspend(stand[0], later).await,
            Suspension::Suspended
        );
        subject.rewards.restore_coupons(&decided).await.unwrap();
        assert_eq!(subject.of("issued").await, many - 2);
        assert_eq!(subject.of("suspended").await, 2);
        assert_eq!(subject.count("SELECT COUNT(*) FROM revocation").await, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn revoked_coupons_stay_revoked_until_the_consumer_processes_the_event() {
    let folder = TempDir::new().unwrap();
    for subject in subjects(&folder).await {
        let until = to_stored_precision(Clock::System.now());
        let one = ParticipationId::generate();
        subject.suspend(one, until).await;
        let decided = [Revocation {
            participation: one,
            undecided_until: until,
        }];
        subject.rewards.revoke_coupons(&decided).await.unwrap();
        // Suspended again, and issued late: it still cannot be used.
        subject.suspend(one, until + TimeDelta::seconds(1)).await;
        let far = until + TimeDelta::seconds(60);
        assert_eq!(subject.rewards.due_revocations(far, 10).await.unwrap(), []);
        subject.apply(&[due(one, Status::Confirmed, 1)]).await;
        assert_eq!(subject.of("suspended").await, 2);
        subject.apply(&[due(one, Status::Cancelled, 2)]).await;
        assert_eq!(subject.of("revoked").await, 2);
        assert_eq!(subject.count("SELECT COUNT(*) FROM revocation").await, 0);
    }
}

/// Of two cancellations, the second one suspends only after the consumer has processed the first.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_the_consumer_has_processed_is_no_longer_expected() {
    let folder = TempDir::new().unwrap();
    for subject in subjects(&folder).await {
        let until = to_stored_precision(Clock::System.now());
        let (one, other) = (ParticipationId::generate(), ParticipationId::generate());
        subject.apply(&[due(one, Status::Confirmed, 1)]).await;
        subject.apply(&[due(one, Status::Cancelled, 2)]).await;
        assert_eq!(subject.suspend(one, until).await, Suspension::Suspended);
        // The consumer has no event of this one yet.
        assert_eq!(subject.suspend(other, until).await, Suspension::Suspended);
        let decided = subject.rewards.due_revocations(until, 10).await.unwrap();
        assert_eq!(decided.len(), 2);
        subject.rewards.revoke_coupons(&decided).await.unwrap();
        assert_eq!(subject.of("revoked").await, 2);
        assert_eq!(subject.count("SELECT COUNT(*) FROM revocation").await, 1);
        subject.apply(&[due(other, Status::Confirmed, 1)]).await;
        assert_eq!(subject.of("suspended").await, 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unfinished_cancellation_leaves_its_participation_undecided() {
    let scene = Scene::new().await;
    let campaign = scene.campaign(Some(Reward::Coupon(coupon_terms()))).await;
    let made = scene.participations(campaign, 2, 2).await;
    let ids = [made[0].id, made[1].id];
    let cancelling = Database::connect(&scene.events.url).await.unwrap();
    let cancelling = cancelling.begin().await.unwrap();
    let id = made[0].id.0.simple();
    let cancel = format!("UPDATE participation SET status = 'cancelled' WHERE id = x'{id}'");
    cancelling.execute_unprepared(&cancel).await.unwrap();
    let term = Duration::from_secs(5);
    let decided = async |owner: &str| {
        let decided = scene.store().decided(("revocations", owner, term), &ids);
        decided.await.unwrap()
    };
    let first = decided("one").await.unwrap();
    assert_eq!(first.len(), 1);
    assert_eq!(first[&ids[1]], Status::Confirmed);
    assert!(decided("other").await.is_none(), "the duty is taken");
    cancelling.commit().await.unwrap();
    let then = decided("one").await.unwrap();
    assert_eq!(then[&ids[0]], Status::Cancelled);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_participation_is_left_undecided_and_the_others_are_decided() {
    let scene = Scene::new().await;
    let campaign = scene.campaign(Some(Reward::Coupon(coupon_terms()))).await;
    let made = scene.participations(campaign, 2, 2).await;
    let ids = [made[0].id, made[1].id];
    let db = Database::connect(&scene.events.url).await.unwrap();
    let id = made[0].id.0.simple();
    let spoil = format!("UPDATE participation SET status = 'of_later_days' WHERE id = x'{id}'");
    db.execute_unprepared(&spoil).await.unwrap();
    let duty = ("revocations", "one", Duration::from_secs(5));
    let decided = scene.store().decided(duty, &ids).await.unwrap().unwrap();
    assert_eq!(decided.len(), 1);
    assert_eq!(decided[&ids[1]], Status::Confirmed);
    assert_eq!(scene.store().unreadable_rows(), 1);
}
