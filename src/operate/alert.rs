//! Alerts people of failures: posts a line of text to a webhook, in the format of Slack and many others. The URL is a
//! secret setting, because it allows anyone to post. Nothing waits for an alert.

use std::sync::Arc;
use std::time::Duration;

use hyper::header::CONTENT_TYPE;
use hyper::{Request, StatusCode, Uri};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use secrecy::{ExposeSecret, SecretString};

use crate::runtime::metrics::{Labels, registers};
use crate::runtime::retry::{self, Verdict};
use crate::runtime::telemetry::cause;
use crate::runtime::web::{self, WebClient};

/// The settings of alerts.
#[derive(Clone, Debug)]
pub struct AlertConfig {
    /// `https://…` or `http://…`; none: no alerts.
    pub webhook_url: Option<SecretString>,
    /// Time limit of one attempt.
    pub timeout: Duration,
    /// Retries.
    pub retry: retry::Policy,
}

/// An alert cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum AlertError {
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

/// Sends alerts. Cheap to clone.
#[derive(Clone)]
pub struct Alerts {
    webhook: Option<Arc<Webhook>>,
    /// By result: `sent` or `failed`.
    sent: Family<Labels<1>, Counter>,
}

struct Webhook {
    address: Uri,
    client: WebClient<String>,
    timeout: Duration,
    retry: retry::Policy,
}

registers!(pub Alerts: sent = ALERTS);

impl Alerts {
    /// Sends to the configured webhook, if there is one.
    pub fn new(config: &AlertConfig) -> Result<Self, AlertError> {
        let webhook = match &config.webhook_url {
            Some(url) => Some(Arc::new(Webhook {
                address: web::address(url.expose_secret()).ok_or(AlertError::Address)?,
                client: web::client(web::public_roots()).map_err(AlertError::Tls)?,
                timeout: config.timeout,
                retry: config.retry,
            })),
            None => None,
        };
        Ok(Self {
            webhook,
            sent: Family::default(),
        })
    }

    /// Sends a line of text. A failure is logged and counted.
    pub async fn send(&self, text: &str) {
        let Some(webhook) = &self.webhook else {
            return;
        };
        let result = match webhook.send(text).await {
            Ok(()) => "sent",
            Err(error) => {
                tracing::error!(error = cause(&error), "an alert was not sent");
                "failed"
            }
        };
        self.sent.get_or_create(&[("result", result)]).inc();
    }
}

impl Webhook {
    async fn send(&self, text: &str) -> Result<(), AlertError> {
        let body = serde_json::json!({ "text": text }).to_string();
        retry::retry(&self.retry, classify, || self.post(body.clone())).await
    }

    async fn post(&self, body: String) -> Result<(), AlertError> {
        let request = Request::post(self.address.clone())
            .header(CONTENT_TYPE, "application/json")
            .body(body)
            .map_err(AlertError::Request)?;
        let answer = tokio::time::timeout(self.timeout, self.client.request(request)).await;
        let answer = answer
            .map_err(|_| AlertError::Late)?
            .map_err(AlertError::Away)?;
        if answer.status().is_success() {
            Ok(())
        } else {
            Err(AlertError::Refused(answer.status()))
        }
    }
}

fn classify(error: &AlertError) -> Verdict {
    match error {
        AlertError::Away(_) | AlertError::Late => Verdict::Again,
        AlertError::Refused(status) => {
            Verdict::again_if(status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS)
        }
        AlertError::Address | AlertError::Tls(_) | AlertError::Request(_) => Verdict::GiveUp,
    }
}
