//! A failure is reported to the configured webhook, with a bounded number of calls.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use chrono::TimeDelta;
use firstcome::parts::store::{Redo, RunState};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::scene::{Replica, Sql, commit, committed, day, settings};
use crate::support::{campaign_of, create, sqlite, until};

/// A webhook that responds with these statuses in order, and then with the last one.
struct Listener {
    url: String,
    heard: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Listener {
    async fn answering(statuses: &'static [u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heard: Arc<Mutex<Vec<(String, Value)>>> = Arc::default();
        let noting = Arc::clone(&heard);
        let nth = Arc::new(AtomicUsize::new(0));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let status = statuses[nth.fetch_add(1, Ordering::SeqCst).min(statuses.len() - 1)];
                if let Some(request) = answer(stream, status).await {
                    noting.lock().unwrap().push(request);
                }
            }
        });
        Self {
            url: format!("http://{address}/services/secret"),
            heard,
        }
    }

    fn heard(&self) -> Vec<(String, Value)> {
        self.heard.lock().unwrap().clone()
    }
}

/// Reads one request and answers it: its head and its body.
async fn answer(mut stream: TcpStream, status: u16) -> Option<(String, Value)> {
    let mut bytes = Vec::new();
    loop {
        let mut some = [0; 1_024];
        let read = stream.read(&mut some).await.ok()?;
        bytes.extend_from_slice(&some[..read]);
        let text = String::from_utf8(bytes.clone()).ok()?;
        let body = text.split_once("\r\n\r\n");
        let whole = body.and_then(|(head, body)| Some((head, serde_json::from_str(body).ok()?)));
        if let Some((head, body)) = whole {
            let answer =
                format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.ok()?;
            return Some((head.to_owned(), body));
        }
        if read == 0 {
            return None;
        }
    }
}

fn metrics(replica: &Replica) -> String {
    let mut registry = prometheus_client::registry::Registry::default();
    replica.alerts.register(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    text
}

#[tokio::test]
async fn a_failed_run_is_reported_when_the_webhook_accepts_it() {
    let listener = Listener::answering(&[500, 429, 200]).await;
    let test = sqlite().await;
    let day = day("2026-11-18", "UTC");
    let campaign = create(&test.store, campaign_of(None)).await;
    let one = committed(&campaign, 1, 1, day.start() + TimeDelta::hours(1));
    commit(&test.store, &campaign, &[one]).await;
    Sql::of(&test.url).await.refuse_rows_of(&campaign).await;
    let replica = Replica::telling(&test.store, settings("UTC"), Some(listener.url.clone()));
    let run = replica.aggregate(day, Redo::No).await;
    assert_eq!(run.state, RunState::Failed);
    until("the alert is sent", async || {
        metrics(&replica).contains("alerts_total{result=\"sent\"} 1")
    })
    .await;
    let heard = listener.heard();
    assert_eq!(heard.len(), 3, "twice it was told to come again");
    for (head, body) in &heard {
        assert!(head.starts_with("POST /services/secret HTTP/1.1"), "{head}");
        assert!(
            head.to_lowercase()
                .contains("content-type: application/json")
        );
        let said = body["text"].as_str().unwrap();
        for part in [
            "2026-11-18",
            "UTC",
            "CAMPAIGNS_FAILED",
            &format!("run {}", run.id),
        ] {
            assert!(said.contains(part), "{part} missing in {said}");
        }
        assert_eq!(body.as_object().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_webhook_that_rejects_is_not_called_again() {
    let listener = Listener::answering(&[404]).await;
    let test = sqlite().await;
    let replica = Replica::telling(&test.store, settings("UTC"), Some(listener.url.clone()));
    replica.alerts.send("one").await;
    assert_eq!(listener.heard().len(), 1);
    assert!(metrics(&replica).contains("alerts_total{result=\"failed\"} 1"));
}

#[tokio::test]
async fn calls_to_an_unavailable_webhook_are_bounded() {
    let listener = Listener::answering(&[503]).await;
    let test = sqlite().await;
    let settings = settings("UTC");
    let attempts = settings.retry.attempts_max;
    let replica = Replica::telling(&test.store, settings, Some(listener.url.clone()));
    replica.alerts.send("one").await;
    assert_eq!(u32::try_from(listener.heard().len()).unwrap(), attempts);
}

#[tokio::test]
async fn a_completed_run_sends_no_alert() {
    let listener = Listener::answering(&[200]).await;
    let test = sqlite().await;
    let replica = Replica::telling(&test.store, settings("UTC"), Some(listener.url.clone()));
    let run = replica.aggregate(day("2026-11-18", "UTC"), Redo::No).await;
    assert_eq!(run.state, RunState::Completed);
    let (signal, signals) = tokio::sync::mpsc::channel(1);
    signal.send(()).await.unwrap();
    replica.supervisor.run(signals).await;
    assert_eq!(listener.heard(), []);
}
