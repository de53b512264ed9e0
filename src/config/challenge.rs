//! `[challenge]`: which campaigns require a challenge token.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use crate::access::challenge::{self, Required, WeakSecret};
use crate::runtime::settings::settings;

settings! {
    /// `[challenge]`: proof that a user has passed a puzzle or a waiting room.
    Challenge in "challenge" {
        /// Campaigns that require a challenge token: `off`, `all`, or their numbers, `3,17`
        required: Required = Required::default();
        /// Verifies tokens; at least 32 bytes
        secret: Option<SecretString> = None;
        /// Tokens that it signed are also accepted, while the secret is being changed
        previous_secret: Option<SecretString> = None;
        /// Longest time until a token expires
        lifetime_max: Duration = Duration::from_secs(600), in Duration::from_secs(1)..=Duration::from_secs(86_400);
    }
}

impl Challenge {
    /// The verifier of tokens.
    pub fn settings(&self) -> Result<challenge::Challenge, WeakSecret> {
        let secrets = [&self.secret, &self.previous_secret];
        let secrets = secrets
            .into_iter()
            .flatten()
            .map(ExposeSecret::expose_secret);
        challenge::Challenge::new(self.required.clone(), secrets, self.lifetime_max)
    }

    /// Checks the rules that involve several settings.
    pub(super) fn check(&self, require: &mut impl FnMut(bool, &str)) {
        let is_on = self.required != Required::Off;
        require(
            !is_on || self.secret.is_some(),
            "challenge.secret: is needed if challenge.required is not off",
        );
        require(
            is_on || self.secret.is_none(),
            "challenge.secret: is used only if challenge.required is not off",
        );
        require(
            self.secret.is_some() || self.previous_secret.is_none(),
            "challenge.previous_secret: is used only beside challenge.secret",
        );
        if let Err(weak) = self.settings() {
            let mistake = format!("challenge.secret, challenge.previous_secret: {weak}");
            require(false, &mistake);
        }
    }
}
