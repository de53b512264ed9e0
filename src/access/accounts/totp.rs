//! Time-based one-time codes (TOTP, RFC 6238) of authenticator apps, and recovery codes for the loss of the app. Pure: it knows neither the store
//! nor a clock, and never writes a secret to a log.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use totp_rs::{Algorithm, Builder, Secret, Totp};

use super::AccountError;
use crate::domain::Timestamp;
use crate::parts::gate::Digest;

/// The issuer that apps show beside the account.
const ISSUER: &str = "firstcome";
/// The default of authenticator apps; many of them ignore other values.
const ALGORITHM: Algorithm = Algorithm::SHA1;
const DIGITS: u8 = 6;
const STEP_SECONDS: u64 = 30;
/// Steps before and after the current one whose codes are accepted, because clocks differ.
const SKEW_STEPS: u16 = 1;
/// As long as the hash, as RFC 4226 recommends.
const SECRET_BYTES: usize = 20;

/// The secret that the app and the service share.
#[derive(Clone)]
pub(super) struct TotpSecret {
    base32: SecretString,
}

impl fmt::Debug for TotpSecret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("TotpSecret")
    }
}

impl TotpSecret {
    /// A new secret, from a generator that the operating system seeds.
    pub fn generate() -> Self {
        let bytes: [u8; SECRET_BYTES] = rand::random();
        let secret = Secret::from(bytes);
        Self {
            base32: secret.to_base32().into(),
        }
    }

    /// A stored secret, in Base32.
    pub const fn stored(base32: SecretString) -> Self {
        Self { base32 }
    }

    /// In Base32 without padding, as it is stored and typed into an app.
    pub const fn base32(&self) -> &SecretString {
        &self.base32
    }

    /// The `otpauth://` address that an app reads from a QR code.
    pub fn uri(&self, login: &str) -> Result<SecretString, AccountError> {
        let totp = self.totp(Some(login)).ok_or(AccountError::Secret)?;
        let uri = totp.to_url().map_err(|_| AccountError::Secret)?;
        Ok(uri.into())
    }

    /// The step of a code; none: the code is not valid around this time.
    pub fn step_of(&self, code: &str, now: Timestamp) -> Result<Option<i64>, AccountError> {
        let totp = self.totp(None).ok_or(AccountError::Secret)?;
        let now = u64::try_from(now.timestamp()).unwrap_or_default();
        let step = totp.check(code, now);
        Ok(step.and_then(|step| i64::try_from(step).ok()))
    }

    /// None: the stored value is not a secret.
    fn totp(&self, login: Option<&str>) -> Option<Totp> {
        let secret = Secret::try_from_base32(self.base32.expose_secret()).ok()?;
        let builder = Builder::new()
            .with_algorithm(ALGORITHM)
            .with_digits(DIGITS)
            .with_step_duration(STEP_SECONDS)
            .with_skew(SKEW_STEPS)
            .with_issuer(Some(ISSUER))
            .with_secret(secret);
        let builder = match login {
            Some(login) => builder.with_account_name(login),
            None => builder,
        };
        builder.build().ok()
    }
}

/// How many recovery codes there are.
const RECOVERY_CODES: usize = 10;
/// Random bytes of each: nobody guesses 80 bits, so that one round of a hash is enough to store them.
const RECOVERY_BYTES: usize = 10;
/// Letters of each, in groups of four.
const RECOVERY_LETTERS: usize = 16;

/// Codes for the loss of the app: each is accepted once.
#[derive(Debug)]
pub(super) struct RecoveryCodes(Vec<SecretString>);

impl RecoveryCodes {
    /// New codes, written `XXXX-XXXX-XXXX-XXXX`.
    pub fn generate() -> Self {
        let code = |_| {
            let bytes: [u8; RECOVERY_BYTES] = rand::random();
            let letters: Vec<char> = Secret::from(bytes.to_vec()).to_base32().chars().collect();
            let groups: Vec<String> = letters
                .chunks(4)
                .map(|group| group.iter().collect())
                .collect();
            groups.join("-").into()
        };
        Self((0..RECOVERY_CODES).map(code).collect())
    }

    /// The codes in clear text, to be shown once.
    pub fn reveal(self) -> Vec<SecretString> {
        self.0
    }

    /// Their digests, which are stored.
    pub fn digests(&self) -> Vec<String> {
        let digests = self
            .0
            .iter()
            .filter_map(|code| Self::digest(code.expose_secret()));
        digests.collect()
    }

    /// The digest of a typed code, with any case and separators; none: it does not have the form of a code.
    pub fn digest(typed: &str) -> Option<String> {
        let letters: String = typed
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .map(|letter| letter.to_ascii_uppercase())
            .collect();
        (letters.len() == RECOVERY_LETTERS).then(|| Digest::of(&letters).to_string())
    }
}

#[cfg(test)]
mod tests;
