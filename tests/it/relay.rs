//! The relay: what is committed is published, in order, and what cannot be is accounted for.

mod bench;
mod broker;
mod failures;
mod outage;
mod real;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use firstcome::relay::Config;

use bench::{Bench, Double, Reaction, Running, config, events, until};

#[tokio::test(flavor = "multi_thread")]
async fn handed_over_rows_are_published_once_without_a_poll() {
    let bench = Bench::sqlite().await;
    let double = Arc::new(Double::default());
    let slow_poll = Config {
        poll_min: Duration::from_secs(20),
        poll_max: Duration::from_secs(20),
        ..config()
    };
    let running = Running::start(&bench, double.clone(), slow_poll);
    running.owns(64).await;
    // Hints are taken once a first poll has taken the buckets over: this row tells.
    let first = events(1, 1);
    bench.commit(&first[0]).await;
    let hints = running.handle.hints();
    until("a row is published", async || {
        hints.send(first.clone()).await.unwrap();
        !double.ids().is_empty()
    })
    .await;
    bench.settled().await;
    let (polled, before) = (double.ids(), running.handle.metrics().wake_hits.get());
    assert_eq!(polled.len(), 1);
    let events = events(20, 1);
    for event in &events {
        bench.commit(event).await;
    }
    hints.send(events.clone()).await.unwrap();
    hints.send(events.clone()).await.unwrap();
    bench.settled().await;
    let ids: HashSet<String> = double.ids().into_iter().collect();
    assert_eq!(ids.len(), 21);
    assert_eq!(double.ids().len(), 21, "each is published once");
    let taken = running.handle.metrics().wake_hits.get() - before;
    assert_eq!(taken, 20, "none was polled");
    assert!(running.stop().await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_nobody_hinted_at_are_found_by_the_poll() {
    let bench = Bench::sqlite().await;
    let double = Arc::new(Double::default());
    let events = events(40, 3);
    for event in &events {
        bench.commit(event).await;
    }
    let running = Running::start(&bench, double.clone(), config());
    bench.settled().await;
    assert_eq!(double.ids().len(), events.len());
    for event in &events {
        assert_eq!(double.sequences(&event.key), [1, 2, 3]);
    }
    assert_eq!(running.handle.metrics().order_violations.get(), 0);
    assert!(running.stop().await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_event_handed_over_does_not_overtake_one_not_read_yet() {
    let bench = Bench::sqlite().await;
    let double = Arc::new(Double::default());
    let running = Running::start(&bench, double.clone(), config());
    running.owns(64).await;
    let events = events(10, 2);
    for event in &events {
        bench.commit(event).await;
    }
    let later = events.iter().filter(|event| event.key_sequence == 2);
    running
        .handle
        .hints()
        .send(later.cloned().collect())
        .await
        .unwrap();
    bench.settled().await;
    for event in &events {
        assert_eq!(double.sequences(&event.key), [1, 2]);
    }
    assert!(running.stop().await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_larger_than_every_bound_goes_out_whole_and_in_order() {
    let bench = Bench::sqlite().await;
    let double = Arc::new(Double::default());
    let events = events(100, 3);
    for event in &events {
        bench.commit(event).await;
    }
    let narrow = Config {
        poll_rows_max: 7,
        in_flight_max: 16,
        lane_rows_max: 2,
        settle_rows_max: 5,
        ..config()
    };
    let running = Running::start(&bench, double.clone(), narrow);
    bench.settled().await;
    assert_eq!(double.ids().len(), events.len());
    for event in &events {
        assert_eq!(double.sequences(&event.key), [1, 2, 3]);
    }
    assert!(running.stop().await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_that_panics_gives_back_what_it_held() {
    let bench = Bench::sqlite().await;
    let double = Double::reacting([Reaction::Panic]);
    let events = events(30, 3);
    for event in &events {
        bench.commit(event).await;
    }
    let running = Running::start(&bench, double.clone(), config());
    bench.settled().await;
    let ids: HashSet<String> = double.ids().into_iter().collect();
    assert_eq!(ids.len(), events.len());
    for event in &events {
        let mut sequences = double.sequences(&event.key);
        // What was at the producer when the lane broke may go out a second time.
        sequences.dedup();
        assert_eq!(sequences, [1, 2, 3]);
    }
    assert!(running.stop().await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn relays_share_the_buckets_and_take_over_from_one_that_left() {
    let bench = Bench::sqlite().await;
    let double = Arc::new(Double::default());
    let short = || Config {
        lease: Duration::from_secs(3),
        publish_timeout: Duration::from_secs(1),
        ..config()
    };
    let first = Running::start(&bench, double.clone(), short());
    first.owns(64).await;
    let second = Running::start(&bench, double.clone(), short());
    second.owns(32).await;
    first.owns(32).await;
    let apart: HashSet<u16> = first.handle.buckets().into_iter().collect();
    let overlap = second.handle.buckets();
    assert!(overlap.iter().all(|bucket| !apart.contains(bucket)));
    assert!(first.stop().await.is_clean());
    second.owns(64).await;
    let events = events(50, 1);
    for event in &events {
        bench.commit(event).await;
    }
    bench.settled().await;
    assert_eq!(double.ids().len(), events.len());
    assert_eq!(second.handle.metrics().lease_epoch_changes.get(), 64);
    assert!(second.stop().await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_stops_leaves_nothing_half_done() {
    let bench = Bench::sqlite().await;
    let double = Arc::new(Double::default());
    let events = events(200, 1);
    for event in &events {
        bench.commit(event).await;
    }
    let first = Running::start(&bench, double.clone(), config());
    until("something is published", async || !double.ids().is_empty()).await;
    assert!(first.stop().await.is_clean());
    let published = u64::try_from(double.ids().len()).unwrap();
    assert_eq!(bench.counts().await.pending, 200 - published);
    // The leases were given back: the next one need not wait for their end.
    let second = Running::start(&bench, double.clone(), config());
    second.owns(64).await;
    bench.settled().await;
    assert_eq!(double.ids().len(), 200, "each is published once");
    assert!(second.stop().await.is_clean());
}
