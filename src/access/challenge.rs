//! Challenge tokens: proof from a puzzle, a captcha or a waiting room that a user has passed it, for one campaign and
//! a short time. They are signed with a shared secret and verified without a request. A token does not authenticate:
//! it is about a user, and no proof of being that user.
//!
//! A token is text, `fc1.CAMPAIGN.USER.EXPIRES.NONCE.SIGNATURE`: see `docs/authentication.md`.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use ring::hmac;

use crate::domain::{CampaignId, Instant, UserId};

/// The one version there is.
const VERSION: &str = "fc1";
/// Length of the longest token that is read.
const TOKEN_BYTES_MAX: usize = 256;
/// Longest nonce.
const NONCE_BYTES_MAX: usize = 64;
/// Bytes of a signature.
const SIGNATURE_BYTES: usize = 32;
/// Shortest secret: as long as a signature.
const SECRET_BYTES_MIN: usize = 32;

/// Which campaigns take a challenge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Required {
    /// None.
    #[default]
    Off,
    /// All of them.
    All,
    /// These.
    Of(BTreeSet<CampaignId>),
}

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
            .map(Self::Of)
            .ok_or_else(|| "must be off, all, or numbers of campaigns: 3,17".to_owned())
    }
}

impl fmt::Display for Required {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => formatter.write_str("off"),
            Self::All => formatter.write_str("all"),
            Self::Of(campaigns) => {
                let numbers: Vec<String> = campaigns.iter().map(ToString::to_string).collect();
                formatter.write_str(&numbers.join(","))
            }
        }
    }
}

/// Why a secret is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must have at least {SECRET_BYTES_MIN} bytes")]
pub struct WeakSecret;

/// Why a token is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChallengeError {
    /// There is none, and there must be one.
    #[error("the challenge token is missing")]
    Missing,
    /// It is none.
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
    /// It was valid.
    #[error("the challenge token has expired")]
    Expired,
    /// It is valid for longer than a token may be.
    #[error("the challenge token is valid for too long")]
    TooLong,
}

/// Verifies tokens.
#[derive(Clone, Default)]
pub struct Challenge {
    required: Required,
    keys: Vec<hmac::Key>,
    lifetime_max: Duration,
}

impl fmt::Debug for Challenge {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut told = formatter.debug_struct("Challenge");
        told.field("required", &self.required);
        told.finish_non_exhaustive()
    }
}

impl Challenge {
    /// Believes tokens that are signed with any of these secrets and valid for no longer than that.
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

    /// Whether taking part in a campaign takes a token.
    #[must_use]
    pub fn is_required(&self, campaign: CampaignId) -> bool {
        match &self.required {
            Required::Off => false,
            Required::All => true,
            Required::Of(campaigns) => campaigns.contains(&campaign),
        }
    }

    /// Whether a user may take part in a campaign now, by the token they show.
    pub fn admit(
        &self,
        campaign: CampaignId,
        user: UserId,
        token: Option<&str>,
        now: Instant,
    ) -> Result<(), ChallengeError> {
        if !self.is_required(campaign) {
            return Ok(());
        }
        let token = token.ok_or(ChallengeError::Missing)?;
        self.verify(token, campaign, user, now)
    }

    /// What a token says counts only once its signature is right.
    fn verify(
        &self,
        token: &str,
        campaign: CampaignId,
        user: UserId,
        now: Instant,
    ) -> Result<(), ChallengeError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(ChallengeError::Malformed);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(ChallengeError::Malformed)?;
        let said = Said::parse(signed).ok_or(ChallengeError::Malformed)?;
        let signature = bytes_of(signature).ok_or(ChallengeError::Malformed)?;
        // In constant time. All keys are tried: which of them it was is nobody's business.
        let fitting = self
            .keys
            .iter()
            .filter(|key| hmac::verify(key, signed.as_bytes(), &signature).is_ok());
        if fitting.count() == 0 {
            return Err(ChallengeError::Signature);
        }
        if said.campaign != campaign {
            return Err(ChallengeError::Campaign);
        }
        if said.user != user {
            return Err(ChallengeError::User);
        }
        let left = said.expires - now.timestamp();
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

/// What a token says.
struct Said {
    campaign: CampaignId,
    user: UserId,
    /// Seconds since 1970.
    expires: i64,
}

impl Said {
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

/// Digits alone: what is signed has one way to be written.
fn number(text: &str) -> Option<i64> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    is_plain.then(|| text.parse().ok()).flatten()
}

/// The bytes of a signature, from its hexadecimal digits.
fn bytes_of(hex: &str) -> Option<[u8; SIGNATURE_BYTES]> {
    if hex.len() != 2 * SIGNATURE_BYTES {
        return None;
    }
    let mut bytes = [0; SIGNATURE_BYTES];
    for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks(2)) {
        let mut digits = pair.iter().map(|digit| match digit {
            b'0'..=b'9' => Some(digit - b'0'),
            b'a'..=b'f' => Some(digit - b'a' + 10),
            _ => None,
        });
        *byte = (digits.next()?? << 4) | digits.next()??;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests;
