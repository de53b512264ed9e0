//! Posts an alert to a webhook.

use std::time::Duration;

use hyper::header::CONTENT_TYPE;
use hyper::{Request, StatusCode, Uri};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::Alert;
use crate::runtime::retry::RetryDecision;
use crate::runtime::web::{self, WebClient};

/// A webhook does not accept an alert.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// The URL is invalid.
    #[error("parse the URL of the webhook: it must begin with https:// or http://")]
    Address,
    /// TLS cannot be set up.
    #[error("set up TLS")]
    Tls(#[source] rustls::Error),
    /// The webhook is unreachable.
    #[error("reach the webhook")]
    Away(#[source] hyper_util::client::legacy::Error),
    /// The webhook did not answer in time.
    #[error("wait for the webhook")]
    Late,
    /// The webhook refused the alert.
    #[error("the webhook refused the alert: it answered {0}")]
    Refused(StatusCode),
    /// The request cannot be built.
    #[error("write the request")]
    Request(#[source] hyper::http::Error),
}

impl WebhookError {
    /// Whether another attempt may succeed.
    pub(super) fn verdict(&self) -> RetryDecision {
        match self {
            Self::Away(_) | Self::Late => RetryDecision::Again,
            Self::Refused(status) => RetryDecision::again_if(
                status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS,
            ),
            Self::Address | Self::Tls(_) | Self::Request(_) => RetryDecision::GiveUp,
        }
    }
}

/// What is posted.
#[derive(Clone, Copy, Debug)]
pub(super) enum Format {
    /// `{"alert": "aggregation_failed", "text": "…"}`.
    Alert,
    /// `{"text": "…"}`, as Slack and compatible services read it.
    Slack,
}

/// A webhook and what it accepts.
pub(super) struct Webhook {
    address: Uri,
    format: Format,
    client: WebClient<String>,
    timeout: Duration,
}

impl Webhook {
    pub(super) fn new(
        url: &SecretString,
        format: Format,
        timeout: Duration,
    ) -> Result<Self, WebhookError> {
        Ok(Self {
            address: web::address(url.expose_secret()).ok_or(WebhookError::Address)?,
            format,
            client: web::client(web::public_roots()).map_err(WebhookError::Tls)?,
            timeout,
        })
    }

    pub(super) fn body(&self, alert: &Alert) -> String {
        let body = match self.format {
            Format::Alert => json!({ "alert": alert.kind.as_str(), "text": alert.text }),
            Format::Slack => json!({ "text": without_markup(&alert.text) }),
        };
        body.to_string()
    }

    /// Posts once.
    pub(super) async fn post(&self, body: String) -> Result<(), WebhookError> {
        let request = Request::post(self.address.clone())
            .header(CONTENT_TYPE, "application/json")
            .body(body)
            .map_err(WebhookError::Request)?;
        let answer = tokio::time::timeout(self.timeout, self.client.request(request)).await;
        let answer = answer
            .map_err(|_| WebhookError::Late)?
            .map_err(WebhookError::Away)?;
        if answer.status().is_success() {
            Ok(())
        } else {
            Err(WebhookError::Refused(answer.status()))
        }
    }
}

/// Slack reads `<…>` as links and mentions, and `&…;` as these characters.
fn without_markup(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
