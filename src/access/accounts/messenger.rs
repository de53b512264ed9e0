//! Hands tokens to the program that sends them to the owners of login names, by e-mail for example: a JSON document to a web
//! address for each. Its background work also reads the account and stores the token. No response waits for that, so the
//! time of a response does not tell whether there is an account.

use std::sync::Arc;
use std::time::Duration;

use hyper::header::CONTENT_TYPE;
use hyper::{Request, StatusCode, Uri};
use secrecy::ExposeSecret;
use serde_json::json;
use tokio::sync::Semaphore;

use super::token::MailedToken;
use super::{AccountError, AccountsConfig};
use crate::domain::LoginName;
use crate::parts::store::{AccountToken, Store, StoreError, TokenPurpose};
use crate::runtime::retry::{self, RetryDecision};
use crate::runtime::supervisor::{Spawner, Stage};
use crate::runtime::telemetry::cause;
use crate::runtime::web::{self, WebClient};

/// Messages in progress; further requests get 503.
const MESSAGES_MAX: usize = 64;
/// How a message is retried.
const RETRY: retry::Policy = retry::Policy {
    initial: Duration::from_millis(500),
    max: Duration::from_secs(5),
    multiplier: 2.0,
    attempts_max: 4,
};

/// A message for the owner of a login name: a JSON document.
struct Message(String);

impl Message {
    /// A token, and how long it is valid.
    fn token(token: &AccountToken, mailed: &MailedToken, lasts: Duration) -> Self {
        let document = json!({
            "purpose": token.purpose.as_str(),
            "login": token.login.as_str(),
            "token": mailed.reveal(),
            "validSeconds": lasts.as_secs(),
        });
        Self(document.to_string())
    }

    /// Somebody tried to sign up with a login name that has an account.
    fn taken(login: &LoginName) -> Self {
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
    store: Store,
    /// Reads accounts, with a part of the store's connections.
    reads: Store,
    address: Uri,
    client: WebClient<String>,
    timeout: Duration,
    /// How long a token is valid.
    lasts: Duration,
    spawner: Spawner,
    places: Arc<Semaphore>,
}

impl Messenger {
    /// None: `accounts.verify_url` is not set.
    pub fn new(
        config: &AccountsConfig,
        (store, reads): (Store, Store),
        spawner: Spawner,
    ) -> Result<Option<Self>, rustls::Error> {
        let address = config.verify_url.as_ref();
        let Some(address) = address.and_then(|url| web::address(url.expose_secret())) else {
            return Ok(None);
        };
        Ok(Some(Self {
            store,
            reads,
            address,
            client: web::client(web::public_roots())?,
            timeout: config.verify_timeout,
            lasts: config.verify_max,
            spawner,
            places: Arc::new(Semaphore::new(MESSAGES_MAX)),
        }))
    }

    /// Sends a token to the owner of its login name, in the background: for a sign-up if no account has the login name, for
    /// a new password if one has it. An error: too many messages are in progress.
    pub fn request(&self, token: AccountToken) -> Result<(), AccountError> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place = place.map_err(|_| AccountError::Busy)?;
        let messenger = self.clone();
        self.spawner
            .detach("accounts.message", Stage::Admission, async move {
                match messenger.message_for(token).await {
                    Ok(Some(message)) => messenger.send(&message).await,
                    Ok(None) => {}
                    Err(error) => {
                        tracing::warn!(error = cause(&error), "a message was not prepared");
                    }
                }
                drop(place);
            });
        Ok(())
    }

    /// Stores the token and returns its message; none: there is no account for a new password, or it is disabled.
    async fn message_for(&self, mut token: AccountToken) -> Result<Option<Message>, StoreError> {
        let account = self.reads.account_by_login(&token.login).await?;
        match (token.purpose, account) {
            (TokenPurpose::SignUp, None) => {}
            (TokenPurpose::SignUp, Some(_)) => return Ok(Some(Message::taken(&token.login))),
            (TokenPurpose::PasswordReset, Some(account)) if !account.disabled => {
                token.account = Some(account.id);
            }
            (TokenPurpose::PasswordReset, Some(_) | None) => return Ok(None),
        }
        let mailed = MailedToken::generate();
        self.store
            .store_account_token(&mailed.digest(), &token, self.lasts)
            .await?;
        Ok(Some(Message::token(&token, &mailed, self.lasts)))
    }

    async fn send(&self, message: &Message) {
        let sent = retry::retry(&RETRY, classify, || self.post(message)).await;
        if let Err(error) = sent {
            tracing::error!(error = cause(&error), "a message was not handed over");
        }
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
