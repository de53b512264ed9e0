//! The section `[challenge]`: which campaigns take a challenge token, and what that must keep to.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::sections::section;
use crate::access::challenge::{self, Required, WeakSecret};

/// Which campaigns take a token: `off`, `all`, `3,17`, or a list of numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Said")]
pub struct RequiredIn(pub Required);

#[derive(Deserialize)]
#[serde(untagged)]
enum Said {
    Text(String),
    List(Vec<u32>),
}

impl TryFrom<Said> for RequiredIn {
    type Error = String;

    fn try_from(said: Said) -> Result<Self, String> {
        let text = match said {
            Said::Text(text) => text,
            Said::List(numbers) => {
                let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
                numbers.join(",")
            }
        };
        Required::parse(&text).map(Self)
    }
}

section! {
    /// `[challenge]`: what shows that a user has passed a puzzle or a waiting room.
    Challenge {
        /// `off`, `all`, or the numbers of the campaigns that take it.
        required: RequiredIn = RequiredIn::default(),
        /// The secret that tokens are signed with.
        secret: Option<SecretString> = None,
        /// Another one that is still believed.
        previous_secret: Option<SecretString> = None,
        /// How long a token may be valid.
        #[serde(with = "humantime_serde")]
        lifetime_max: Duration = Duration::from_secs(600),
    }
}

impl Challenge {
    /// What verifies tokens.
    pub fn settings(&self) -> Result<challenge::Challenge, WeakSecret> {
        let secrets = [&self.secret, &self.previous_secret];
        let secrets = secrets
            .into_iter()
            .flatten()
            .map(ExposeSecret::expose_secret);
        challenge::Challenge::new(self.required.0.clone(), secrets, self.lifetime_max)
    }

    /// Requires what must hold.
    pub(super) fn check(&self, require: &mut impl FnMut(bool, &str)) {
        let is_on = self.required.0 != Required::Off;
        require(
            !is_on || self.secret.is_some(),
            "challenge.secret: is needed where challenge.required is not off",
        );
        require(
            is_on || self.secret.is_none(),
            "challenge.secret: is used where challenge.required is not off",
        );
        require(
            self.secret.is_some() || self.previous_secret.is_none(),
            "challenge.previous_secret: is used beside challenge.secret alone",
        );
        if let Err(weak) = self.settings() {
            let mistake = format!("challenge.secret, challenge.previous_secret: {weak}");
            require(false, &mistake);
        }
        require(
            (Duration::from_secs(1)..=Duration::from_secs(86_400)).contains(&self.lifetime_max),
            "challenge.lifetime_max: must be between 1s and 1d",
        );
    }
}
