//! `[admin]`: access to the admin API.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::Mode;
use crate::access::token_throttle::GuessConfig;
use crate::runtime::settings::settings;

/// Least number of characters of an admin token: shorter ones could be guessed.
pub const TOKEN_CHARACTERS_MIN: usize = 16;
/// Least number of different characters in it.
const TOKEN_DIFFERENT_MIN: usize = 6;

settings! {
    /// `[admin]`: access to the admin API.
    Admin in "admin" {
        /// Bearer token of the admin API, at least 16 characters. Without one the admin API is closed (with all parts
        /// embedded a token is generated)
        token: Option<SecretString> = None;
        /// A second token that is also accepted, while the token is being changed
        token_previous: Option<SecretString> = None;
        /// Wrong tokens from one address without a delay; the next waits 1 s, and each further one twice as long
        failures_max: u32 = GuessConfig::DEFAULT.failures_max, in 1..=1_000_000;
        /// Longest of these delays
        delay_max: Duration = GuessConfig::DEFAULT.delay_max, in Duration::from_secs(1)..=Duration::from_secs(3_600);
    }
}

impl Admin {
    /// The delays after wrong tokens.
    #[must_use]
    pub const fn guesses(&self) -> GuessConfig {
        GuessConfig {
            failures_max: self.failures_max,
            delay_max: self.delay_max,
        }
    }

    /// Checks the rules that involve several settings.
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
