//! Challenge tokens: proof that a user has passed a captcha, a puzzle or a waiting room, for one campaign and a short
//! time. They are signed with a shared secret and verified without a request. A token does not authenticate: it names a
//! user, and does not prove that the bearer is that user.
//!
//! A token is text, `fc1.CAMPAIGN.USER.EXPIRES.NONCE.SIGNATURE`: see `docs/authentication.md`.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use ring::hmac;
use serde::Deserialize;

use crate::domain::{CampaignId, Timestamp, UserId};
use crate::parts::gate::hex_bytes;
use crate::runtime::settings::plain;

const VERSION: &str = "fc1";
/// Length of the longest token that is read.
const TOKEN_BYTES_MAX: usize = 256;
/// Longest nonce.
const NONCE_BYTES_MAX: usize = 64;
const SIGNATURE_BYTES: usize = 32;
/// Shortest secret: as long as a signature.
const SECRET_BYTES_MIN: usize = 32;

/// The campaigns that require a token.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Campaigns")]
pub enum Required {
    /// None.
    #[default]
    Off,
    /// All of them.
    All,
    /// These.
    Only(BTreeSet<CampaignId>),
}

/// How they are configured: `off`, `all`, `3,17`, or a list of numbers.
#[derive(Deserialize)]
#[serde(untagged)]
enum Campaigns {
    Text(String),
    List(Vec<u32>),
}

impl TryFrom<Campaigns> for Required {
    type Error = String;

    fn try_from(campaigns: Campaigns) -> Result<Self, String> {
        match campaigns {
            Campaigns::Text(text) => Self::parse(&text),
            Campaigns::List(numbers) => {
                let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
                Self::parse(&numbers.join(","))
            }
        }
    }
}

plain!(List: Required => ToString::to_string);

impl Required {
    /// Reads `off`, `all`, or numbers of campaigns with commas between them.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.trim() {
            "off" => return Ok(Self::Off),
            "all" => return Ok(Self::All),
            _ => {}
        }
        let number = |word: &str| word.trim().parse().ok().filter(|number: &i64| *number > 0);
        let campaigns = text.split(',').map(number).map(|id| id.map(CampaignId));
        let campaigns: Option<BTreeSet<CampaignId>> = campaigns.collect();
        campaigns
            .map(Self::Only)
            .ok_or_else(|| "must be off, all, or numbers of campaigns: 3,17".to_owned())
    }
}

impl fmt::Display for Required {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => formatter.write_str("off"),
            Self::All => formatter.write_str("all"),
            Self::Only(campaigns) => {
                let numbers: Vec<String> = campaigns.iter().map(ToString::to_string).collect();
                formatter.write_str(&numbers.join(","))
            }
        }
    }
}

/// Why a secret is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must have at least {SECRET_BYTES_MIN} bytes")]
pub struct WeakSecret;

/// Why a token is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChallengeError {
    /// There is none, and the campaign requires one.
    #[error("the challenge token is missing")]
    Missing,
    /// It does not have the form of a token.
    #[error("the challenge token is malformed")]
    Malformed,
    /// It is not signed with one of the secrets.
    #[error("the challenge token's signature is wrong")]
    Signature,
    /// It is for another campaign.
    #[error("the challenge token is for another campaign")]
    Campaign,
    /// It is for another user.
    #[error("the challenge token is for another user")]
    User,
    /// It has expired.
    #[error("the challenge token has expired")]
    Expired,
    /// It is valid for longer than a token may be.
    #[error("the challenge token is valid for too long")]
    TooLong,
}

/// Verifies tokens.
#[derive(Clone, Debug, Default)]
pub struct Challenge {
    required: Required,
    keys: Vec<hmac::Key>,
    lifetime_max: Duration,
}

impl Challenge {
    /// Accepts tokens that are signed with one of these secrets and valid for at most `lifetime_max`.
    pub fn new<'a>(
        required: Required,
        secrets: impl IntoIterator<Item = &'a str>,
        lifetime_max: Duration,
    ) -> Result<Self, WeakSecret> {
        let key = |secret: &str| {
            let is_strong = secret.len() >= SECRET_BYTES_MIN;
            is_strong
                .then(|| hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()))
                .ok_or(WeakSecret)
        };
        Ok(Self {
            required,
            keys: secrets.into_iter().map(key).collect::<Result<_, _>>()?,
            lifetime_max,
        })
    }

    /// Whether a campaign requires a token.
    #[must_use]
    pub fn is_required(&self, campaign: CampaignId) -> bool {
        match &self.required {
            Required::Off => false,
            Required::All => true,
            Required::Only(campaigns) => campaigns.contains(&campaign),
        }
    }

    /// Whether a user may take part in a campaign now, with this token.
    pub fn admit(
        &self,
        campaign: CampaignId,
        user: UserId,
        token: Option<&str>,
        now: Timestamp,
    ) -> Result<(), ChallengeError> {
        if !self.is_required(campaign) {
            return Ok(());
        }
        let token = token.ok_or(ChallengeError::Missing)?;
        self.verify(token, campaign, user, now)
    }

    /// The claims of a token count only if its signature is valid.
    fn verify(
        &self,
        token: &str,
        campaign: CampaignId,
        user: UserId,
        now: Timestamp,
    ) -> Result<(), ChallengeError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(ChallengeError::Malformed);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(ChallengeError::Malformed)?;
        let claims = Claims::parse(signed).ok_or(ChallengeError::Malformed)?;
        let signature = hex_bytes::<SIGNATURE_BYTES>(signature).ok_or(ChallengeError::Malformed)?;
        // In constant time, and with all keys: the time must not show which key signed.
        let matching = self
            .keys
            .iter()
            .filter(|key| hmac::verify(key, signed.as_bytes(), &signature).is_ok());
        if matching.count() == 0 {
            return Err(ChallengeError::Signature);
        }
        if claims.campaign != campaign {
            return Err(ChallengeError::Campaign);
        }
        if claims.user != user {
            return Err(ChallengeError::User);
        }
        let left = claims.expires - now.timestamp();
        if left <= 0 {
            return Err(ChallengeError::Expired);
        }
        let lifetime_max = i64::try_from(self.lifetime_max.as_secs()).unwrap_or(i64::MAX);
        if left > lifetime_max {
            return Err(ChallengeError::TooLong);
        }
        Ok(())
    }
}

/// The claims of a token.
struct Claims {
    campaign: CampaignId,
    user: UserId,
    /// Seconds since 1970.
    expires: i64,
}

impl Claims {
    fn parse(signed: &str) -> Option<Self> {
        let mut parts = signed.split('.');
        let version = parts.next()?;
        let campaign = number(parts.next()?)?;
        let user = number(parts.next()?)?;
        let expires = number(parts.next()?)?;
        let nonce = parts.next()?;
        let is_nonce = (1..=NONCE_BYTES_MAX).contains(&nonce.len())
            && nonce
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        let is_token = version == VERSION && is_nonce && parts.next().is_none();
        is_token.then_some(Self {
            campaign: CampaignId(campaign),
            user: UserId(user),
            expires,
        })
    }
}

/// Digits only, so that each number has one form.
fn number(text: &str) -> Option<i64> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    is_plain.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests;
