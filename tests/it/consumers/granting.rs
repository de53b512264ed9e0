//! Granted and reversed rewards.

use std::collections::HashSet;

use firstcome::domain::{Change, Consumer, CouponStatus, EventId, Reward, Status, UserId};
use firstcome::parts::store::{Applied, Due, Order, Rewards, StoreConfig, UseOutcome, Voucher};
use firstcome::runtime::clock::Clock;
use tempfile::TempDir;

use super::scene::{Scene, change, coupon_terms};
use crate::support::until;

#[tokio::test(flavor = "multi_thread")]
async fn points_are_granted_for_each_unit_and_the_participation_is_marked() {
    let scene = Scene::new().await;
    let rewarding = scene.campaign(Some(Reward::Points(10))).await;
    let couponing = scene.campaign(Some(Reward::Coupon(coupon_terms()))).await;
    let nothing = scene.campaign(None).await;
    let granted = scene.participations(rewarding, 700, 40).await;
    let others = scene.participations(couponing, 10, 10).await;
    let none = scene.participations(nothing, 10, 10).await;
    scene.confirm(&others).await;
    scene.confirm(&none).await;
    scene.confirm(&granted).await;
    let running = scene.start(Consumer::Points);
    scene.reaches("SELECT COUNT(*) FROM inbox", 720).await;
    scene.granted_exactly(&granted, 10).await;
    assert_eq!(scene.store().rewarded_count(rewarding).await.unwrap(), 700);
    assert_eq!(scene.store().rewarded_count(couponing).await.unwrap(), 0);
    until("offsets are committed", async || {
        scene.committed(Consumer::Points).await == 720
    })
    .await;
    let granted = r#"consumer_rewards_total{consumer="points",outcome="granted"}"#;
    assert_eq!(running.metric(granted), 700);
    until("nothing is left to do", async || {
        (0..3).all(|partition| {
            let lag = format!(r#"consumer_lag{{consumer="points",partition="{partition}"}}"#);
            running.metric(&lag) == 0
        })
    })
    .await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coupon_is_issued_for_each_unit_with_a_code_of_its_own() {
    let scene = Scene::new().await;
    let campaign = scene.campaign(Some(Reward::Coupon(coupon_terms()))).await;
    let made = scene.participations(campaign, 600, 7).await;
    scene.confirm(&made).await;
    let running = scene.start(Consumer::Coupons);
    let units: i64 = made.iter().map(|one| i64::from(one.quantity)).sum();
    scene.reaches("SELECT COUNT(*) FROM coupon", units).await;
    scene.marked(600).await;
    let distinct = "SELECT COUNT(DISTINCT code) FROM coupon";
    assert_eq!(scene.number(distinct).await, units);
    let mut seen = HashSet::new();
    let mut after = None;
    loop {
        let page = scene
            .rewards
            .coupons_of(UserId(3), after, 50)
            .await
            .unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        for coupon in &page {
            assert_eq!(
                (coupon.status, coupon.user),
                (CouponStatus::Issued, UserId(3))
            );
            assert_eq!(coupon.terms, coupon_terms());
            assert!(seen.insert(coupon.id), "shown twice");
        }
    }
    let owned = made.iter().filter(|one| one.user_id == UserId(3));
    let owned: u32 = owned.map(|one| one.quantity).sum();
    assert_eq!(seen.len(), usize::try_from(owned).unwrap());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn grants_are_reversed_once_when_the_participation_ends() {
    let scene = Scene::new().await;
    let points = scene.campaign(Some(Reward::Points(10))).await;
    let made = scene.participations(points, 100, 10).await;
    let (first, second) = made.split_at(50);
    let confirmed: Vec<_> = made
        .iter()
        .map(|one| change(one, Status::Confirmed, 2))
        .collect();
    let reserved: Vec<_> = made
        .iter()
        .map(|one| change(one, Status::Reserved, 1))
        .collect();
    let ended: Vec<_> = first
        .iter()
        .map(|one| change(one, Status::Cancelled, 3))
        .collect();
    let running = scene.start(Consumer::Points);
    for events in [&reserved, &confirmed, &ended, &ended] {
        scene.publish(events).await;
    }
    scene.reaches("SELECT COUNT(*) FROM ledger", 150).await;
    until("all is read", async || {
        scene.committed(Consumer::Points).await == 300
    })
    .await;
    let owed: i64 = second.iter().map(|one| i64::from(one.quantity) * 10).sum();
    let sum = "SELECT CAST(SUM(points) AS SIGNED) FROM balance";
    assert_eq!(scene.number(sum).await, owed);
    let sum = "SELECT CAST(SUM(amount) AS SIGNED) FROM ledger";
    assert_eq!(scene.number(sum).await, owed);
    assert_eq!(scene.number("SELECT COUNT(*) FROM ledger").await, 150);
    let of = scene
        .rewards
        .granted(&[first[0].id, second[0].id])
        .await
        .unwrap();
    assert!(of[&first[0].id].points_reversed && !of[&second[0].id].points_reversed);
    let ignored = r#"consumer_records_total{consumer="points",outcome="ignored"}"#;
    assert_eq!(running.metric(ignored), 100);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn coupons_are_revoked_unless_they_were_used() {
    let scene = Scene::new().await;
    let campaign = scene.campaign(Some(Reward::Coupon(coupon_terms()))).await;
    let made = scene.participations(campaign, 2, 1).await;
    scene.confirm(&made).await;
    let running = scene.start(Consumer::Coupons);
    scene.reaches("SELECT COUNT(*) FROM coupon", 3).await;
    let granted = scene.rewards.granted(&[made[1].id]).await.unwrap();
    let (used, _) = granted[&made[1].id].coupons[0];
    let voucher = Voucher::OfUser {
        id: used,
        by: UserId(1),
    };
    let order = Order {
        amount: 5_000,
        id: None,
    };
    let (outcome, _) = scene.rewards.use_coupon(&voucher, &order).await.unwrap();
    assert!(matches!(outcome, UseOutcome::Used(_)), "{outcome:?}");
    let expired: Vec<_> = made
        .iter()
        .map(|one| change(one, Status::Expired, 2))
        .collect();
    scene.publish(&expired).await;
    let revoked = "SELECT COUNT(*) FROM coupon WHERE status = 'revoked'";
    scene.reaches(revoked, 2).await;
    let kept = scene.rewards.coupon(&voucher).await.unwrap().unwrap();
    assert_eq!(
        (kept.status, kept.order_amount),
        (CouponStatus::Used, Some(5_000))
    );
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_arrives_after_a_later_one_grants_nothing() {
    let scene = Scene::new().await;
    let campaign = scene.campaign(Some(Reward::Points(10))).await;
    let made = scene.participations(campaign, 2, 1).await;
    let running = scene.start(Consumer::Points);
    scene
        .publish(&[change(&made[0], Status::Cancelled, 3)])
        .await;
    scene.reaches("SELECT COUNT(*) FROM inbox", 1).await;
    scene
        .publish(&[change(&made[0], Status::Confirmed, 2)])
        .await;
    scene
        .publish(&[change(&made[1], Status::Confirmed, 1)])
        .await;
    scene.reaches("SELECT COUNT(*) FROM inbox", 3).await;
    scene.granted_exactly(&made[1..], 10).await;
    let late = r#"consumer_records_total{consumer="points",outcome="late"}"#;
    until("it is counted", async || running.metric(late) == 1).await;
    running.stop().await;
}

fn due(change: Change) -> Due {
    Due {
        change,
        reward: Some(Reward::Points(10)),
    }
}

/// Two members process the same partition, because one of them has not noticed yet that it lost it.
async fn overlap(rewards: &Rewards) {
    let batch: Vec<Due> = (0..200)
        .map(|nth| {
            due(Change {
                event: EventId::generate(),
                participation: firstcome::domain::ParticipationId::generate(),
                campaign: firstcome::domain::CampaignId(1),
                user: UserId(nth % 5 + 1),
                quantity: 1,
                status: Status::Confirmed,
                sequence: 1,
            })
        })
        .collect();
    let attempt = |from: usize| {
        let (rewards, batch) = (rewards.clone(), batch[from..].to_vec());
        tokio::spawn(async move {
            loop {
                match rewards.apply(Consumer::Points, &batch).await {
                    Ok(applied) => return applied,
                    Err(failure) => assert!(
                        failure.is_rolled_back()
                            || matches!(
                                failure,
                                firstcome::parts::store::StoreError::Constraint(_)
                            ),
                        "{failure:?}"
                    ),
                }
            }
        })
    };
    let both = futures_util::future::join_all([attempt(0), attempt(0), attempt(50), attempt(150)]);
    let both: Vec<Applied> = both.await.into_iter().map(Result::unwrap).collect();
    let applied: usize = both.iter().map(|one| one.applied).sum();
    let duplicates: usize = both.iter().map(|one| one.duplicates).sum();
    assert_eq!((applied, duplicates), (200, 400));
    for user in 1..=5 {
        assert_eq!(rewards.points(UserId(user)).await.unwrap(), 400);
        let ledger = rewards.ledger(UserId(user), None, 1_000).await.unwrap();
        assert_eq!(ledger.len(), 40);
    }
    // Known events are returned as well, so that a missing mark is set.
    let again = rewards.apply(Consumer::Points, &batch).await.unwrap();
    assert_eq!((again.duplicates, again.rewarded.len()), (200, 200));
}

#[tokio::test(flavor = "multi_thread")]
async fn overlapping_members_grant_each_event_once() {
    let scene = Scene::new().await;
    overlap(&scene.rewards).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn overlapping_members_grant_each_event_once_on_the_embedded_database() {
    let folder = TempDir::new().unwrap();
    let url = format!("sqlite://{}", folder.path().join("rewards.db").display());
    let rewards = Rewards::connect(&StoreConfig::new(url), Clock::System)
        .await
        .unwrap();
    rewards.migrate().await.unwrap();
    overlap(&rewards).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_changes_of_one_participation_leave_the_later_one() {
    let scene = Scene::new().await;
    for round in 0..40 {
        let change = |sequence, status| {
            due(Change {
                event: EventId::generate(),
                participation: firstcome::domain::ParticipationId(uuid::Uuid::from_u128(round + 1)),
                campaign: firstcome::domain::CampaignId(1),
                user: UserId(1),
                quantity: 1,
                status,
                sequence,
            })
        };
        let apply = |due: Due| {
            let rewards = scene.rewards.clone();
            tokio::spawn(async move {
                let batch = [due];
                while rewards.apply(Consumer::Points, &batch).await.is_err() {}
            })
        };
        let confirmed = apply(change(2, Status::Confirmed));
        let cancelled = apply(change(3, Status::Cancelled));
        confirmed.await.unwrap();
        cancelled.await.unwrap();
        assert_eq!(scene.rewards.points(UserId(1)).await.unwrap(), 0, "{round}");
    }
}
