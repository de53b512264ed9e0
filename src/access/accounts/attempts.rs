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

use super::concurrent::{Concurrent, Name, Place};
use super::{AccountError, AccountsConfig};
use crate::access::limits::network;
use crate::parts::gate::{Bucket, Digest, LoginBounds, LoginEnd, LoginTry, ScriptGate, Taken};
use crate::runtime::telemetry::cause;

/// `Retry-After` if too many are in progress: about as long as a hash and its queue take.
const CONCURRENT_WAIT: Duration = Duration::from_secs(1);

/// Counts log-ins that fail.
pub(super) struct Attempts {
    failures: Arc<ScriptGate>,
    bounds: LoginBounds,
    /// Failures from one address; none: not limited.
    address: Option<Bucket>,
    /// Log-ins by one login name, right and wrong, from known addresses, and as many from others; none: not limited.
    name: Option<Bucket>,
    concurrent: Concurrent,
}

/// A log-in that is being tried.
pub(super) struct Attempt<'a> {
    attempts: &'a Attempts,
    name: Digest,
    address: String,
    tried: LoginTry,
    /// None: it is refused.
    _place: Option<Place>,
}

impl Attempts {
    pub fn new(failures: Arc<ScriptGate>, config: &AccountsConfig) -> Self {
        Self {
            failures,
            bounds: config.login_bounds(),
            address: config.login_rate_address.map(Into::into),
            name: config.login_rate_name.map(Into::into),
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
        let address = name_of(address);
        let tried = self.failures.try_login(name, &address, &self.bounds);
        let tried = tried.await?;
        if let LoginTry::Wait(wait) = tried {
            return Err(AccountError::Throttled(wait, "login_name"));
        }
        let concurrent = Name {
            digest: name,
            is_known: tried == LoginTry::Known,
        };
        let (place, limit) = match self.concurrent.take(concurrent, &address) {
            Ok(place) => (Some(place), None),
            Err(limit) => (None, Some(limit)),
        };
        let attempt = Attempt {
            attempts: self,
            name,
            address,
            tried,
            _place: place,
        };
        if let Some(limit) = limit {
            attempt.forget_name(LoginEnd::Undecided).await?;
            return Err(AccountError::Throttled(CONCURRENT_WAIT, limit));
        }
        if tried == LoginTry::Unknown
            && let Some(wait) = self.take_of_address(&attempt.address).await?
        {
            attempt.forget_name(LoginEnd::Undecided).await?;
            return Err(AccountError::Throttled(wait, "login_address"));
        }
        if let Some(wait) = attempt.take_of_name().await? {
            attempt.end(LoginEnd::Undecided).await;
            return Err(AccountError::Throttled(wait, "login_rate"));
        }
        Ok(attempt)
    }

    /// Counts a failure of an address without a login name; an error: the address failed too often.
    pub async fn fail_from(&self, address: Option<IpAddr>) -> Result<(), AccountError> {
        match self.take_of_address(&name_of(address)).await? {
            None => Ok(()),
            Some(wait) => Err(AccountError::Throttled(wait, "login_address")),
        }
    }

    /// Counts a failure of an address: how long to wait, if it failed too often.
    async fn take_of_address(&self, address: &str) -> Result<Option<Duration>, AccountError> {
        match self.address {
            Some(bucket) => self.take(&bucket_of(address), bucket).await,
            None => Ok(None),
        }
    }

    async fn take(&self, name: &str, bucket: Bucket) -> Result<Option<Duration>, AccountError> {
        Ok(match self.failures.take(name, bucket).await? {
            Taken::Token { .. } => None,
            Taken::Nothing { next_in, .. } => Some(next_in),
        })
    }
}

/// The name of an address in the counters.
fn name_of(address: Option<IpAddr>) -> String {
    address.map_or_else(|| "unknown".to_owned(), network)
}

fn bucket_of(address: &str) -> String {
    format!("login_address:{address}")
}

impl Attempt<'_> {
    /// Uncounts the attempt: its password was correct, or was not checked.
    pub async fn end(&self, end: LoginEnd) {
        let ended = async {
            self.forget_name(end).await?;
            self.put_back_of_address().await
        };
        if let Err(error) = ended.await {
            tracing::debug!(error = cause(&error), "cannot uncount a log-in");
        }
    }

    async fn forget_name(&self, end: LoginEnd) -> Result<(), AccountError> {
        let Attempts {
            failures, bounds, ..
        } = self.attempts;
        let how = (self.tried, end);
        let ended = failures.end_login(self.name, &self.address, how, bounds);
        Ok(ended.await?)
    }

    /// Counts the attempt of its login name: how long to wait, if there were too many. It stays counted, because each
    /// attempt costs a hash.
    async fn take_of_name(&self) -> Result<Option<Duration>, AccountError> {
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

    async fn put_back_of_address(&self) -> Result<(), AccountError> {
        match (self.attempts.address, self.tried) {
            (Some(bucket), LoginTry::Unknown) => {
                let name = bucket_of(&self.address);
                Ok(self.attempts.failures.put_back(&name, bucket).await?)
            }
            _ => Ok(()),
        }
    }
}
