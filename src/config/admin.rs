//! The section `[admin]`: access to the admin API, and what it must keep to.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::Mode;
use super::sections::section;
use crate::access::token_throttle::GuessConfig;

/// Characters of an admin token: fewer could be guessed.
pub const TOKEN_CHARACTERS_MIN: usize = 16;
/// Different characters in it.
const TOKEN_DIFFERENT_MIN: usize = 6;

section! {
    /// `[admin]`: access to the admin API.
    Admin {
        /// Bearer token; without one the admin API is closed (the embedded mode makes one).
        token: Option<SecretString> = None,
        /// The token before it: accepted, too, while it is replaced.
        token_previous: Option<SecretString> = None,
        /// Wrong tokens from one address that cost no delay.
        failures_max: u32 = 10,
        /// The longest delay after more of them.
        #[serde(with = "humantime_serde")]
        delay_max: Duration = Duration::from_secs(60),
    }
}

impl Admin {
    /// How guesses of the token are slowed down.
    #[must_use]
    pub const fn guesses(&self) -> GuessConfig {
        GuessConfig {
            failures_max: self.failures_max,
            delay_max: self.delay_max,
        }
    }

    /// Requires what must hold.
    pub(super) fn check(&self, mode: Mode, require: &mut impl FnMut(bool, &str)) {
        for (key, variable, token) in [
            ("admin.token", "FIRSTCOME_ADMIN_TOKEN", &self.token),
            (
                "admin.token_previous",
                "FIRSTCOME_ADMIN_TOKEN_PREVIOUS",
                &self.token_previous,
            ),
        ] {
            let Some(token) = token else { continue };
            let token = token.expose_secret();
            require(
                is_strong(token),
                &format!(
                    "{key}: {variable} must have at least {TOKEN_CHARACTERS_MIN} characters, of which \
                     {TOKEN_DIFFERENT_MIN} are different; `openssl rand -hex 16` makes one"
                ),
            );
            require(
                token.trim() == token && !token.contains(|letter: char| letter.is_control()),
                &format!(
                    "{key}: {variable} must not begin or end with a space, or contain control characters"
                ),
            );
            require(
                mode != Mode::Jwt || token.bytes().filter(|byte| *byte == b'.').count() != 2,
                &format!(
                    "{key}: {variable} must not have the form of a JSON Web Token (two dots) with auth.mode=jwt"
                ),
            );
        }
        self.check_previous(require);
        require(
            (1..=1_000_000).contains(&self.failures_max),
            "admin.failures_max: must be between 1 and 1000000",
        );
        require(
            (Duration::from_secs(1)..=Duration::from_secs(3_600)).contains(&self.delay_max),
            "admin.delay_max: must be between 1s and 1h",
        );
    }

    fn check_previous(&self, require: &mut impl FnMut(bool, &str)) {
        let Some(previous) = &self.token_previous else {
            return;
        };
        let Some(token) = &self.token else {
            require(false, "admin.token_previous: requires admin.token");
            return;
        };
        require(
            token.expose_secret() != previous.expose_secret(),
            "admin.token_previous: must differ from admin.token",
        );
    }
}

/// Whether a token cannot be guessed by trying short ones, or one letter many times.
#[must_use]
pub fn is_strong(token: &str) -> bool {
    let mut letters: Vec<char> = token.chars().collect();
    let long = letters.len() >= TOKEN_CHARACTERS_MIN;
    letters.sort_unstable();
    letters.dedup();
    long && letters.len() >= TOKEN_DIFFERENT_MIN
}
