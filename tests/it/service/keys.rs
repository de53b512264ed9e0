//! Shared record keys, on the real parts: consumers get the events in order of commit, with two replicas that
//! use both paths.

use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use super::process::{Service, command};
use super::real::parts;
use crate::support::until;

/// Participates in every campaign with every user, several times each, half of it synchronously, through both
/// replicas at once.
async fn rush(replicas: &[Service], campaigns: &[i64], users: i64) {
    let mut requests = Vec::new();
    for nth in 0..3_usize {
        for user in 1..=users {
            for campaign in campaigns {
                let path = if (user + campaign) % 2 == 0 {
                    ""
                } else {
                    "-sync"
                };
                let path = format!("/api/campaigns/{campaign}/participation{path}");
                let replica = &replicas[(nth + usize::try_from(user).unwrap()) % replicas.len()];
                let key = format!("{campaign}-{user}-{nth}");
                requests.push(take_part(replica, path, user, key));
            }
        }
    }
    futures_util::future::join_all(requests).await;
}

/// Participates once, as clients should: a request without a response is repeated with the same key.
async fn take_part(replica: &Service, path: String, user: i64, key: String) {
    for _ in 0..30 {
        let request = replica.post(&path).header("Idempotency-Key", &key);
        let answer = request.json(&json!({ "userId": user })).send();
        let answer = answer.await.unwrap();
        if answer.status() != 503 {
            let (status, text) = (answer.status(), answer.text().await.unwrap());
            return assert_eq!(status, 201, "{text}");
        }
        let again = answer.headers().get("Retry-After").unwrap();
        let seconds = again.to_str().unwrap().parse().unwrap();
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }
    panic!("{path} is never answered");
}

async fn events_arrive_in_order_of_commit(choice: &str) {
    let mut parts = parts().await;
    parts
        .settings
        .push(("FIRSTCOME_KAFKA_KEY", choice.to_owned()));
    let folder = TempDir::new().unwrap();
    let replicas = [
        Service::start(&folder, parts.settings()).await,
        Service::start(&folder, parts.settings()).await,
    ];
    let mut campaigns = Vec::new();
    for name in ["one", "two"] {
        let campaign = json!({ "name": name, "kind": "general", "perUserLimit": 3 });
        campaigns.push(replicas[0].create(campaign).await);
    }
    rush(&replicas, &campaigns, 25).await;
    until("all is published", async || {
        let counts = parts.test.store.outbox_counts(None).await.unwrap();
        counts.pending + counts.retry + counts.blocked == 0
    })
    .await;
    let records = parts.records(150).await;
    let named = if choice == "user" {
        "userId"
    } else {
        "campaignId"
    };
    for record in &records {
        assert_eq!(record.value[named].to_string(), record.key);
    }
    let mut verify = command(&folder, parts.settings());
    verify.args(["verify", "--topic"]);
    let verified = tokio::task::spawn_blocking(move || verify.output()).await;
    let verified = verified.unwrap().unwrap();
    let said = String::from_utf8_lossy(&verified.stdout);
    assert!(verified.status.success(), "{choice}\n{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_a_user_arrive_in_order_of_commit() {
    events_arrive_in_order_of_commit("user").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_a_campaign_arrive_in_order_of_commit() {
    events_arrive_in_order_of_commit("campaign").await;
}
