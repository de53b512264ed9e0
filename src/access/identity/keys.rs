//! The keys that tokens are verified by: a secret, or the public keys of a JSON Web Key Set (RFC 7517).
//! Each key has one algorithm. It never fetches anything.

use std::fmt;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm as Known, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

use crate::domain::words::words;

/// Shortest secret: as long as what the hash gives (RFC 7518, 3.2).
const SECRET_BYTES_MIN: usize = 32;
/// Most keys that a set is read for; an issuer has a few.
const KEYS_MAX: usize = 64;

words! {
    /// The algorithms of signatures, by their names in tokens.
    pub enum Algorithm {
        /// HMAC with SHA-256, by a shared secret.
        Hs256 = "HS256",
        /// RSASSA-PKCS1-v1_5 with SHA-256, by keys of 2048 bits or more.
        Rs256 = "RS256",
        /// ECDSA on P-256 with SHA-256.
        Es256 = "ES256",
        /// `EdDSA` on Ed25519.
        EdDsa = "EdDSA",
    }
}

impl Algorithm {
    /// Those with a public key.
    pub const PUBLIC: [Self; 3] = [Self::Rs256, Self::Es256, Self::EdDsa];
}

impl From<Algorithm> for Known {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Hs256 => Self::HS256,
            Algorithm::Rs256 => Self::RS256,
            Algorithm::Es256 => Self::ES256,
            Algorithm::EdDsa => Self::EdDSA,
        }
    }
}

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A secret that can be guessed.
    #[error("must have at least {SECRET_BYTES_MIN} bytes, drawn at random")]
    ShortSecret,
    /// Not a key set.
    #[error("is not a JSON Web Key Set")]
    Malformed(#[source] serde_json::Error),
    /// A set that no issuer has.
    #[error("has more than {KEYS_MAX} keys")]
    TooMany,
    /// Nothing in it can verify a token.
    #[error("has no key for {0}; other keys in it are not looked at")]
    NoneFits(String),
}

struct Key {
    name: Option<String>,
    algorithm: Algorithm,
    verifies: DecodingKey,
}

/// Keys by name and algorithm.
pub struct KeySet {
    keys: Vec<Key>,
}

impl fmt::Debug for KeySet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.keys.iter().map(|key| (&key.name, key.algorithm));
        formatter.debug_list().entries(names).finish()
    }
}

/// A key set as it is written; the keys are read one by one, because one that is not understood is no
/// reason to do without the others (RFC 7517, 5).
#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

impl KeySet {
    /// The one key that a secret is.
    pub fn of_secret(secret: &[u8]) -> Result<Self, KeyError> {
        if secret.len() < SECRET_BYTES_MIN {
            return Err(KeyError::ShortSecret);
        }
        Ok(Self {
            keys: vec![Key {
                name: None,
                algorithm: Algorithm::Hs256,
                verifies: DecodingKey::from_secret(secret),
            }],
        })
    }

    /// The public keys in a key set that verify one of these algorithms. Secrets in it are never taken:
    /// whoever can read the set could sign with them.
    pub fn of_document(document: &[u8], algorithms: &[Algorithm]) -> Result<Self, KeyError> {
        let document: Document = serde_json::from_slice(document).map_err(KeyError::Malformed)?;
        if document.keys.len() > KEYS_MAX {
            return Err(KeyError::TooMany);
        }
        let keys: Vec<Key> = document
            .keys
            .into_iter()
            .filter_map(|value| key(value, algorithms))
            .collect();
        if keys.is_empty() {
            let names: Vec<&str> = algorithms.iter().map(|one| one.as_str()).collect();
            return Err(KeyError::NoneFits(names.join(", ")));
        }
        Ok(Self { keys })
    }

    /// The key of a token: the one of its name, else the only one that fits and has none; a token that
    /// names no key gets the only one that fits.
    #[must_use]
    pub fn find(&self, name: Option<&str>, algorithm: Algorithm) -> Option<&DecodingKey> {
        let fits = |key: &&Key| key.algorithm == algorithm;
        match name {
            None => only(self.keys.iter().filter(fits)),
            Some(name) => {
                let named = |key: &&Key| key.name.as_deref() == Some(name);
                only(self.keys.iter().filter(fits).filter(named)).or_else(|| {
                    let nameless = |key: &&Key| key.name.is_none();
                    only(self.keys.iter().filter(fits).filter(nameless))
                })
            }
        }
    }
}

/// The key, if it is the only one: which of two signed a token is not tried out.
fn only<'a>(mut keys: impl Iterator<Item = &'a Key>) -> Option<&'a DecodingKey> {
    match (keys.next(), keys.next()) {
        (Some(key), None) => Some(&key.verifies),
        _ => None,
    }
}

fn key(value: Value, algorithms: &[Algorithm]) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(value).ok()?;
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => Algorithm::Rs256,
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            Algorithm::Es256
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            Algorithm::EdDsa
        }
        _ => return None,
    };
    let common = &jwk.common;
    let signs = matches!(common.public_key_use, None | Some(PublicKeyUse::Signature));
    let verifies = common
        .key_operations
        .as_ref()
        .is_none_or(|operations| operations.contains(&KeyOperations::Verify));
    let meant = common
        .key_algorithm
        .is_none_or(|meant| meant.to_string() == algorithm.as_str());
    if !(signs && verifies && meant && algorithms.contains(&algorithm)) {
        return None;
    }
    Some(Key {
        name: common.key_id.clone(),
        algorithm,
        verifies: DecodingKey::from_jwk(&jwk).ok()?,
    })
}
