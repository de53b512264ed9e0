//! Tells people that something failed: posts a line of text to a webhook, in the form that Slack and many
//! others take. The address comes from the configuration alone and is a secret: whoever has it can post.
//! What is told is decided elsewhere, and nothing waits for it.

use std::sync::Arc;
use std::time::Duration;

use hyper::header::CONTENT_TYPE;
use hyper::{Request, StatusCode, Uri};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use secrecy::{ExposeSecret, SecretString};

use crate::domain::metric;
use crate::runtime::metrics::RegisterMetric;
use crate::runtime::retry::{self, Verdict};
use crate::runtime::web::{self, WebClient};

/// Where alerts go and how long that may take.
#[derive(Clone, Debug)]
pub struct AlertConfig {
    /// `https://…` or `http://…`; none: nowhere.
    pub webhook_url: Option<SecretString>,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// How often, and how far apart, it is tried.
    pub retry: retry::Policy,
}

/// Alerts cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum AlertError {
    /// The address is none, or not of the web.
    #[error("read the address of the webhook: it must begin with https:// or http://")]
    Address,
    /// There is no TLS.
    #[error("set up TLS")]
    Tls(#[source] rustls::Error),
    /// Nobody is there.
    #[error("reach the webhook")]
    Away(#[source] hyper_util::client::legacy::Error),
    /// It takes too long.
    #[error("wait for the webhook")]
    Late,
    /// It does not take the alert.
    #[error("the webhook refused the alert: it answered {0}")]
    Refused(StatusCode),
    /// Our fault.
    #[error("write the request")]
    Request(#[source] hyper::http::Error),
}

/// How sending ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Sent {
    /// `sent` or `failed`.
    pub result: &'static str,
}

/// Sends alerts. Cheap to clone.
#[derive(Clone)]
pub struct Alerts {
    webhook: Option<Arc<Webhook>>,
    sent: Family<Sent, Counter>,
}

struct Webhook {
    address: Uri,
    client: WebClient<String>,
    timeout: Duration,
    retry: retry::Policy,
}

impl Alerts {
    /// Sends to the webhook that is configured, if one is.
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

    /// Makes the numbers visible.
    pub fn register(&self, registry: &mut Registry) {
        registry.add(&metric::ALERTS, self.sent.clone());
    }

    /// Sends a line of text; that it could not be sent is logged and counted.
    pub async fn send(&self, text: &str) {
        let Some(webhook) = &self.webhook else {
            return;
        };
        let result = match webhook.send(text).await {
            Ok(()) => "sent",
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "an alert reached nobody"
                );
                "failed"
            }
        };
        self.sent.get_or_create(&Sent { result }).inc();
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
