//! A failed run is alerted; how alerts are delivered is tested in `alerts`.

use chrono::TimeDelta;
use firstcome::operate::alert::AlertConfig;
use firstcome::parts::store::{Redo, RunState};

use super::scene::{Replica, Sql, commit, committed, day, settings};
use crate::alerts::webhook::Webhook;
use crate::alerts::{config, count};
use crate::support::{campaign_of, create, sqlite, until};

fn by_webhook(url: &str) -> AlertConfig {
    AlertConfig {
        webhook_url: Some(url.into()),
        ..config()
    }
}

#[tokio::test]
async fn a_failed_run_is_reported_when_the_webhook_accepts_it() {
    let receiver = Webhook::answering(&[500, 429, 200]).await;
    let test = sqlite().await;
    let day = day("2026-11-18", "UTC");
    let campaign = create(&test.store, campaign_of(None)).await;
    let one = committed(&campaign, 1, 1, day.start() + TimeDelta::hours(1));
    commit(&test.store, &campaign, &[one]).await;
    Sql::of(&test.url).await.refuse_rows_of(&campaign).await;
    let replica = Replica::alerting(&test.store, settings("UTC"), &by_webhook(&receiver.url));
    let run = replica.aggregate(day, Redo::No).await;
    assert_eq!(run.state, RunState::Failed);
    until("the alert is sent", async || {
        count(&replica.alerts, "webhook", "sent") == 1
    })
    .await;
    let heard = receiver.heard();
    assert_eq!(heard.len(), 3, "twice it was told to come again");
    for (_, body) in &heard {
        let said = body["text"].as_str().unwrap();
        for part in [
            "2026-11-18",
            "UTC",
            "CAMPAIGNS_FAILED",
            &format!("run {}", run.id),
        ] {
            assert!(said.contains(part), "{part} missing in {said}");
        }
    }
}

#[tokio::test]
async fn a_completed_run_sends_no_alert() {
    let receiver = Webhook::answering(&[200]).await;
    let test = sqlite().await;
    let replica = Replica::alerting(&test.store, settings("UTC"), &by_webhook(&receiver.url));
    let run = replica.aggregate(day("2026-11-18", "UTC"), Redo::No).await;
    assert_eq!(run.state, RunState::Completed);
    let (signal, signals) = tokio::sync::mpsc::channel(1);
    signal.send(()).await.unwrap();
    replica.supervisor.run(signals).await;
    assert_eq!(receiver.heard(), []);
}
