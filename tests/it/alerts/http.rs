//! Webhooks, and webhooks in Slack's format.

use firstcome::operate::alert::{AlertConfig, Alerts};
use serde_json::json;

use super::webhook::Webhook;
use super::{alert, config, count};

fn by_webhook(url: &str) -> AlertConfig {
    AlertConfig {
        webhook_url: Some(url.into()),
        ..config()
    }
}

#[tokio::test]
async fn a_webhook_gets_the_kind_and_the_text_of_an_alert() {
    let receiver = Webhook::answering(&[200]).await;
    let alerts = Alerts::new(&by_webhook(&receiver.url)).unwrap();
    alerts.send(&alert()).await;
    let requests = receiver.heard();
    let [(head, body)] = &requests[..] else {
        panic!("{requests:?}");
    };
    assert!(head.starts_with("POST /services/secret HTTP/1.1"), "{head}");
    assert!(
        head.to_lowercase()
            .contains("content-type: application/json")
    );
    let expected = json!({ "alert": "aggregation_failed", "text": alert().text });
    assert_eq!(*body, expected);
    assert_eq!(count(&alerts, "webhook", "sent"), 1);
}

#[tokio::test]
async fn slack_gets_the_text_alone_without_markup() {
    let receiver = Webhook::answering(&[200]).await;
    let config = AlertConfig {
        slack_url: Some(receiver.url.as_str().into()),
        ..config()
    };
    let alerts = Alerts::new(&config).unwrap();
    alerts.send(&alert()).await;
    let text = "aggregation of &lt;2026-11-18&gt; &amp; more failed";
    assert_eq!(receiver.heard()[0].1, json!({ "text": text }));
    assert_eq!(count(&alerts, "slack", "sent"), 1);
}

#[tokio::test]
async fn a_webhook_that_rejects_is_not_called_again() {
    let receiver = Webhook::answering(&[404]).await;
    let alerts = Alerts::new(&by_webhook(&receiver.url)).unwrap();
    alerts.send(&alert()).await;
    assert_eq!(receiver.heard().len(), 1);
    assert_eq!(count(&alerts, "webhook", "failed"), 1);
}

#[tokio::test]
async fn calls_to_an_unavailable_webhook_are_bounded() {
    let receiver = Webhook::answering(&[503]).await;
    let config = by_webhook(&receiver.url);
    let alerts = Alerts::new(&config).unwrap();
    alerts.send(&alert()).await;
    let calls = u32::try_from(receiver.heard().len()).unwrap();
    assert_eq!(calls, config.attempts_max);
    assert_eq!(count(&alerts, "webhook", "failed"), 1);
}
