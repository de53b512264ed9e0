//! API and relay in separate processes.

use std::sync::atomic::{AtomicI64, Ordering};

use serde_json::json;
use tempfile::TempDir;

use super::process::{Service, body, command};
use super::real::parts;
use crate::support::until;

async fn metrics(service: &Service) -> String {
    let answer = service.get("/metrics").send().await.unwrap();
    answer.text().await.unwrap()
}

/// The value of a metric without labels.
fn value(metrics: &str, name: &str) -> Option<f64> {
    metrics
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
        .map(|value| value.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_separate_relay_publishes_and_is_woken_by_committing_replicas() {
    let mut parts = parts().await;
    let folder = TempDir::new().unwrap();
    let mut relay = Service::start_as("relay", &folder, parts.settings()).await;
    parts
        .settings
        .push(("FIRSTCOME_RELAY_ENABLED", "false".to_owned()));
    let mut api = Service::start(&folder, parts.settings()).await;
    let ready = body(relay.get("/readyz").send().await.unwrap()).await;
    let named: Vec<_> = ready["parts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|part| &part["name"])
        .collect();
    assert_eq!(
        (ready["status"].as_str(), named.as_slice()),
        (
            Some("ready"),
            [&json!("store"), &json!("broker")].as_slice()
        )
    );
    assert_eq!(
        relay.get("/api/campaigns").send().await.unwrap().status(),
        404
    );

    let campaign = api
        .create(json!({ "name": "roles", "kind": "general" }))
        .await;
    let users = AtomicI64::new(0);
    until("the relay was woken from afar", async || {
        let user = users.fetch_add(1, Ordering::SeqCst) + 1;
        assert_eq!(api.take_part(campaign, user).await.status(), 201);
        value(&metrics(&relay).await, "firstcome_relay_woken_total")
            .is_some_and(|woken| woken > 0.0)
    })
    .await;
    let taken = usize::try_from(users.into_inner()).unwrap();
    assert_eq!(parts.records(taken).await.len(), taken);
    assert_eq!(
        value(&metrics(&api).await, "firstcome_relay_woken_total"),
        None
    );
    assert!(api.stop().await.success() && relay.stop().await.success());
}

#[test]
fn a_separate_relay_needs_real_parts() {
    let folder = TempDir::new().unwrap();
    let output = command(&folder, &[]).arg("relay").output().unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("FIRSTCOME_DATABASE_URL and FIRSTCOME_KAFKA_BROKERS"),
        "{said}"
    );
}
