//! Parked rows that a relay finds when it takes over their buckets, and the rows that wait behind them.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use firstcome::domain::OutboxEvent;
use firstcome::parts::broker::{Acknowledged, PublishError, Publisher, Record};
use firstcome::parts::store::ParkedState;

use super::bench::{Bench, Double, Running, config, events, until};
use crate::support::real;

const LONG: Duration = Duration::from_secs(60);

/// Parks an event like a previous relay.
async fn park(bench: &Bench, event: &OutboxEvent, state: ParkedState, next_in: Duration) {
    let next_in = (state == ParkedState::Retry).then_some(next_in);
    crate::support::park(&bench.store, &bench.placed(event), state, next_in).await;
}

async fn start(bench: &Bench, publisher: Arc<dyn Publisher>) -> Running {
    bench.store.leave_buckets("it").await.unwrap();
    Running::start(bench, publisher, config())
}

/// The literal of an event's id in both databases.
fn id(event: &OutboxEvent) -> String {
    format!("x'{}'", event.id.0.simple())
}

#[tokio::test(flavor = "multi_thread")]
async fn orphaned_blocked_rows_keep_their_order() {
    let bench = Bench::sqlite().await;
    let double = Double::reacting([]);
    let events = events(10, 2);
    bench.commit_together(&events).await;
    for of_key in events.chunks(2) {
        park(&bench, &of_key[0], ParkedState::Blocked, LONG).await;
    }
    let running = start(&bench, double.clone()).await;
    bench.settled().await;
    for of_key in events.chunks(2) {
        assert_eq!(double.sequences(&of_key[0].key), [1, 2]);
    }
    assert!(running.stop().await.is_clean());
}

/// Rows that were parked while the policy let them pass each other.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_with_two_parked_rows_waits_for_both() {
    let bench = Bench::sqlite().await;
    let double = Double::reacting([]);
    let events = events(1, 3);
    let key = &events[0].key;
    bench.commit_together(&events[..2]).await;
    park(&bench, &events[0], ParkedState::Retry, Duration::ZERO).await;
    park(
        &bench,
        &events[1],
        ParkedState::Retry,
        Duration::from_secs(3),
    )
    .await;
    let running = start(&bench, double.clone()).await;
    until("the first is delivered", async || {
        double.sequences(key) == [1]
    })
    .await;
    until("that is written down", async || {
        bench.counts().await.retry == 1
    })
    .await;
    bench.commit(&events[2]).await;
    bench.settled().await;
    assert_eq!(double.sequences(key), [1, 2, 3]);
    assert!(running.stop().await.is_clean());
}

/// A row that a newer release left to an older one.
#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_parked_row_becomes_a_dead_letter_and_delays_no_other() {
    let bench = Bench::sqlite().await;
    let double = Double::reacting([]);
    let events = events(2, 2);
    bench.commit_together(&events).await;
    let (unknown, known) = (&events[0], &events[2]);
    park(&bench, unknown, ParkedState::Retry, Duration::ZERO).await;
    park(&bench, &events[1], ParkedState::Blocked, LONG).await;
    park(&bench, known, ParkedState::Retry, Duration::ZERO).await;
    let change = "UPDATE outbox_event SET key_sequence = -1 WHERE id = ";
    bench.run(&format!("{change}{}", id(unknown))).await;
    let running = start(&bench, double.clone()).await;
    until("all but one are published", async || {
        let counts = bench.counts().await;
        (counts.dead, counts.pending + counts.retry + counts.blocked) == (1, 0)
    })
    .await;
    assert_eq!(double.sequences(&unknown.key), [2]);
    assert_eq!(double.sequences(&known.key), [1, 2]);
    let dead = bench.dead_letters().await.remove(0);
    assert_eq!(
        (dead.event_id, dead.error_class.as_str()),
        (unknown.id, "unreadable")
    );
    assert!(running.stop().await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_without_an_event_is_skipped_and_the_others_are_replayed() {
    let bench = Bench::sqlite().await;
    let events = events(2, 1);
    bench.commit_together(&events).await;
    for event in &events {
        park(&bench, event, ParkedState::Dead, LONG).await;
    }
    let gone = format!("DELETE FROM outbox_event WHERE id = {}", id(&events[0]));
    bench.run(&gone).await;
    let ids: Vec<_> = events.iter().map(|event| event.id).collect();
    let replayed = bench.store.replay_dead_letters(&ids, None).await.unwrap();
    assert_eq!(replayed, 1);
    let counts = bench.counts().await;
    assert_eq!((counts.retry, counts.dead), (1, 1));
}

/// Records the number of blocked rows when the first event of the key is sent again.
struct Watching {
    double: Double,
    bench: Bench,
    blocked: OnceLock<u64>,
}

#[async_trait]
impl Publisher for Watching {
    async fn publish(&self, record: &Record) -> Result<Acknowledged, PublishError> {
        if self.blocked.get().is_none() {
            let blocked = self.bench.counts().await.blocked;
            self.blocked.get_or_init(|| blocked);
        }
        self.double.publish(record).await
    }

    async fn partitions(&self, topic: &str) -> Result<u32, PublishError> {
        self.double.partitions(topic).await
    }

    async fn create_topics(&self, _: &[String], _: u32) -> Result<(), PublishError> {
        Ok(())
    }

    async fn flush(&self, _deadline: Duration) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_due_does_not_wait_until_all_those_behind_it_are_parked() {
    const ROWS: u32 = 4_000;
    /// A store in which only some of them can be parked.
    const SOON: Duration = Duration::from_millis(20);
    let bench = Bench::mysql(&real("FIRSTCOME_DATABASE_URL")).await;
    let events = events(1, ROWS);
    bench.commit_together(&events).await;
    park(&bench, &events[0], ParkedState::Retry, SOON).await;
    let watching = Arc::new(Watching {
        double: Double::default(),
        bench,
        blocked: OnceLock::new(),
    });
    let running = start(&watching.bench, watching.clone()).await;
    until("the first are published", async || {
        watching.double.sequences(&events[0].key).len() > 2
    })
    .await;
    let key = &events[0].key;
    assert!(watching.double.sequences(key).is_sorted());
    let blocked = *watching.blocked.get().unwrap();
    assert!(blocked + 1 < u64::from(ROWS), "{blocked} were parked first");
    assert!(running.stop().await.is_clean());
}
