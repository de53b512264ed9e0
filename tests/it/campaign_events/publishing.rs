//! The relay publishes the events of campaigns, and neither of the two streams of a campaign waits for the topic of the
//! other.

use std::sync::Arc;

use firstcome::domain::{CampaignId, State, StreamId};
use firstcome::parts::broker::Record;
use firstcome::parts::store::OutboxCounts;

use super::{admin, lifecycle, sell_to};
use crate::relay::bench::{Bench, Double, Running, config};
use crate::support::{campaign_of, real, until};

async fn benches() -> [Bench; 2] {
    [
        Bench::sqlite().await,
        Bench::mysql(&real("FIRSTCOME_DATABASE_URL")).await,
    ]
}

/// The types of the records of a topic, in order of publication.
fn types(double: &Double, topic: &str) -> Vec<String> {
    let records = double.records.lock().unwrap();
    let of_topic = |record: &&Record| record.topic.ends_with(&format!("{topic}.v1"));
    let header = |record: &Record| {
        let mut headers = record.headers.iter();
        headers
            .find(|(name, _)| *name == "ce_type")
            .unwrap()
            .1
            .clone()
    };
    records.iter().filter(of_topic).map(header).collect()
}

/// An open campaign with two participations.
async fn campaign(bench: &Bench) -> CampaignId {
    let lifecycle = lifecycle(&bench.store);
    let id = lifecycle
        .create(campaign_of(Some(5)), None)
        .await
        .unwrap()
        .id;
    sell_to(&bench.store, id, 1..=2).await;
    id
}

async fn move_to(bench: &Bench, id: CampaignId, state: State) {
    let lifecycle = lifecycle(&bench.store);
    lifecycle.move_to(id, state, &admin()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_a_campaign_are_published_in_order_under_its_id() {
    for bench in benches().await {
        let id = campaign(&bench).await;
        let double = Arc::new(Double::default());
        let running = Running::start(&bench, double.clone(), config());
        bench.settled().await;
        for state in [State::Paused, State::Open, State::Closed, State::Archived] {
            move_to(&bench, id, state).await;
        }
        bench.settled().await;
        let words = [
            "created", "opened", "paused", "opened", "closed", "archived",
        ];
        let expected = words.map(|word| format!("firstcome.campaign.{word}"));
        assert_eq!(types(&double, "campaign"), expected);
        assert_eq!(double.sequences(&id.to_string()), [1, 2, 3, 4, 5, 6]);
        assert_eq!(types(&double, "participation").len(), 2);
        assert!(running.stop().await.is_clean());
        let ends = bench.store.stream_ends(&[id]).await.unwrap();
        let at = |stream| {
            ends.iter()
                .find(|ends| ends.stream == stream)
                .unwrap()
                .published
        };
        assert_eq!(at(StreamId::of_campaign(id)), 6);
        assert_eq!(at(StreamId::of_participations(id)), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_stream_waits_for_the_topic_of_the_other() {
    for bench in benches().await {
        for (refused, other) in [("campaign", "participation"), ("participation", "campaign")] {
            let double = Double::refusing(refused);
            let running = Running::start(&bench, double.clone(), config());
            let id = campaign(&bench).await;
            until("the other stream is published", async || {
                types(&double, other).len() == 2
            })
            .await;
            move_to(&bench, id, State::Closed).await;
            assert_eq!(types(&double, refused).len(), 0);
            assert_ne!(bench.counts().await, OutboxCounts::default());
            double.relent();
            bench.settled().await;
            // A stream that waited may be read again.
            assert_eq!(double.first_sequences(&id.to_string()), [1, 2, 3]);
            assert_eq!(types(&double, "participation").len(), 2);
            assert!(running.stop().await.is_clean());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_a_relay_left_behind_are_published_by_the_next_one() {
    for bench in benches().await {
        // They are not published when their process ends.
        let id = campaign(&bench).await;
        let double = Double::refusing("campaign");
        let running = Running::start(&bench, double.clone(), config());
        until("it has tried", async || !running.handle.is_publishing()).await;
        assert!(running.stop().await.is_clean());
        let next = Arc::new(Double::default());
        let running = Running::start(&bench, next.clone(), config());
        bench.settled().await;
        assert_eq!(next.sequences(&id.to_string()), [1, 2]);
        assert!(running.stop().await.is_clean());
    }
}
