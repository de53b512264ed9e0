//! The admin tokens, compared in constant time.

use std::net::IpAddr;
use std::time::Duration;

use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::settings::Settings;
use crate::access::token_throttle::Guesses;
use crate::domain::AdminToken;

/// The accepted admin tokens, and the throttle of addresses that present wrong ones.
pub struct AdminTokens {
    /// Their digests: all have the same length, so that a comparison reveals nothing.
    digests: Vec<(AdminToken, [u8; 32])>,
    guesses: Guesses,
}

/// The result of checking a token that may be an admin token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenCheck {
    /// It is an admin token.
    Accepted(AdminToken),
    /// It is not an admin token.
    Unknown,
    /// It is not checked: its address presented too many wrong tokens and has to wait.
    Throttled(Duration),
}

impl AdminTokens {
    /// The tokens of these settings.
    pub fn of(settings: &Settings) -> Self {
        let tokens = [
            (AdminToken::Current, &settings.admin_token),
            (AdminToken::Previous, &settings.admin_token_previous),
        ];
        let digests = tokens.into_iter().filter_map(|(which, token)| {
            let token = token.as_ref()?;
            Some((which, digest(token.expose_secret())))
        });
        Self {
            digests: digests.collect(),
            guesses: Guesses::new(settings.guesses),
        }
    }

    /// Whether an admin token is configured.
    pub fn is_configured(&self) -> bool {
        !self.digests.is_empty()
    }

    /// Checks a token that a client at `address` presents. Without a configured token there is nothing to guess.
    pub fn check(&self, token: &str, address: Option<IpAddr>) -> TokenCheck {
        if !self.is_configured() {
            return TokenCheck::Unknown;
        }
        if let Some(wait) = self.guesses.wait(address) {
            return TokenCheck::Throttled(wait);
        }
        let presented = digest(token);
        let mut accepted = None;
        for (which, known) in &self.digests {
            if presented.ct_eq(known).into() {
                accepted = Some(*which);
            }
        }
        if let Some(which) = accepted {
            self.guesses.succeeded(address);
            TokenCheck::Accepted(which)
        } else {
            self.guesses.failed(address);
            TokenCheck::Unknown
        }
    }
}

/// Tokens are compared by their digests.
fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}
