//! The relay: committed events are published in order, and events that cannot be published are parked.

pub mod bench;
mod broker;
mod consumed;
mod failures;
mod offsets;
pub mod outage;
mod parked;
mod partitions;
mod real;
mod replicas;
mod retention;
mod unblocking;
mod waiting;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use firstcome::domain::{CampaignId, OutboxEvent, Topic};
use firstcome::events::relay::Config;

use bench::{Bench, Double, Reaction, Running, config, events, events_from, until};

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
    // Hints are accepted after the first poll has acquired the buckets, which this row shows.
    let first = events(1, 1);
    bench.commit(&first[0]).await;
    let hints = running.handle.hints();
    until("a row is published", async || {
        hints.send(bench.committed(&first)).await.unwrap();
        !double.ids().is_empty()
    })
    .await;
    bench.settled().await;
    let (polled, before) = (double.ids(), running.handle.metrics().wake_hits.get());
    assert_eq!(polled.len(), 1);
    let events = events_from(1, 20, 1);
    for event in &events {
        bench.commit(event).await;
    }
    hints.send(bench.committed(&events)).await.unwrap();
    hints.send(bench.committed(&events)).await.unwrap();
    bench.settled().await;
    let ids: HashSet<String> = double.ids().into_iter().collect();
    assert_eq!(ids.len(), 21);
    assert_eq!(double.ids().len(), 21, "each is published once");
    let taken = running.handle.metrics().wake_hits.get() - before;
    assert_eq!(taken, 20, "none was polled");
    assert!(running.stop().await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_poll_finds_rows_without_a_hint() {
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
async fn a_later_event_handed_over_does_not_overtake_an_unread_one() {
    let bench = Bench::sqlite().await;
    let double = Arc::new(Double::default());
    let running = Running::start(&bench, double.clone(), config());
    running.owns(64).await;
    let mut events = events(10, 2);
    events.sort_by_key(|event| event.key_sequence);
    for event in &events {
        bench.commit(event).await;
    }
    let later = events[10..].to_vec();
    running
        .handle
        .hints()
        .send(bench.committed(&later))
        .await
        .unwrap();
    bench.settled().await;
    for event in &events {
        assert_eq!(double.sequences(&event.key), [1, 2]);
    }
    assert!(running.stop().await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_larger_than_every_bound_is_published_completely_and_in_order() {
    let bench = Bench::sqlite().await;
    let double = Arc::new(Double::default());
    let events = events(100, 3);
    for event in &events {
        bench.commit(event).await;
    }
    let narrow = Config {
        poll_rows_max: 7,
        in_flight_max: 16,
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
async fn a_worker_that_panics_releases_its_rows() {
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
        // Its stream was read again from its position: events may be sent twice.
        assert_eq!(double.first_sequences(&event.key), [1, 2, 3]);
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
async fn a_stopping_relay_leaves_nothing_unfinished() {
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
    // The leases were released: the next relay need not wait for their end.
    let second = Running::start(&bench, double.clone(), config());
    second.owns(64).await;
    bench.settled().await;
    assert_eq!(double.ids().len(), 200, "each is published once");
    assert!(second.stop().await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_always_panics_stops_the_process_and_loses_nothing() {
    let bench = Bench::sqlite().await;
    let double = Double::reacting((0..100).map(|_| Reaction::Panic));
    let events = events(1, 3);
    for event in &events {
        bench.commit(event).await;
    }
    let running = Running::start(&bench, double.clone(), config());
    let outcome = running.ended().await;
    assert!(
        outcome
            .failures
            .iter()
            .any(|failure| failure.contains("relay.sender")),
        "{outcome:?}"
    );
    assert_eq!(double.ids().len(), 0);
    assert_eq!(bench.counts().await.pending, 3);
    // The restarted process finds everything.
    let next = Running::start(&bench, Arc::new(Double::default()), config());
    bench.settled().await;
    assert!(next.stop().await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn unreadable_rows_become_dead_letters_and_delay_no_other() {
    let bench = Bench::sqlite().await;
    let double = Arc::new(Double::default());
    let events = events(5, 1);
    for event in &events {
        bench.commit(event).await;
    }
    bench
        .run("UPDATE outbox_event SET key_sequence = -1 WHERE `rank` = 2")
        .await;
    bench.run("DELETE FROM outbox_event WHERE `rank` = 3").await;
    let running = Running::start(&bench, double.clone(), config());
    until("two are given up, three published", async || {
        let counts = bench.counts().await;
        (counts.dead, counts.pending) == (2, 0) && double.ids().len() == 3
    })
    .await;
    let mut said: Vec<_> = bench.dead_letters().await;
    said.sort_by(|one, other| one.error.cmp(&other.error));
    assert!(said.iter().all(|letter| letter.error_class == "unreadable"));
    assert_eq!(said[0].error, "its event is missing");
    assert!(
        said[1].error.contains("key_sequence holds -1"),
        "{}",
        said[1].error
    );
    // After its repair it is published like any other.
    bench.run("UPDATE outbox_event SET key_sequence = 1").await;
    let mended = [said[1].event_id];
    assert_eq!(
        bench
            .store
            .replay_dead_letters(&mended, None)
            .await
            .unwrap(),
        1
    );
    until("the mended one is published", async || {
        double.ids().len() == 4
    })
    .await;
    assert!(running.stop().await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unwritable_topic_delays_no_other() {
    let bench = Bench::sqlite().await;
    let double = Double::refusing("campaign");
    // More than the in-flight maximum, and first in order.
    let narrow = Config {
        in_flight_max: 16,
        poll_rows_max: 8,
        ..config()
    };
    for mut event in events(100, 1) {
        event.topic = Topic::Campaign;
        bench.commit(&event).await;
    }
    let others = events_from(100, 60, 2);
    for event in &others {
        bench.commit(event).await;
    }
    let running = Running::start(&bench, double.clone(), narrow);
    until("the other topic is served", async || {
        let counts = bench.counts().await;
        (counts.pending, counts.retry) == (0, 100)
    })
    .await;
    assert_eq!(double.ids().len(), others.len());
    double.relent();
    bench.settled().await;
    assert_eq!(double.ids().len(), others.len() + 100);
    assert!(running.stop().await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_for_another_relay_notifies_and_wakes_it() {
    let bench = Bench::sqlite().await;
    let double = Arc::new(Double::default());
    // Longer than `until` waits: only a wake-up is fast enough.
    let slow_poll = || Config {
        poll_min: Duration::from_secs(120),
        poll_max: Duration::from_secs(120),
        lease: Duration::from_secs(3),
        publish_timeout: Duration::from_secs(1),
        ..config()
    };
    let first = Running::start(&bench, double.clone(), slow_poll());
    first.owns(64).await;
    let second = Running::start(&bench, double.clone(), slow_poll());
    second.owns(32).await;
    first.owns(32).await;
    let theirs = second.handle.buckets()[0];
    let campaign = CampaignId(i64::from(theirs) + 64);
    let events: Vec<_> = events(40, 1)
        .into_iter()
        .map(|event| OutboxEvent {
            campaign_id: campaign,
            ..event
        })
        .collect();
    for event in &events {
        bench.commit(event).await;
    }
    let hints = first.handle.hints();
    hints.send(bench.committed(&events)).await.unwrap();
    let said = first.handle.foreign_streams().next().await;
    assert_eq!(said, campaign);
    // Acquiring buckets may have caused a poll already; the test checks the poll caused by the wake-up.
    let polls = &second.handle.metrics().polls;
    let before = polls.get();
    second.handle.wake(said);
    until("they are published", async || {
        double.ids().len() == events.len() && polls.get() > before
    })
    .await;
    assert!(first.stop().await.is_clean() && second.stop().await.is_clean());
}
