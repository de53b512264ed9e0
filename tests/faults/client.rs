//! What all clients have in common: how they send a request and read the response, and who comes after the faults.

use std::ops::Range;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use reqwest::Client;
use reqwest::header::RETRY_AFTER;
use serde_json::json;

use crate::ledger::{Outcome, ParticipationRequest, Path};

/// How long a client waits for a response.
const PATIENCE: Duration = Duration::from_secs(3);
/// First id of the users who come after all faults have ended.
pub const FRESH_USERS: i64 = 1_000_000;

/// The users of campaigns with an administrator, who send no other requests.
pub const MANAGED_USERS: Range<i64> = 20_000..20_150;

/// Whether a user sends keys: always or never, so that committed participations can be counted by key.
pub const fn sends_keys(user: i64) -> bool {
    user % 5 < 2
}

/// Whether a user is on every allow list that is imported. Users who come after the faults are on none.
pub const fn is_listed(user: i64) -> bool {
    user % 2 == 0 && user < FRESH_USERS
}

pub fn http() -> Client {
    Client::builder()
        .timeout(PATIENCE)
        .connect_timeout(Duration::from_secs(1))
        .build()
        .unwrap()
}

/// Sends one request to the replica at this address; none: it never served.
pub async fn send(base: Option<String>, http: &Client, request: &ParticipationRequest) -> Outcome {
    let Some(base) = base else {
        return Outcome::Lost("it never served".to_owned());
    };
    let way = match request.path {
        Path::Grouped => "participation",
        Path::Sync => "participation-sync",
    };
    let mut call = http
        .post(format!("{base}/api/campaigns/{}/{way}", request.campaign))
        .json(&json!({ "userId": request.user, "quantity": request.quantity }));
    if let Some(key) = &request.key {
        call = call.header("Idempotency-Key", key);
    }
    let answered = async {
        let answer = call.send().await?;
        let status = answer.status().as_u16();
        let has_retry_after = answer.headers().contains_key(RETRY_AFTER);
        let body = answer.text().await?;
        Ok::<_, reqwest::Error>(Outcome::of(status, has_retry_after, &body))
    };
    answered
        .await
        .unwrap_or_else(|error| Outcome::Lost(format!("{error:?}")))
}

/// Users without earlier requests.
pub struct Fresh(AtomicI64);

impl Fresh {
    pub const fn new() -> Self {
        Self(AtomicI64::new(0))
    }

    /// The next user.
    pub fn user(&self) -> i64 {
        FRESH_USERS + self.0.fetch_add(1, Ordering::SeqCst)
    }

    /// The next user, with a request for one unit.
    pub fn wish(&self, campaign: i64) -> ParticipationRequest {
        ParticipationRequest {
            campaign,
            user: self.user(),
            quantity: 1,
            key: None,
            path: Path::Grouped,
        }
    }
}
