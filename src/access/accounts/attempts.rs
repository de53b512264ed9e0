//! Limits of failed log-ins. An attempt counts as a failure when it begins, and is uncounted if its password is correct. A
//! stranger cannot lock the owner out: from an address that the owner used recently a correct password is accepted,
//! whatever others try elsewhere. While failures cannot be counted, nobody logs in, because passwords could be guessed
//! without limit.
//!
//! Each password costs a hash, a correct one too. So one login name has a rate of log-ins, whatever their outcome, and few
//! log-ins of one name or from one address are in progress at once. Known addresses of a name have limits of their own.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::concurrent::{Concurrent, LoginPermit, Name};
use super::{AccountError, AccountsConfig};
use crate::access::limits::{Rate, network};
use crate::domain::LoginName;
use crate::parts::gate::{
    Bucket, Digest, LoginBounds, LoginEnd, LoginTry, ScriptGate, TokenResult,
};
use crate::runtime::telemetry::cause;

/// `Retry-After` if too many log-ins are in progress: about the time of a hash and its queue.
const CONCURRENT_WAIT: Duration = Duration::from_secs(1);

/// Messages to the owner of one login name, for each purpose.
const MESSAGES: Rate = Rate {
    requests: 5,
    period: Duration::from_secs(3_600),
};

/// Counts failed log-ins.
pub(super) struct Attempts {
    failures: Arc<ScriptGate>,
    bounds: LoginBounds,
    /// Failures from one address; none: not limited.
    address: Option<Bucket>,
    /// Log-ins by one login name, successful or not: from known addresses, and the same number from others; none: not
    /// limited.
    name: Option<Bucket>,
    /// Sign-ups and requests for a new password from one address; none: not limited.
    sign_up: Option<Bucket>,
    concurrent: Concurrent,
}

/// A log-in in progress.
pub(super) struct Attempt<'a> {
    attempts: &'a Attempts,
    name: Digest,
    address: String,
    tried: LoginTry,
    /// None: it is refused.
    _permit: Option<LoginPermit>,
}

impl Attempts {
    pub fn new(failures: Arc<ScriptGate>, config: &AccountsConfig) -> Self {
        Self {
            failures,
            bounds: config.login_bounds(),
            address: config.login_rate_address.map(Into::into),
            name: config.login_rate_name.map(Into::into),
            sign_up: config.sign_up_rate_address.map(Into::into),
            concurrent: Concurrent::new(config),
        }
    }

