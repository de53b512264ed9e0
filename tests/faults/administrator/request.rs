//! The requests of administrators.

use std::fmt::Write as _;
use std::time::Instant;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};

use crate::client::{MANAGED_USERS, is_listed};
use crate::ledger::{Act, ChangeOutcome};
use crate::replica::ADMIN_TOKEN;
use crate::site::Site;

/// The file with the users who are on every allow list.
fn listed_users() -> String {
    let mut file = "userId\n".to_owned();
    for user in MANAGED_USERS.filter(|user| is_listed(*user)) {
        writeln!(file, "{user}").unwrap();
    }
    file
}

/// Sends one action to one replica, and records the response. Returns whether the outcome is known, and the response.
pub async fn send(
    site: &dyn Site,
    http: &Client,
    replica: usize,
    (campaign, act): (i64, Act),
) -> (bool, Value) {
    let Some(base) = site.replicas()[replica].base() else {
        return (false, Value::Null);
    };
    let sent = Instant::now();
    let request = request(site, http, &base, (campaign, &act)).bearer_auth(ADMIN_TOKEN);
    let answered = async {
        let answer = request.send().await?;
        let status = answer.status().as_u16();
        let has_retry_after = answer.headers().contains_key(RETRY_AFTER);
        let body = answer.text().await?;
        let outcome = act.read(campaign, (status, has_retry_after), &body);
        Ok::<_, reqwest::Error>((outcome, body))
    };
    let (outcome, body) = answered
        .await
        .unwrap_or_else(|error| (ChangeOutcome::Lost(format!("{error:?}")), String::new()));
    let is_known = outcome.is_definite();
    let record = (campaign, act);
    site.ledger().write_act(replica, record, sent, outcome);
    (is_known, serde_json::from_str(&body).unwrap_or_default())
}

fn request(
    site: &dyn Site,
    http: &Client,
    base: &str,
    (campaign, act): (i64, &Act),
) -> RequestBuilder {
    let of = format!("{base}/api/admin/campaigns/{campaign}");
    let at = |ms: i64| text(site.began_at() + TimeDelta::milliseconds(ms));
    match act {
        Act::Stock(total) => http.patch(of).json(&json!({ "totalStock": total })),
        Act::Limit(limit) => http.patch(of).json(&json!({ "perUserLimit": limit })),
        Act::Window {
            opens_ms,
            closes_ms,
        } => {
            let window = json!({ "opensAt": opens_ms.map(at), "closesAt": closes_ms.map(at) });
            http.patch(of).json(&window)
        }
        Act::Open => http.post(format!("{of}/open")),
        Act::Pause => http.post(format!("{of}/pause")),
        Act::Close => http.post(format!("{of}/close")),
        Act::RebuildGate => http.post(format!("{of}/rebuild-gate")),
        Act::Import => http
            .put(format!("{of}/allow-list"))
            .header(CONTENT_TYPE, "text/csv")
            .body(listed_users()),
        Act::Remove => http.delete(format!("{of}/allow-list")),
    }
}

fn text(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}
