//! The purger in a running relay: old published events of finished campaigns are deleted, by one relay for all,
//! and overdue ones are reported.

use std::sync::Arc;
use std::time::Duration;

use firstcome::domain::{Campaign, State};
use firstcome::events::relay::{Config, Retention};
use sea_orm::ConnectionTrait;

use super::bench::{Bench, Double, Running, config, until};
use crate::groups::Groups;
use crate::store::new_participation;
use crate::support::{aged, campaign_of, create, move_to, real};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Batches of three rows, one after the other.
fn eager() -> Config {
    Config {
        retention: Retention {
            interval: Duration::from_millis(20),
            sweep_interval: Duration::from_millis(20),
            rows_max: 3,
            busy_percent_max: 100,
            sample_interval: Duration::from_millis(20),
            ..Retention::default()
        },
        ..config()
    }
}

/// A campaign with this number of participations, whose events have this age and are not published yet.
async fn sold(bench: &Bench, participations: u64, age: Duration) -> Campaign {
    let campaign = create(&bench.store, campaign_of(None)).await;
    let batch: Vec<_> = (1..=participations)
        .map(|nth| {
            let mut new_participation =
                new_participation(&campaign, i64::try_from(nth).unwrap(), nth, 1);
            new_participation.event = aged(new_participation.event, age);
            new_participation
        })
        .collect();
    let store = &bench.store;
    let outcome = store.commit_participations(&campaign, campaign.gate_epoch, &batch);
    outcome.await.unwrap();
    campaign
}

async fn left(bench: &Bench, campaign: &Campaign) -> (u64, u64) {
    let counts = bench.store.counts(campaign.id).await.unwrap();
    (counts.events, counts.purged)
}

async fn published_events_are_purged_after_their_campaign(bench: &Bench) {
    let open = sold(bench, 10, 9 * DAY).await;
    let closed = sold(bench, 4, 8 * DAY).await;
    move_to(&bench.store, &closed, State::Closed).await;
    let double = Arc::new(Double::default());
    let running = Running::start(bench, double.clone(), eager());
    // They come after those of the open campaign: when they are deleted, those were read.
    until("the closed campaign's events are gone", async || {
        left(bench, &closed).await == (0, 4)
    })
    .await;
    assert_eq!(left(bench, &open).await, (10, 0));
    move_to(&bench.store, &open, State::Closed).await;
    until("the other's are gone, too", async || {
        left(bench, &open).await == (0, 10)
    })
    .await;
    // Whether the relay or `move_to` acknowledges the event about the state is a race.
    let published = double.ids_of("participation").len();
    assert_eq!(published, 14, "each was published before");
    let metrics = running.handle.metrics().retention.clone();
    until("the numbers are shown", async || {
        metrics.purged.get() == 14
            && metrics.purge_lag_seconds.get() == 0
            && metrics.oldest_snapshot_age_seconds.get() >= 0
            && metrics.history_length.get() >= 0
    })
    .await;
    assert!(running.stop().await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn published_events_are_purged_after_their_campaign_on_sqlite() {
    published_events_are_purged_after_their_campaign(&Bench::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn published_events_are_purged_after_their_campaign_on_mysql() {
    let bench = Bench::mysql(&real("FIRSTCOME_DATABASE_URL")).await;
    published_events_are_purged_after_their_campaign(&bench).await;
    bench.drop_schema().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_relay_purges_for_all() {
    let bench = Bench::sqlite().await;
    let double = Arc::new(Double::default());
    let first = Running::start(&bench, double.clone(), eager());
    first.owns(64).await;
    let second = Running::start(&bench, double.clone(), eager());
    second.owns(32).await;
    first.owns(32).await;
    let (idle, busy) = if second.handle.buckets().contains(&0) {
        (&first, &second)
    } else {
        (&second, &first)
    };
    let campaign = sold(&bench, 8, 8 * DAY).await;
    move_to(&bench.store, &campaign, State::Closed).await;
    until("the events are gone", async || {
        left(&bench, &campaign).await == (0, 8)
    })
    .await;
    let purged = |running: &Running| running.handle.metrics().retention.purged.get();
    until("they are counted", async || purged(busy) == 8).await;
    assert_eq!(purged(idle), 0);
    let unknown = &idle.handle.metrics().retention.history_length;
    assert_eq!(unknown.get(), -1, "one shows it for all");
    assert!(second.stop().await.is_clean());
    assert!(first.stop().await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_cannot_be_purged_stays_and_is_reported_as_overdue() {
    let bench = Bench::sqlite().await;
    let campaign = sold(&bench, 2, 9 * DAY).await;
    move_to(&bench.store, &campaign, State::Closed).await;
    let run = async |sql: &str| bench.db.execute_unprepared(sql).await.unwrap();
    // Closed for long: the events were deletable two days ago.
    run("UPDATE campaign SET updated_at = '2020-01-01T00:00:00+00:00'").await;
    run("ALTER TABLE campaign RENAME COLUMN purged_events TO elsewhere").await;
    let running = Running::start(&bench, Arc::new(Double::default()), eager());
    let metrics = running.handle.metrics().retention.clone();
    let two_days = i64::try_from(2 * DAY.as_secs()).unwrap();
    until("they show as overdue", async || {
        metrics.purge_lag_seconds.get() >= two_days
    })
    .await;
    assert!(metrics.purge_lag_seconds.get() < two_days + 60);
    assert_eq!(metrics.purged.get(), 0);
    run("ALTER TABLE campaign RENAME COLUMN elsewhere TO purged_events").await;
    until("they are gone", async || {
        left(&bench, &campaign).await == (0, 2)
    })
    .await;
    until("nothing is overdue", async || {
        metrics.purge_lag_seconds.get() == 0
    })
    .await;
    assert_eq!(metrics.purged.get(), 2);
    assert!(running.stop().await.is_clean());
}