    /// Begins a log-in, unless it must wait.
    pub async fn begin(
        &self,
        login: &str,
        address: Option<IpAddr>,
    ) -> Result<Attempt<'_>, AccountError> {
        // A digest, because the name may be long, and is personal.
        let name = Digest::of(&login.to_lowercase());
        let address = address_key(address);
        let tried = self.failures.try_login(name, &address, &self.bounds);
        let tried = tried.await?;
        if let LoginTry::Wait(wait) = tried {
            return Err(AccountError::Throttled(wait, "login_name"));
        }
        let concurrent = Name {
            digest: name,
            is_known: tried == LoginTry::Known,
        };
        let (permit, limit) = match self.concurrent.acquire(concurrent, &address) {
            Ok(permit) => (Some(permit), None),
            Err(limit) => (None, Some(limit)),
        };
        let attempt = Attempt {
            attempts: self,
            name,
            address,
            tried,
            _permit: permit,
        };
        if let Some(limit) = limit {
            attempt.uncount_name(LoginEnd::Undecided).await?;
            return Err(AccountError::Throttled(CONCURRENT_WAIT, limit));
        }
        if tried == LoginTry::Unknown
            && let Some(wait) = self.count_address(&attempt.address).await?
        {
            attempt.uncount_name(LoginEnd::Undecided).await?;
            return Err(AccountError::Throttled(wait, "login_address"));
        }
        if let Some(wait) = attempt.count_name().await? {
            attempt.end(LoginEnd::Undecided).await;
            return Err(AccountError::Throttled(wait, "login_rate"));
        }
        Ok(attempt)
    }

    /// Counts a failure of an address without a login name; an error: the address failed too often.
    pub async fn fail_from(&self, address: Option<IpAddr>) -> Result<(), AccountError> {
        match self.count_address(&address_key(address)).await? {
            None => Ok(()),
            Some(wait) => Err(AccountError::Throttled(wait, "login_address")),
        }
    }

    /// Counts a failure of an address. Returns how long to wait, if it failed too often.
    async fn count_address(&self, address: &str) -> Result<Option<Duration>, AccountError> {
        match self.address {
            Some(bucket) => self.take(&address_bucket(address), bucket).await,
            None => Ok(None),
        }
    }

    /// Counts a message to the owner of a login name about a sign-up, and returns whether it may be sent.
    pub async fn may_mail(&self, login: &LoginName) -> Result<bool, AccountError> {
        let wait = self.count_message("sign_up_name", login.as_str());
        Ok(wait.await?.is_none())
    }

    /// A permit to hash the new password of whoever has a token; an error: too many are in progress for the login name, or
    /// from the address. They do not block log-ins with the name.
    pub fn permit_hash(
        &self,
        login: &LoginName,
        address: Option<IpAddr>,
    ) -> Result<LoginPermit, AccountError> {
        let name = Name {
            digest: Digest::of(&format!("token:{}", login.as_str().to_lowercase())),
            is_known: false,
        };
        let permit = self.concurrent.acquire(name, &address_key(address));
        permit.map_err(|limit| AccountError::Throttled(CONCURRENT_WAIT, limit))
    }

    /// Counts a message to the owner of a login name. Returns how long to wait, if there were too many.
    async fn count_message(
        &self,
        purpose: &str,
        login: &str,
    ) -> Result<Option<Duration>, AccountError> {
        let name = format!("{purpose}:{}", Digest::of(&login.to_lowercase()));
        self.take(&name, MESSAGES.into()).await
    }

    /// Counts a sign-up or a request for a new password; an error: there were too many from the address, or for the
    /// login name.
    pub async fn count_request(
        &self,
        address: Option<IpAddr>,
        reset: Option<&str>,
    ) -> Result<(), AccountError> {
        if let Some(bucket) = self.sign_up {
            let name = format!("sign_up_address:{}", address_key(address));
            if let Some(wait) = self.take(&name, bucket).await? {
                return Err(AccountError::Throttled(wait, "sign_up_address"));
            }
        }
        if let Some(login) = reset
            && let Some(wait) = self.count_message("password_reset", login).await?
        {
            return Err(AccountError::Throttled(wait, "password_reset"));
        }
        Ok(())
    }

    async fn take(&self, name: &str, bucket: Bucket) -> Result<Option<Duration>, AccountError> {
        Ok(match self.failures.take(name, bucket).await? {
            TokenResult::Token { .. } => None,
            TokenResult::Nothing { next_in, .. } => Some(next_in),
        })
    }
}

/// The key of an address in the counters.
fn address_key(address: Option<IpAddr>) -> String {
    address.map_or_else(|| "unknown".to_owned(), network)
}

fn address_bucket(address: &str) -> String {
    format!("login_address:{address}")
}

impl Attempt<'_> {
    /// Uncounts the attempt: its password was correct, or was not checked.
    pub async fn end(&self, end: LoginEnd) {
        let ended = async {
            self.uncount_name(end).await?;
            self.uncount_address().await
        };
        if let Err(error) = ended.await {
            tracing::debug!(error = cause(&error), "cannot uncount a log-in");
        }
    }

    async fn uncount_name(&self, end: LoginEnd) -> Result<(), AccountError> {
        let Attempts {
            failures, bounds, ..
        } = self.attempts;
        let how = (self.tried, end);
        let ended = failures.end_login(self.name, &self.address, how, bounds);
        Ok(ended.await?)
    }

    /// Counts an attempt of the login name. Returns how long to wait, if there were too many. A success is not uncounted,
    /// because each attempt costs a hash.
    async fn count_name(&self) -> Result<Option<Duration>, AccountError> {
        let Some(bucket) = self.attempts.name else {
            return Ok(None);
        };
        let from = match self.tried {
            LoginTry::Known => "known",
            LoginTry::Unknown | LoginTry::Wait(_) => "unknown",
        };
        let name = format!("login_rate:{from}:{}", self.name);
        self.attempts.take(&name, bucket).await
    }

    async fn uncount_address(&self) -> Result<(), AccountError> {
        match (self.attempts.address, self.tried) {
            (Some(bucket), LoginTry::Unknown) => {
                let name = address_bucket(&self.address);
                Ok(self.attempts.failures.put_back(&name, bucket).await?)
            }
            _ => Ok(()),
        }
    }
}
