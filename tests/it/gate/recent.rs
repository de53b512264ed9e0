//! The figures of the last seconds that replicas share: each counts once, and for its stated time.

use std::time::Duration;

use firstcome::domain::{CampaignId, Timestamp};
use firstcome::parts::gate::{Answered, ScriptGate};
use firstcome::runtime::clock::Clock;

use super::redis_config;
use crate::support::unique;

const TERM: Duration = Duration::from_millis(2_500);
const CAMPAIGN: CampaignId = CampaignId(7);

const fn answered(count: u64) -> Answered {
    Answered {
        count,
        took: Duration::from_micros(100 * count),
    }
}

async fn note(gate: &ScriptGate, replica: &str, count: u64) {
    let noted = gate.note_recent(CAMPAIGN, replica, answered(count), TERM);
    noted.await.unwrap();
}

async fn others(gate: &ScriptGate, but: &str) -> Answered {
    gate.recent_of_others(CAMPAIGN, but).await.unwrap()
}

async fn adds_up(gate: &ScriptGate) {
    assert_eq!(others(gate, "one").await, Answered::default());
    note(gate, "one", 3).await;
    note(gate, "two", 40).await;
    note(gate, "three", 500).await;
    note(gate, "two", 60).await;
    assert_eq!(others(gate, "one").await, answered(560));
    assert_eq!(others(gate, "nobody").await, answered(563));
    let other = gate.recent_of_others(CampaignId(8), "one").await;
    assert_eq!(other.unwrap(), Answered::default());
}

#[tokio::test]
async fn the_latest_figures_of_each_replica_are_summed() {
    adds_up(&ScriptGate::in_process(Clock::System, "it").unwrap()).await;
    let redis = ScriptGate::redis(&redis_config(), &unique("it")).await;
    adds_up(&redis.unwrap()).await;
}

#[tokio::test]
async fn figures_of_a_silent_replica_expire() {
    let clock = Clock::manual(Timestamp::UNIX_EPOCH);
    let gate = ScriptGate::in_process(clock.clone(), "it").unwrap();
    note(&gate, "gone", 5).await;
    clock.advance(TERM / 2);
    note(&gate, "two", 40).await;
    assert_eq!(others(&gate, "one").await, answered(45));
    clock.advance(TERM / 2);
    assert_eq!(others(&gate, "one").await, answered(40));
    note(&gate, "two", 6).await;
    assert_eq!(others(&gate, "one").await, answered(6));
    clock.advance(TERM);
    assert_eq!(others(&gate, "one").await, Answered::default());
}
