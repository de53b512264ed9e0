//! Hands tokens to the program that sends them to the owners of login names, by e-mail for example: a JSON document to a web
//! address for each. Nothing waits for it, so that the time of a response does not tell whether something was sent.

use std::sync::Arc;
use std::time::Duration;

use hyper::header::CONTENT_TYPE;
use hyper::{Request, StatusCode, Uri};
use secrecy::ExposeSecret;
use serde_json::json;
use tokio::sync::Semaphore;

use super::AccountsConfig;
use super::token::MailedToken;
use crate::domain::LoginName;
use crate::parts::store::AccountToken;
use crate::runtime::retry::{self, RetryDecision};
use crate::runtime::supervisor::{Spawner, Stage};
use crate::runtime::telemetry::cause;
use crate::runtime::web::{self, WebClient};

/// Messages on their way; more are dropped, and their users ask again.
const MESSAGES_MAX: usize = 64;
/// How a message is retried.
const RETRY: retry::Policy = retry::Policy {
    initial: Duration::from_millis(500),
    max: Duration::from_secs(5),
    multiplier: 2.0,
    attempts_max: 4,
};

/// A message for the owner of a login name: a JSON document.
#[derive(Clone)]
pub(super) struct Message(String);

impl Message {
    /// A token, and how long it is valid.
    pub fn token(token: &AccountToken, mailed: &MailedToken, lasts: Duration) -> Self {
        let document = json!({
            "purpose": token.purpose.as_str(),
            "login": token.login.as_str(),
            "token": mailed.reveal(),
            "validSeconds": lasts.as_secs(),
        });
        Self(document.to_string())
    }

    /// Somebody tried to sign up with a login name that has an account.
    pub fn taken(login: &LoginName) -> Self {
        Self(json!({ "purpose": "login_taken", "login": login.as_str() }).to_string())
    }
}

/// A message cannot be handed over.
#[derive(Debug, thiserror::Error)]
enum MessageError {
    #[error("reach accounts.verify_url")]
    Away(#[source] hyper_util::client::legacy::Error),
    #[error("wait for accounts.verify_url")]
    Late,
    #[error("accounts.verify_url answered {0}")]
    Refused(StatusCode),
    #[error("write the request")]
    Request(#[source] hyper::http::Error),
}

/// Sends messages.
#[derive(Clone)]
pub(super) struct Messenger {
    address: Uri,
    client: WebClient<String>,
    timeout: Duration,
    spawner: Spawner,
    places: Arc<Semaphore>,
}

impl Messenger {
    /// None: `accounts.verify_url` is not set.
    pub fn new(config: &AccountsConfig, spawner: Spawner) -> Result<Option<Self>, rustls::Error> {
        let address = config.verify_url.as_ref();
        let Some(address) = address.and_then(|url| web::address(url.expose_secret())) else {
            return Ok(None);
        };
        Ok(Some(Self {
            address,
            client: web::client(web::public_roots())?,
            timeout: config.verify_timeout,
            spawner,
            places: Arc::new(Semaphore::new(MESSAGES_MAX)),
        }))
    }

    pub fn send(&self, message: Message) {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return tracing::error!(
                "too many messages wait for accounts.verify_url: one is dropped"
            );
        };
        let messenger = self.clone();
        self.spawner
            .detach("accounts.message", Stage::Admission, async move {
                let sent = retry::retry(&RETRY, classify, || messenger.post(&message)).await;
                if let Err(error) = sent {
                    tracing::error!(error = cause(&error), "a message was not handed over");
                }
                drop(place);
            });
    }

    async fn post(&self, message: &Message) -> Result<(), MessageError> {
        let request = Request::post(self.address.clone())
            .header(CONTENT_TYPE, "application/json")
            .body(message.0.clone())
            .map_err(MessageError::Request)?;
        let answer = tokio::time::timeout(self.timeout, self.client.request(request)).await;
        let answer = answer.map_err(|_| MessageError::Late)?;
        let status = answer.map_err(MessageError::Away)?.status();
        if status.is_success() {
            Ok(())
        } else {
            Err(MessageError::Refused(status))
        }
    }
}

fn classify(error: &MessageError) -> RetryDecision {
    match error {
        MessageError::Away(_) | MessageError::Late => RetryDecision::Again,
        MessageError::Refused(status) => RetryDecision::again_if(
            status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS,
        ),
        MessageError::Request(_) => RetryDecision::GiveUp,
    }
}
