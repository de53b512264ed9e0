//! Authentication by bearer tokens: verifies JSON Web Tokens (RFC 7519) by pinned keys and
//! algorithms, and reads their subject and scopes. It never authorizes, never issues a token, and never writes any part
//! of a token to the log.
//!
//! It follows RFC 8725, *JSON Web Token Best Current Practices*: a key has one algorithm, issuer and audience are always
//! required, the type is checked, and a token cannot name the location of its key.

mod claims;
mod keys;
mod metrics;
mod refresh;
mod scope;
mod signature;
mod source;
mod types;

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::{Algorithm as Known, Validation, decode, decode_header};

pub use keys::{Algorithm, KeyError, KeySet};
pub use metrics::Metrics;
pub use refresh::{Pace, RefreshedKeys};
pub use scope::{
    AccountManage, AuditRead, CampaignRead, CampaignWrite, CouponRedeem, DeadletterReplay, Needs,
    PiiRead, Scope, Scopes, StatsRead, TestRun,
};
pub use source::{KeyLocation, Source, SourceError, trust};
pub use types::TokenTypes;

use self::claims::Claims;
use crate::domain::UserId;
use crate::domain::words::words;
use crate::runtime::clock::Clock;

words! {
    /// Why a token is rejected, by the word in metrics and security events.
    #[derive(thiserror::Error)]
    pub enum TokenError {
        /// The token, or one of its claims, is malformed.
        #[error("read the token: it is malformed")]
        Malformed = "malformed",
        /// It was issued for another purpose.
        #[error("read the token: its type is not accepted")]
        Type = "type",
        /// Its algorithm is not configured.
        #[error("read the token: its algorithm is not accepted")]
        Algorithm = "algorithm",
        /// There is no key with its name and algorithm.
        #[error("find the token's key: there is none")]
        UnknownKey = "unknown_key",
        /// Its key did not sign it.
        #[error("verify the token: its signature is wrong")]
        Signature = "signature",
        /// It has another issuer.
        #[error("verify the token: its issuer is not the one configured")]
        Issuer = "issuer",
        /// It has another audience.
        #[error("verify the token: its audience is another")]
        Audience = "audience",
        /// It has expired.
        #[error("verify the token: it has expired")]
        Expired = "expired",
        /// It is not valid yet.
        #[error("verify the token: it is not valid yet")]
        NotYetValid = "not_yet_valid",
        /// Its subject is missing or unusable.
        #[error("verify the token: its subject cannot be used")]
        Subject = "subject",
    }
}

/// The claims of a valid token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Its subject, unchanged: at most 255 bytes, no control characters.
    pub subject: String,
    /// The user, where the subject is a user id.
    pub user: Option<UserId>,
    /// What it may do as an admin.
    pub scopes: Scopes,
}

/// The required claims of tokens.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Required issuer.
    pub issuer: String,
    /// Required audience.
    pub audience: String,
    /// The algorithms that are accepted.
    pub algorithms: Vec<Algorithm>,
    /// The types that are accepted.
    pub types: TokenTypes,
    /// Tolerated difference from the issuer's clock.
    pub clock_skew: Duration,
}

/// The keys of tokens.
pub enum Keys {
    /// Fixed keys.
    Fixed(Arc<KeySet>),
    /// Keys that are fetched repeatedly.
    Refreshed(RefreshedKeys),
}

/// Verifies tokens.
pub struct Verifier {
    rules: Rules,
    keys: Keys,
    clock: Clock,
    metrics: Metrics,
}

impl Verifier {
    /// Verifies by these rules and keys.
    #[must_use]
    pub fn new(rules: Rules, keys: Keys, clock: Clock) -> Self {
        signature::install();
        let metrics = match &keys {
            Keys::Fixed(_) => Metrics::default(),
            Keys::Refreshed(refreshed) => refreshed.metrics().clone(),
        };
        Self {
            rules,
            keys,
            clock,
            metrics,
        }
    }

    /// Metrics of the verification.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The claims of the token, if it is valid. If its key is unknown, the keys are fetched again first, at most once in
    /// [`Pace::refresh_min`].
    pub async fn verify(&self, token: &str) -> Result<Verified, TokenError> {
        let verified = self.examine(token).await;
        if let Err(error) = verified {
            self.metrics.refuse(error);
        }
        verified
    }

    async fn examine(&self, token: &str) -> Result<Verified, TokenError> {
        let header = decode_header(token).map_err(|_| TokenError::Malformed)?;
        // RFC 7515, 4.1.11: a token with a critical header that is not understood must be rejected.
        if header.crit.is_some() {
            return Err(TokenError::Malformed);
        }
        if !self.rules.types.accept(header.typ.as_deref()) {
            return Err(TokenError::Type);
        }
        let algorithm = self.accepted(header.alg)?;
        let name = header.kid.as_deref();
        match &self.keys {
            Keys::Fixed(keys) => self.verify_by(keys, name, algorithm, token),
            Keys::Refreshed(refreshed) => {
                let known = self.verify_by(&refreshed.current(), name, algorithm, token);
                if known != Err(TokenError::UnknownKey) {
                    return known;
                }
                match refreshed.refetch().await {
                    Some(keys) => self.verify_by(&keys, name, algorithm, token),
                    None => known,
                }
            }
        }
    }

    /// The algorithm of a token, if it is one of the configured ones.
    fn accepted(&self, named: Known) -> Result<Algorithm, TokenError> {
        let accepted = self.rules.algorithms.iter();
        accepted
            .copied()
            .find(|accepted| Known::from(*accepted) == named)
            .ok_or(TokenError::Algorithm)
    }

    fn verify_by(
        &self,
        keys: &KeySet,
        name: Option<&str>,
        algorithm: Algorithm,
        token: &str,
    ) -> Result<Verified, TokenError> {
        let key = keys.find(name, algorithm).ok_or(TokenError::UnknownKey)?;
        let mut validation = Validation::new(algorithm.into());
        // The library would use the machine's clock; times are compared below, by the service's.
        validation.validate_exp = false;
        validation.set_required_spec_claims(&["aud"]);
        validation.set_audience(&[&self.rules.audience]);
        let token = decode::<Claims>(token, key, &validation).map_err(|error| reason(&error))?;
        token.claims.issued_by(&self.rules.issuer)?;
        let now = u64::try_from(self.clock.now_millis()).unwrap_or(0);
        token
            .claims
            .in_time(Duration::from_millis(now), self.rules.clock_skew)?;
        token.claims.verified()
    }
}

fn reason(error: &jsonwebtoken::errors::Error) -> TokenError {
    use jsonwebtoken::errors::ErrorKind;
    match error.kind() {
        ErrorKind::InvalidSignature => TokenError::Signature,
        ErrorKind::InvalidAlgorithm => TokenError::Algorithm,
        ErrorKind::InvalidAudience => TokenError::Audience,
        ErrorKind::MissingRequiredClaim(claim) if claim == "aud" => TokenError::Audience,
        _ => TokenError::Malformed,
    }
}
