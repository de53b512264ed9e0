//! Authentication by bearer tokens: verifies JSON Web Tokens (RFC 7519) by pinned keys and
//! algorithms, and reads their subject and scopes. It never decides what somebody may do, never
//! issues a token, and never lets one, or a part of one, reach the log.
//!
//! What it keeps to is RFC 8725, *JSON Web Token Best Current Practices*: a key has one algorithm,
//! issuer and audience are always required, its type is checked, and nothing in a token says where keys are found.

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
pub use refresh::{Pace, Refreshed};
pub use scope::{
    AccountManage, AuditRead, CampaignRead, CampaignWrite, CouponRedeem, DeadletterReplay, Needs,
    PiiRead, Scope, Scopes, StatsRead, TestRun,
};
pub use source::{Place, Source, SourceError, trust};
pub use types::TokenTypes;

use self::claims::Claims;
use crate::domain::UserId;
use crate::runtime::clock::Clock;

/// Why a token is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is not in the form of one, or has a claim that is not in its form.
    #[error("read the token: it is malformed")]
    Malformed,
    /// It was made for something else.
    #[error("read the token: its type is not accepted")]
    Type,
    /// Its algorithm is not configured.
    #[error("read the token: its algorithm is not accepted")]
    Algorithm,
    /// No key is known by its name, or none that fits its algorithm.
    #[error("find the token's key: there is none")]
    UnknownKey,
    /// It was not signed by the key it names.
    #[error("verify the token: its signature is wrong")]
    Signature,
    /// Its issuer is another.
    #[error("verify the token: its issuer is not the one configured")]
    Issuer,
    /// Its audience is another.
    #[error("verify the token: its audience is another")]
    Audience,
    /// Its time is over.
    #[error("verify the token: it has expired")]
    Expired,
    /// Its time has not come.
    #[error("verify the token: it is not valid yet")]
    NotYetValid,
    /// Its subject is missing, or cannot be anybody.
    #[error("verify the token: its subject cannot be used")]
    Subject,
}

impl TokenError {
    /// The word for it, in metrics and security events.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Type => "type",
            Self::Algorithm => "algorithm",
            Self::UnknownKey => "unknown_key",
            Self::Signature => "signature",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::Subject => "subject",
        }
    }
}

/// The claims of a valid token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Its subject as it stands there: at most 255 bytes, no control characters.
    pub subject: String,
    /// The user, where the subject is a user id.
    pub user: Option<UserId>,
    /// What it may do as an admin.
    pub scopes: Scopes,
}

/// What tokens must say.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Required issuer.
    pub issuer: String,
    /// Whom they must be meant for.
    pub audience: String,
    /// The algorithms that are accepted.
    pub algorithms: Vec<Algorithm>,
    /// The types that are accepted.
    pub types: TokenTypes,
    /// How far the issuer's clock may be off.
    pub clock_skew: Duration,
}

/// Where keys are.
pub enum Keys {
    /// Here, and they stay as they are.
    Fixed(Arc<KeySet>),
    /// Elsewhere, and they change.
    Refreshed(Refreshed),
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

    /// How tokens fare here.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// What the token says, if it is to be believed. Where no key is known by its name the keys are
    /// fetched again first, at most as often as [`Pace::refresh_min`] says.
    pub async fn verify(&self, token: &str) -> Result<Verified, TokenError> {
        let verified = self.examine(token).await;
        if let Err(error) = verified {
            self.metrics.refuse(error);
        }
        verified
    }

    async fn examine(&self, token: &str) -> Result<Verified, TokenError> {
        let header = decode_header(token).map_err(|_| TokenError::Malformed)?;
        // RFC 7515, 4.1.11: who does not understand what is critical must refuse.
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
                let known = self.verify_by(&refreshed.now(), name, algorithm, token);
                if known != Err(TokenError::UnknownKey) {
                    return known;
                }
                match refreshed.anew().await {
                    Some(keys) => self.verify_by(&keys, name, algorithm, token),
                    None => known,
                }
            }
        }
    }

    /// The algorithm a token asks for, if it is one of those configured.
    fn accepted(&self, asked: Known) -> Result<Algorithm, TokenError> {
        let accepted = self.rules.algorithms.iter();
        accepted
            .copied()
            .find(|accepted| Known::from(*accepted) == asked)
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
        // The library reads the machine's clock; times are compared below, by ours.
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
