//! The section `[auth]`: how participants say who they are, and what that must keep to.

use std::time::Duration;

use secrecy::ExposeSecret;
use serde::Deserialize;

use super::Auth;
use super::names::Names;
use crate::access::identity::{Algorithm, KeySet, Place, TokenTypes, trust};

/// Whether participants are believed, or show a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// They are believed: for use behind a gateway, or on one's own machine.
    #[default]
    Trusted,
    /// They show a JSON Web Token.
    Jwt,
    /// They log in here, and show the cookie of a session.
    Sessions,
}

/// Algorithms by name: `RS256,EdDSA`, or a list of names.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Names")]
pub struct Algorithms(pub Vec<Algorithm>);

impl TryFrom<Names> for Algorithms {
    type Error = String;

    fn try_from(names: Names) -> Result<Self, String> {
        let known = |name: String| {
            Algorithm::parse(&name).ok_or_else(|| {
                format!("there is no algorithm {name:?}; there are HS256, RS256, ES256 and EdDSA")
            })
        };
        names
            .into_iter()
            .map(known)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// Types of tokens by name: `JWT,at+jwt`, or a list of names.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Names")]
pub struct Types(pub TokenTypes);

impl TryFrom<Names> for Types {
    type Error = &'static str;

    fn try_from(names: Names) -> Result<Self, Self::Error> {
        let types = TokenTypes::parse(names.into_iter()).map(Self);
        types.ok_or("must be media types with commas between them, such as JWT,at+jwt")
    }
}

impl Auth {
    /// The types of tokens that are accepted.
    #[must_use]
    pub fn types(&self) -> TokenTypes {
        let configured = self.token_types.as_ref();
        configured.map_or_else(TokenTypes::default, |types| types.0.clone())
    }

    /// The algorithms that are accepted: those configured, or all that the keys are for.
    #[must_use]
    pub fn accepted(&self) -> Vec<Algorithm> {
        match (&self.algorithms, &self.jwt_secret) {
            (Some(Algorithms(named)), _) => named.clone(),
            (None, Some(_)) => vec![Algorithm::Hs256],
            (None, None) => Algorithm::PUBLIC.to_vec(),
        }
    }

    /// Requires what must hold.
    pub(super) fn check(&self, require: &mut impl FnMut(bool, &str)) {
        match self.mode {
            Mode::Trusted | Mode::Sessions => self.check_unused(require),
            Mode::Jwt => {
                require(
                    self.issuer
                        .as_ref()
                        .is_some_and(|issuer| !issuer.is_empty()),
                    "auth.issuer: is needed with auth.mode=jwt",
                );
                require(
                    self.audience
                        .as_ref()
                        .is_some_and(|audience| !audience.is_empty()),
                    "auth.audience: is needed with auth.mode=jwt",
                );
                self.check_keys(require);
                self.check_algorithms(require);
            }
        }
        self.check_bounds(require);
    }

    /// What says how tokens are verified, while none is looked at, is a mode that was forgotten.
    fn check_unused(&self, require: &mut impl FnMut(bool, &str)) {
        for (name, given) in [
            ("issuer", self.issuer.is_some()),
            ("audience", self.audience.is_some()),
            ("algorithms", self.algorithms.is_some()),
            ("token_types", self.token_types.is_some()),
            ("jwt_secret", self.jwt_secret.is_some()),
            ("jwks", self.jwks.is_some()),
            ("jwks_url", self.jwks_url.is_some()),
            ("jwks_ca", self.jwks_ca.is_some()),
        ] {
            require(
                !given,
                &format!("auth.{name}: is used with auth.mode=jwt alone"),
            );
        }
    }

    fn check_keys(&self, require: &mut impl FnMut(bool, &str)) {
        let given = [
            self.jwt_secret.is_some(),
            self.jwks.is_some(),
            self.jwks_url.is_some(),
        ];
        require(
            given.into_iter().filter(|given| *given).count() == 1,
            "auth.jwt_secret, auth.jwks, auth.jwks_url: one of them is needed with auth.mode=jwt, and only one",
        );
        let mut wrong = |name: &str, error: Option<&dyn std::fmt::Display>| {
            if let Some(error) = error {
                require(false, &format!("auth.{name}: {error}"));
            }
        };
        if let Some(secret) = &self.jwt_secret {
            let key = KeySet::of_secret(secret.expose_secret().as_bytes());
            wrong("jwt_secret", key.err().as_ref().map(|error| error as _));
        }
        if let Some(document) = &self.jwks {
            let keys = KeySet::of_document(document.as_bytes(), &self.accepted());
            wrong("jwks", keys.err().as_ref().map(|error| error as _));
        }
        if let Some(url) = &self.jwks_url {
            let place = Place::parse(url);
            wrong("jwks_url", place.err().as_ref().map(|error| error as _));
        }
        if let Some(pem) = &self.jwks_ca {
            let roots = trust(Some(pem));
            wrong("jwks_ca", roots.err().as_ref().map(|error| error as _));
            require(
                self.jwks_url.is_some(),
                "auth.jwks_ca: is used with auth.jwks_url alone",
            );
        }
    }

    fn check_algorithms(&self, require: &mut impl FnMut(bool, &str)) {
        let accepted = self.accepted();
        let secret = self.jwt_secret.is_some();
        require(
            !accepted.is_empty()
                && accepted
                    .iter()
                    .all(|algorithm| (*algorithm == Algorithm::Hs256) == secret),
            "auth.algorithms: with auth.jwt_secret HS256 is accepted, with public keys RS256, ES256 and EdDSA; never both",
        );
    }

    fn check_bounds(&self, require: &mut impl FnMut(bool, &str)) {
        require(
            self.clock_skew <= Duration::from_secs(300),
            "auth.clock_skew: must be at most 5m",
        );
        require(
            (Duration::from_secs(1)..=Duration::from_secs(86_400)).contains(&self.jwks_refresh),
            "auth.jwks_refresh: must be between 1s and 1d",
        );
        require(
            (Duration::from_millis(100)..=self.jwks_refresh).contains(&self.jwks_refresh_min),
            "auth.jwks_refresh_min: must be between 100ms and auth.jwks_refresh",
        );
        require(
            (Duration::from_millis(100)..=Duration::from_secs(60)).contains(&self.jwks_timeout),
            "auth.jwks_timeout: must be between 100ms and 60s",
        );
        require(
            (1_024..=1_048_576).contains(&self.jwks_bytes_max),
            "auth.jwks_bytes_max: must be between 1024 and 1048576",
        );
    }
}
