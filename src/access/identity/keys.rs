//! The keys that verify tokens: a shared secret, or the public keys of a JSON Web Key Set (RFC 7517). Each key has one
//! algorithm. This module fetches nothing.

use std::fmt;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm as Known, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

use crate::domain::words::words;

/// Shortest secret: as long as the hash (RFC 7518, 3.2).
const SECRET_BYTES_MIN: usize = 32;
/// Most keys in a set; an issuer has a few.
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
    /// The algorithms with a public key.
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

/// Why a secret or a key set is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The secret is too short.
    #[error("must have at least {SECRET_BYTES_MIN} random bytes")]
    ShortSecret,
    /// It is not a key set.
    #[error("is not a JSON Web Key Set")]
    Malformed(#[source] serde_json::Error),
    /// The set has too many keys.
    #[error("has more than {KEYS_MAX} keys")]
    TooMany,
    /// The set has no usable key.
    #[error("has no key for {0}; keys of other algorithms are ignored")]
    NoneFits(String),
}

struct Key {
    name: Option<String>,
    algorithm: Algorithm,
    verifier: DecodingKey,
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

/// A key set before its keys are read. They are read one by one: an unknown key does not invalidate the others (RFC 7517,
/// 5).
#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

impl KeySet {
    /// The key set of a shared secret.
    pub fn of_secret(secret: &[u8]) -> Result<Self, KeyError> {
        if secret.len() < SECRET_BYTES_MIN {
            return Err(KeyError::ShortSecret);
        }
        Ok(Self {
            keys: vec![Key {
                name: None,
                algorithm: Algorithm::Hs256,
                verifier: DecodingKey::from_secret(secret),
            }],
        })
    }

    /// The public keys of a key set for these algorithms. Secrets in it are ignored: anybody who can read the set could
    /// sign with them.
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

    /// The key of a token, by name and algorithm. If there is none with the name, it is the only nameless key of the
    /// algorithm; for a token without a key name, the only key of the algorithm.
    #[must_use]
    pub fn find(&self, name: Option<&str>, algorithm: Algorithm) -> Option<&DecodingKey> {
        let has_algorithm = |key: &&Key| key.algorithm == algorithm;
        match name {
            None => only(self.keys.iter().filter(has_algorithm)),
            Some(name) => {
                let named = |key: &&Key| key.name.as_deref() == Some(name);
                only(self.keys.iter().filter(has_algorithm).filter(named)).or_else(|| {
                    let nameless = |key: &&Key| key.name.is_none();
                    only(self.keys.iter().filter(has_algorithm).filter(nameless))
                })
            }
        }
    }
}

/// The key, if it is the only one: two keys are not tried one after the other.
fn only<'a>(mut keys: impl Iterator<Item = &'a Key>) -> Option<&'a DecodingKey> {
    match (keys.next(), keys.next()) {
        (Some(key), None) => Some(&key.verifier),
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
    let is_for_algorithm = common
        .key_algorithm
        .is_none_or(|named| named.to_string() == algorithm.as_str());
    if !(signs && verifies && is_for_algorithm && algorithms.contains(&algorithm)) {
        return None;
    }
    Some(Key {
        name: common.key_id.clone(),
        algorithm,
        verifier: DecodingKey::from_jwk(&jwk).ok()?,
    })
}
