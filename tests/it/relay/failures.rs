//! Each class of failure, injected by a test double.

use std::sync::Arc;
use std::time::{Duration, Instant};

use firstcome::domain::{BUCKETS, EventId, OutboxEvent};
use firstcome::events::relay::{Config, KeyPolicy};
use firstcome::parts::broker::PublishError;
use firstcome::parts::store::DeadLetterFilter;
use firstcome::runtime::retry::Policy;

use super::bench::{Bench, Double, Reaction, Running, config, events, events_from, until};
use crate::support::real;

fn unsure() -> Reaction {
    Reaction::Fail(PublishError::PossiblyDelivered("no answer".to_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unavailable_broker_charges_no_attempt_and_keeps_the_order() {
    let bench = Bench::sqlite().await;
    let away = || Reaction::Fail(PublishError::Away("test".to_owned()));
    let full = || Reaction::Fail(PublishError::QueueFull);
    let fatal = || Reaction::Fail(PublishError::Fatal("test".to_owned()));
    let double = Double::reacting([away(), full(), fatal(), away(), away(), away()]);
    let once = Config {
        retry: Policy {
            attempts_max: 1,
            ..Policy::default()
        },
        ..config()
    };
    let events = events(5, 4);
    for event in &events {
        bench.commit(event).await;
    }
    let running = Running::start(&bench, double.clone(), once);
    bench.settled().await;
    assert_eq!(double.ids().len(), events.len());
    for event in &events {
        assert_eq!(double.sequences(&event.key), [1, 2, 3, 4]);
    }
    assert!(running.stop().await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unwritable_topic_is_probed_and_its_rows_stay_pending() {
    let bench = Bench::sqlite().await;
    let denied = || Reaction::Fail(PublishError::Destination("denied".to_owned()));
    let double = Double::reacting((0..10).map(|_| denied()));
    let events = events(3, 2);
    for event in &events {
        bench.commit(event).await;
    }
    let running = Running::start(&bench, double.clone(), config());
    until("the topic is held back", async || {
        !running.handle.is_publishing()
    })
    .await;
    assert_eq!(bench.counts().await.pending, 6);
    bench.settled().await;
    assert!(running.handle.is_publishing());
    assert_eq!(double.ids().len(), events.len());
    assert!(running.stop().await.is_clean());
}

/// More events of one stream than are read at once: the trial may be over when the last ones are read.
#[tokio::test(flavor = "multi_thread")]
async fn rows_left_during_the_probe_of_a_topic_keep_their_order_afterwards() {
    let bench = Bench::sqlite().await;
    let double = Arc::new(Double::default());
    let running = Running::start(&bench, double.clone(), config());
    running.owns(64).await;
    for round in 0..10 {
        let firsts: Vec<OutboxEvent> = events_from(round * 500, 500, 1);
        let seconds = firsts.iter().map(|first| OutboxEvent {
            id: EventId::generate(),
            key_sequence: 2,
            ..first.clone()
        });
        let waves: Vec<OutboxEvent> = firsts.iter().cloned().chain(seconds).collect();
        double.refuse("participation");
        bench.commit_together(&waves).await;
        until("the topic is held back", async || {
            !running.handle.is_publishing()
        })
        .await;
        double.relent();
        bench.settled().await;
        for first in &firsts {
            assert_eq!(double.sequences(&first.key), [1, 2], "round {round}");
        }
    }
    assert!(running.stop().await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_behind_a_row_of_unknown_result_wait_for_it() {
    let bench = Bench::sqlite().await;
    let double = Double::reacting([unsure(), unsure(), unsure()]);
    let events = events(1, 5);
    for event in &events {
        bench.commit(event).await;
    }
    let running = Running::start(&bench, double.clone(), config());
    bench.settled().await;
    let key = &events.first().unwrap().key;
    assert_eq!(double.sequences(key), [1, 2, 3, 4, 5]);
    assert_eq!(running.handle.metrics().order_violations.get(), 0);
    assert!(running.stop().await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_keys_of_unknown_result_keep_their_order() {
    let bench = Bench::sqlite().await;
    let double = Double::reacting((0..40).map(|_| unsure()));
    let events = events(20, 4);
    for event in &events {
        bench.commit(event).await;
    }
    let running = Running::start(&bench, double.clone(), config());
    bench.settled().await;
    for event in &events {
        assert_eq!(double.sequences(&event.key), [1, 2, 3, 4]);
    }
    assert!(running.stop().await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_takes_over_blocked_rows_waits_for_their_first_row() {
    let bench = Bench::sqlite().await;
    let double = Double::reacting([unsure()]);
    let patient = Config {
        retry: Policy {
            initial: Duration::from_secs(4),
            max: Duration::from_secs(4),
            ..Policy::default()
        },
        ..config()
    };
    let events = events(1, 3);
    for event in &events {
        bench.commit(event).await;
    }
    let first = Running::start(&bench, double.clone(), patient);
    until("the head is parked", async || {
        bench.counts().await.retry == 1
    })
    .await;
    assert!(first.stop().await.is_clean());
    let second = Running::start(&bench, double.clone(), config());
    bench.settled().await;
    let key = &events.first().unwrap().key;
    assert_eq!(double.sequences(key), [1, 2, 3]);
    assert!(second.stop().await.is_clean());
}

/// A relay loses the bucket while the first record of a key is in flight, and learns late that it arrived.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_whose_first_row_another_relay_delivered_is_unblocked() {
    let bench = Bench::sqlite().await;
    let double = Double::reacting([unsure()]);
    let long = Duration::from_secs(3_600);
    let patient = Config {
        publish_timeout: Duration::from_millis(500),
        lease: Duration::from_secs(2),
        retry: Policy {
            initial: long,
            max: long,
            ..Policy::default()
        },
        ..config()
    };
    let events = events(1, 3);
    bench.commit(&events[0]).await;
    let running = Running::start(&bench, double.clone(), patient);
    until("the head is parked", async || {
        bench.counts().await.retry == 1
    })
    .await;
    bench.commit(&events[1]).await;
    until("the next one is blocked", async || {
        bench.counts().await.blocked == 1
    })
    .await;
    let head = bench.placed(&events[0]);
    assert_eq!(bench.store.unpark(&[head.place()]).await.unwrap(), 1);
    let key = (head.stream(), head.key.clone());
    bench.store.release_keys(&[key]).await.unwrap();
    bench.commit(&events[2]).await;
    bench.settled().await;
    assert_eq!(double.sequences(&events[0].key), [2, 3]);
    assert!(running.stop().await.is_clean());
}

/// By the database's clock, which was set back, the leases of a dead relay last for another hour.
async fn buckets_of_a_dead_relay_are_taken_after_a_step_back(bench: &Bench) {
    let lease_max = Duration::from_secs(15);
    let taken_at = Instant::now();
    let (held, _) = bench.store.hold_buckets("dead", lease_max).await.unwrap();
    assert_eq!(held.len(), usize::from(BUCKETS));
    bench.set_leases_forward().await;
    let events = events(1, 2);
    bench.commit(&events[0]).await;
    let double = Double::reacting([]);
    let quick = Config {
        publish_timeout: Duration::from_millis(500),
        lease: Duration::from_secs(2),
        lease_max,
        ..config()
    };
    let running = Running::start(bench, double.clone(), quick);
    running.owns(usize::from(BUCKETS)).await;
    // Until then the other one, whose lease is longer, could have been alive.
    assert!(taken_at.elapsed() >= lease_max);
    until("only the new owner is registered", async || {
        bench.store.relay_leases().await.unwrap().len() == 1
    })
    .await;
    // Its own leases last for longer after another step, and stay its own.
    bench.set_leases_forward().await;
    bench.commit(&events[1]).await;
    bench.settled().await;
    assert_eq!(double.sequences(&events[0].key), [1, 2]);
    assert!(running.stop().await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn in_sqlite_buckets_of_a_dead_relay_are_taken_after_a_step_back() {
    buckets_of_a_dead_relay_are_taken_after_a_step_back(&Bench::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_mysql_buckets_of_a_dead_relay_are_taken_after_a_step_back() {
    let bench = Bench::mysql(&real("FIRSTCOME_DATABASE_URL")).await;
    buckets_of_a_dead_relay_are_taken_after_a_step_back(&bench).await;
    bench.drop_schema().await;
}

#[tokio::test]
async fn a_lease_that_was_renewed_meanwhile_is_not_ended() {
    let bench = Bench::sqlite().await;
    let lease = Duration::from_secs(60);
    bench.store.hold_buckets("alive", lease).await.unwrap();
    bench.set_leases_forward().await;
    let seen = bench.store.unexpired_leases().await.unwrap();
    assert_eq!(seen.len(), usize::from(BUCKETS) + 1);
    bench.store.hold_buckets("alive", lease).await.unwrap();
    assert_eq!(bench.store.end_leases(&seen).await.unwrap(), 0);
    let renewed = bench.store.unexpired_leases().await.unwrap();
    assert_eq!(
        bench.store.end_leases(&renewed).await.unwrap(),
        u64::from(BUCKETS) + 1
    );
    assert_eq!(bench.store.unexpired_leases().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_skip_policy_lets_later_rows_pass_a_row_of_unknown_result() {
    let bench = Bench::sqlite().await;
    let double = Double::reacting([unsure()]);
    let passing = Config {
        key_policy: KeyPolicy::Skip,
        retry: Policy {
            initial: std::time::Duration::from_millis(500),
            ..Policy::default()
        },
        ..config()
    };
    let events = events(1, 3);
    for event in &events {
        bench.commit(event).await;
    }
    let running = Running::start(&bench, double.clone(), passing);
    bench.settled().await;
    let mut sequences = double.sequences(&events.first().unwrap().key);
    sequences.sort_unstable();
    assert_eq!(sequences, [1, 2, 3]);
    assert!(running.stop().await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn after_its_last_attempt_a_row_becomes_a_dead_letter_and_the_rows_behind_it_are_sent() {
    let bench = Bench::sqlite().await;
    let double = Double::reacting([unsure(), unsure(), unsure()]);
    let thrice = Config {
        retry: Policy {
            attempts_max: 3,
            ..config().retry
        },
        ..config()
    };
    let events = events(1, 3);
    for event in &events {
        bench.commit(event).await;
    }
    let running = Running::start(&bench, double.clone(), thrice);
    until("one is dead and copied, the rest is gone", async || {
        let counts = bench.counts().await;
        let dead = bench.dead_letters().await;
        counts.dead == 1
            && counts.pending + counts.retry + counts.blocked == 0
            && dead.first().is_some_and(|dead| dead.copied_at.is_some())
    })
    .await;
    let dead = bench.dead_letters().await;
    let dead = dead.first().unwrap();
    assert_eq!(dead.event_id, events.first().unwrap().id);
    assert_eq!(dead.attempts, 3);
    assert_eq!(dead.error_class, "possibly_delivered");
    replayed_dead_letters_are_published(&bench, &double, dead.event_id).await;
    assert!(running.stop().await.is_clean());
}

async fn replayed_dead_letters_are_published(bench: &Bench, double: &Double, id: EventId) {
    assert_eq!(
        bench.store.replay_dead_letters(&[id], None).await.unwrap(),
        1
    );
    assert_eq!(
        bench.store.replay_dead_letters(&[id], None).await.unwrap(),
        0
    );
    bench.settled().await;
    let ids = double.ids();
    let copy_and_replay = ids.iter().filter(|found| **found == id.to_string());
    assert_eq!(copy_and_replay.count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_impossible_key_has_no_dead_letters() {
    let mysql = real("FIRSTCOME_DATABASE_URL");
    for bench in [Bench::sqlite().await, Bench::mysql(&mysql).await] {
        let filter = DeadLetterFilter {
            key: Some("Ключ".to_owned()),
            ..DeadLetterFilter::default()
        };
        let found = bench.store.dead_letters(&filter, 10).await.unwrap();
        assert!(found.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_discarded_dead_letter_stays_as_a_record() {
    let bench = Bench::sqlite().await;
    let refused = || Reaction::Fail(PublishError::Record("refused".to_owned()));
    let double = Double::reacting([refused(), refused()]);
    let events = events(1, 1);
    let event = events.first().unwrap();
    bench.commit(event).await;
    let running = Running::start(&bench, double.clone(), config());
    until("it is dead", async || bench.counts().await.dead == 1).await;
    let dead = bench.store.dead_letter(event.id).await.unwrap().unwrap();
    assert_eq!((dead.attempts, dead.error_class.as_str()), (1, "record"));
    let discarded = bench.store.discard_dead_letters(&[event.id], None).await;
    assert_eq!(discarded.unwrap(), 1);
    let counts = bench.counts().await;
    assert_eq!((counts.dead, counts.pending, counts.discarded), (0, 0, 1));
    assert!(bench.dead_letters().await.is_empty());
    assert!(running.stop().await.is_clean());
}
