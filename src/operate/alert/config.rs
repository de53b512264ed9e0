//! `[alerts]`: recipients and channels of alerts about failed batch runs.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::mail::{mailbox, transport};
use crate::runtime::settings::{MILLISECOND, MINUTE, Names, SECOND, plain, settings};
use crate::runtime::{retry, web};

/// Addresses of e-mail: one text separated by commas, or a list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Names")]
pub struct Recipients(pub Vec<String>);

impl From<Names> for Recipients {
    fn from(names: Names) -> Self {
        Self(names.split().filter(|name| !name.is_empty()).collect())
    }
}

plain!(List: Recipients => |recipients| recipients.0.join(","));

settings! {
    /// `[alerts]`: recipients and channels of alerts about failed batch runs.
    AlertConfig in "alerts" {
        /// `https://…` or `http://…`: failures are posted there as `{"alert": "aggregation_failed", "text": "…"}`
        webhook_url: Option<SecretString> = None;
        /// How long one attempt to post may take, also to `slack_url`
        webhook_timeout: Duration = SECOND * 5, in MILLISECOND * 100..=MINUTE;
        /// A webhook of Slack, or of a service with the same format: failures are posted there as `{"text": "…"}`
        slack_url: Option<SecretString> = None;
        /// Mail server for failures: `smtps://USER:PASSWORD@HOST`, or `smtp://…?tls=required` for STARTTLS; both verify
        /// the certificate. Without TLS (`smtp://HOST`), a password is allowed only for a loopback address
        smtp_url: Option<SecretString> = None;
        /// How long one attempt to send an e-mail may take
        smtp_timeout: Duration = SECOND * 10, in MILLISECOND * 100..=MINUTE;
        /// Sender: `firstcome@example.com` or `Name <firstcome@example.com>`
        mail_from: Option<String> = None;
        /// Recipients, separated by commas. If the server refuses one of them, none of them gets the message
        mail_to: Recipients = Recipients::default();
        /// Attempts over each channel before an alert is dropped
        attempts_max: u32 = 6, in 1..=20;
        /// Wait after the first attempt; it doubles from there, with full jitter. At most `retry_max`
        retry_initial: Duration = MILLISECOND * 200;
        /// Longest wait between attempts
        retry_max: Duration = SECOND * 5, in ..=MINUTE;
    }
}

impl AlertConfig {
    /// How failed attempts are retried.
    pub(super) const fn retry(&self) -> retry::Policy {
        retry::Policy {
            initial: self.retry_initial,
            max: self.retry_max,
            multiplier: 2.0,
            attempts_max: self.attempts_max,
        }
    }

    /// Checks the rules that involve several settings.
    pub fn check(&self, require: &mut impl FnMut(bool, &str)) {
        let is_web = |url: &Option<SecretString>| {
            let url = url.as_ref().map(ExposeSecret::expose_secret);
            url.is_none_or(|url| web::address(url).is_some())
        };
        require(
            is_web(&self.webhook_url),
            "alerts.webhook_url: must begin with https:// or http://",
        );
        require(
            is_web(&self.slack_url),
            "alerts.slack_url: must begin with https:// or http://",
        );
        require(
            !self.retry_initial.is_zero() && self.retry_initial <= self.retry_max,
            "alerts.retry_initial: must be above zero and at most alerts.retry_max",
        );
        self.check_mail(require);
    }

    fn check_mail(&self, require: &mut impl FnMut(bool, &str)) {
        if let Some(url) = &self.smtp_url
            && let Err(error) = transport(url, self.smtp_timeout)
        {
            require(false, &format!("alerts.smtp_url: {error}"));
        }
        if let Some(from) = &self.mail_from
            && let Err(error) = mailbox(from)
        {
            require(false, &format!("alerts.mail_from: {error}"));
        }
        for error in self.mail_to.0.iter().filter_map(|to| mailbox(to).err()) {
            require(false, &format!("alerts.mail_to: {error}"));
        }
        let is_on = self.smtp_url.is_some();
        require(
            !is_on || self.mail_from.is_some(),
            "alerts.mail_from: is needed with alerts.smtp_url",
        );
        require(
            !is_on || !self.mail_to.0.is_empty(),
            "alerts.mail_to: is needed with alerts.smtp_url",
        );
        require(
            is_on || self.mail_from.is_none(),
            "alerts.mail_from: is used only with alerts.smtp_url",
        );
        require(
            is_on || self.mail_to.0.is_empty(),
            "alerts.mail_to: is used only with alerts.smtp_url",
        );
    }
}
