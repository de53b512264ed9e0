//! `[auth]`: how participants are authenticated.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::access::identity::{Algorithm, KeyLocation, KeySet, TokenTypes, trust};
use crate::domain::words::words;
use crate::runtime::settings::{MILLISECOND, Names, SECOND, plain, settings};

words! {
    /// How participants are authenticated.
    #[derive(Default)]
    pub enum Mode {
        /// A participant's own statement is accepted: behind a gateway, or on one's own machine.
        #[default]
        Trusted = "trusted",
        /// A JSON Web Token is required.
        Jwt = "jwt",
        /// The cookie of a session of this service is required.
        Sessions = "sessions",
    }
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
        names.split().map(known).collect::<Result<_, _>>().map(Self)
    }
}

plain!(List: Algorithms => |algorithms| {
    let names: Vec<&str> = algorithms.0.iter().map(|algorithm| algorithm.as_str()).collect();
    names.join(",")
});

settings! {
    /// `[auth]`: how participants are authenticated.
    Auth in "auth" {
        /// `trusted`: a participant's own statement is accepted, for a loopback address or behind a gateway; `jwt`: a
        /// JSON Web Token is required; `sessions`: participants log in to this service
        mode: Mode = Mode::Trusted;
        /// Required value of `iss`; needed
        issuer: Option<String> = None;
        /// Value that `aud` must be or contain; needed
        audience: Option<String> = None;
        /// Accepted algorithms: `HS256` with the secret, otherwise of `RS256,ES256,EdDSA`
        algorithms: Option<Algorithms> = None, shown "all for which there are keys";
        /// Accepted values of `typ`, in upper or lower case, with or without `application/`. A token without `typ`
        /// counts as `JWT`. A list replaces the default
        token_types: Option<TokenTypes> = None, shown "`JWT,at+jwt`";
        /// Verifies tokens; at least 32 bytes
        jwt_secret: Option<SecretString> = None;
        /// The public keys themselves, a JSON Web Key Set; `FIRSTCOME_AUTH_JWKS_FILE` is read once, at the start
        jwks: Option<String> = None;
        /// Address of the public keys: `https://…`, `file:///…`, or `http://…` on a loopback address
        jwks_url: Option<String> = None;
        /// Certificate authorities of `jwks_url`, in PEM; `FIRSTCOME_AUTH_JWKS_CA_FILE` names a file of them
        jwks_ca: Option<String> = None, shown "those of the public web";
        /// How often the keys are fetched again
        jwks_refresh: Duration = SECOND * 300, in SECOND..=SECOND * 86_400;
        /// Shortest time between two fetches that an unknown key causes; at most `jwks_refresh`
        jwks_refresh_min: Duration = SECOND * 10, in MILLISECOND * 100..;
        /// Longest wait for the keys
        jwks_timeout: Duration = SECOND * 3, in MILLISECOND * 100..=SECOND * 60;
        /// Size of the largest key set that is read
        jwks_bytes_max: usize = 65_536, in 1_024..=1_048_576;
        /// Tolerated difference from the issuer's clock
        clock_skew: Duration = SECOND * 30, in ..=SECOND * 300;
    }
}

impl Auth {
    /// The types of tokens that are accepted.
    #[must_use]
    pub fn types(&self) -> TokenTypes {
        self.token_types.clone().unwrap_or_default()
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

    /// Checks the rules that involve several settings.
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
        require(
            self.jwks_refresh_min <= self.jwks_refresh,
            "auth.jwks_refresh_min: must be at most auth.jwks_refresh",
        );
    }

    /// Settings of tokens in a mode without tokens mean that the mode was forgotten.
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
                &format!("auth.{name}: is used only with auth.mode=jwt"),
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
            "auth.jwt_secret, auth.jwks, auth.jwks_url: exactly one of them is needed with auth.mode=jwt",
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
            let place = KeyLocation::parse(url);
            wrong("jwks_url", place.err().as_ref().map(|error| error as _));
        }
        if let Some(pem) = &self.jwks_ca {
            let roots = trust(Some(pem));
            wrong("jwks_ca", roots.err().as_ref().map(|error| error as _));
            require(
                self.jwks_url.is_some(),
                "auth.jwks_ca: is used only with auth.jwks_url",
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
}
