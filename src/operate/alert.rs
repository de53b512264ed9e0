//! Alerts people of failures, over each configured channel: a webhook, a Slack-compatible webhook, e-mail. Channels are
//! independent: a failed one does not stop the others. Nothing waits for an alert. Addresses of webhooks and the SMTP
//! server's URL are secrets, and are never logged.

mod config;
mod mail;
mod webhook;

use std::sync::Arc;

use futures_util::future::join_all;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

pub use self::config::{AlertConfig, Recipients};
use self::mail::{MailError, Mailer};
use self::webhook::{Format, Webhook, WebhookError};
use crate::domain::words::words;
use crate::runtime::metrics::{Labels, registers};
use crate::runtime::retry;
use crate::runtime::telemetry::cause;

words! {
    /// What happened.
    pub enum AlertKind {
        /// A run of the daily aggregation failed.
        AggregationFailed = "aggregation_failed",
        /// The replica of a run of the daily aggregation died, or lost its lease.
        AggregationAbandoned = "aggregation_abandoned",
    }
}

/// An alert.
#[derive(Clone, Debug)]
pub struct Alert {
    /// What happened.
    pub kind: AlertKind,
    /// A line of text for people.
    pub text: String,
}

/// Alerts cannot be sent with these settings.
#[derive(Debug, thiserror::Error)]
pub enum AlertError {
    /// The settings of a webhook are wrong.
    #[error("set up the webhook")]
    Webhook(#[source] WebhookError),
    /// The settings of e-mail are wrong.
    #[error("set up e-mail")]
    Mail(#[source] MailError),
}

/// Sends alerts. Cheap to clone.
#[derive(Clone)]
pub struct Alerts {
    channels: Arc<Vec<Channel>>,
    retry: retry::Policy,
    /// By channel, and by result: `sent` or `failed`.
    sent: Family<Labels<2>, Counter>,
}

enum Channel {
    Webhook(Webhook),
    Slack(Webhook),
    Mail(Mailer),
}

/// A channel did not take the alert.
#[derive(Debug, thiserror::Error)]
enum DeliveryError {
    #[error("post to the webhook")]
    Webhook(#[source] WebhookError),
    #[error("send the e-mail")]
    Mail(#[source] MailError),
}

registers!(pub Alerts: sent = ALERTS);

impl Alerts {
    /// Sends over the configured channels, if there are any.
    pub fn new(config: &AlertConfig) -> Result<Self, AlertError> {
        let mut channels = Vec::new();
        let webhook = |url, format| {
            Webhook::new(url, format, config.webhook_timeout).map_err(AlertError::Webhook)
        };
        if let Some(url) = &config.webhook_url {
            channels.push(Channel::Webhook(webhook(url, Format::Alert)?));
        }
        if let Some(url) = &config.slack_url {
            channels.push(Channel::Slack(webhook(url, Format::Slack)?));
        }
        if let Some(url) = &config.smtp_url {
            let from = config.mail_from.as_deref();
            let mailer = Mailer::new(url, from, &config.mail_to.0, config.smtp_timeout);
            channels.push(Channel::Mail(mailer.map_err(AlertError::Mail)?));
        }
        Ok(Self {
            channels: Arc::new(channels),
            retry: config.retry(),
            sent: Family::default(),
        })
    }

    /// Sends an alert over all channels at the same time. A failure is logged and counted.
    pub async fn send(&self, alert: &Alert) {
        let mut sending = Vec::with_capacity(self.channels.len());
        for channel in self.channels.iter() {
            sending.push(self.send_over(channel, alert));
        }
        join_all(sending).await;
    }

    async fn send_over(&self, channel: &Channel, alert: &Alert) {
        let name = channel.name();
        let result = match channel.deliver(&self.retry, alert).await {
            Ok(()) => "sent",
            Err(error) => {
                tracing::error!(
                    error = cause(&error),
                    alert.channel = name,
                    alert.kind = alert.kind.as_str(),
                    "an alert was not sent"
                );
                "failed"
            }
        };
        let labels = [("channel", name), ("result", result)];
        self.sent.get_or_create(&labels).inc();
    }
}

impl Channel {
    const fn name(&self) -> &'static str {
        match self {
            Self::Webhook(_) => "webhook",
            Self::Slack(_) => "slack",
            Self::Mail(_) => "mail",
        }
    }

    /// Each attempt has a time limit, and their number is limited.
    async fn deliver(&self, policy: &retry::Policy, alert: &Alert) -> Result<(), DeliveryError> {
        match self {
            Self::Webhook(webhook) | Self::Slack(webhook) => {
                let body = webhook.body(alert);
                retry::retry(policy, WebhookError::verdict, || webhook.post(body.clone()))
                    .await
                    .map_err(DeliveryError::Webhook)
            }
            Self::Mail(mailer) => {
                // The same message in each attempt, with one Message-ID.
                let message = mailer.message(alert).map_err(DeliveryError::Mail)?;
                retry::retry(policy, MailError::verdict, || mailer.send(message.clone()))
                    .await
                    .map_err(DeliveryError::Mail)
            }
        }
    }
}
