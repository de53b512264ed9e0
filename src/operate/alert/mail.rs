//! Sends an alert by e-mail, over SMTP. Each message has a connection of its own.

use std::time::Duration;

use lettre::message::header::ContentType;
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp;
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use secrecy::{ExposeSecret, SecretString};
use url::{Host, Url};

use super::{Alert, AlertKind};
use crate::runtime::retry::RetryDecision;

type Transport = AsyncSmtpTransport<Tokio1Executor>;

/// An alert cannot be sent by e-mail.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// The URL is invalid.
    #[error("the URL of the SMTP server {0}")]
    Address(&'static str),
    /// An address is invalid.
    #[error("parse the address {0:?}")]
    Mailbox(String, #[source] lettre::address::AddressError),
    /// There is no sender.
    #[error("there is no sender")]
    NoSender,
    /// The message cannot be built.
    #[error("write the message")]
    Message(#[source] lettre::error::Error),
    /// The server refused the message, or is unreachable.
    #[error("speak to the SMTP server")]
    Smtp(#[source] smtp::Error),
    /// The server did not take the message in time.
    #[error("wait for the SMTP server")]
    Late,
}

impl MailError {
    /// Whether another attempt may succeed.
    pub(super) fn verdict(&self) -> RetryDecision {
        match self {
            Self::Late => RetryDecision::Again,
            Self::Smtp(error) => {
                RetryDecision::again_if(!error.is_permanent() && !error.is_client())
            }
            Self::Address(_) | Self::Mailbox(..) | Self::NoSender | Self::Message(_) => {
                RetryDecision::GiveUp
            }
        }
    }
}

/// Sends messages to the configured recipients.
pub(super) struct Mailer {
    transport: Transport,
    from: Mailbox,
    to: Vec<Mailbox>,
    timeout: Duration,
}

impl Mailer {
    pub(super) fn new(
        url: &SecretString,
        from: Option<&str>,
        to: &[String],
        timeout: Duration,
    ) -> Result<Self, MailError> {
        let to = to.iter().map(|one| mailbox(one));
        Ok(Self {
            transport: transport(url, timeout)?,
            from: mailbox(from.ok_or(MailError::NoSender)?)?,
            to: to.collect::<Result<_, _>>()?,
            timeout,
        })
    }

    pub(super) fn message(&self, alert: &Alert) -> Result<Message, MailError> {
        let subject = match alert.kind {
            AlertKind::AggregationFailed => "firstcome: the aggregation of a day failed",
            AlertKind::AggregationAbandoned => "firstcome: an aggregation run was abandoned",
        };
        let message = Message::builder()
            .from(self.from.clone())
            .subject(subject)
            .message_id(None)
            .header(ContentType::TEXT_PLAIN);
        let to = self.to.iter().cloned();
        let message = to.fold(message, lettre::message::MessageBuilder::to);
        message
            .body(format!("{}\n", alert.text))
            .map_err(MailError::Message)
    }

    /// Sends once, to all recipients or to none.
    pub(super) async fn send(&self, message: Message) -> Result<(), MailError> {
        let sent = tokio::time::timeout(self.timeout, self.transport.send(message)).await;
        sent.map_err(|_| MailError::Late)?
            .map_err(MailError::Smtp)?;
        Ok(())
    }
}

/// Parses an address, with or without a name.
pub(super) fn mailbox(address: &str) -> Result<Mailbox, MailError> {
    let mailbox = address.parse();
    mailbox.map_err(|error| MailError::Mailbox(address.to_owned(), error))
}

/// What sends to this server. The errors do not repeat the URL, which has a password.
pub(super) fn transport(url: &SecretString, timeout: Duration) -> Result<Transport, MailError> {
    let text = url.expose_secret();
    let wrong = MailError::Address("must be smtp:// or smtps://, [USER:PASSWORD@]HOST[:PORT]");
    let Ok(url) = text.parse::<Url>() else {
        return Err(wrong);
    };
    if url.query_pairs().any(|(name, _)| name != "tls") {
        return Err(MailError::Address("has no parameter but tls"));
    }
    if !url.username().is_empty() && url.password().is_none() {
        return Err(MailError::Address("has a user without a password"));
    }
    let is_required = url.query_pairs().any(|(_, value)| value == "required");
    let is_encrypted = url.scheme() == "smtps" || is_required;
    if url.password().is_some() && !is_encrypted && !is_loopback(&url) {
        return Err(MailError::Address(
            "sends a password without TLS: use smtps://, or smtp:// with ?tls=required",
        ));
    }
    let builder = Transport::from_url(text).map_err(|_| wrong)?;
    Ok(builder.timeout(Some(timeout)).build())
}

/// Hosts of `smtp://` are texts to the parser, addresses as well.
fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => {
            name == "localhost"
                || name
                    .parse::<std::net::IpAddr>()
                    .is_ok_and(|address| address.is_loopback())
        }
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
