//! Tokens: which are accepted, and which are rejected.

mod claims;
mod fetching;
mod forging;

use std::sync::Arc;
use std::time::Duration;

use firstcome::access::identity::{Algorithm, KeySet, Keys, Rules, TokenTypes, Verifier};
use firstcome::runtime::clock::Clock;
use serde_json::{Value, json};

use crate::tokens::{self, AUDIENCE, ISSUER, Key, SECRET, key_set};

/// Rules that accept these algorithms.
fn rules(algorithms: &[Algorithm]) -> Rules {
    Rules {
        issuer: ISSUER.to_owned(),
        audience: AUDIENCE.to_owned(),
        algorithms: algorithms.to_vec(),
        types: TokenTypes::default(),
        clock_skew: Duration::from_secs(30),
    }
}

fn by_secret(clock: Clock) -> Verifier {
    let keys = KeySet::of_secret(SECRET.as_bytes()).unwrap();
    let keys = Keys::Fixed(Arc::new(keys));
    Verifier::new(rules(&[Algorithm::Hs256]), keys, clock)
}

fn by_document(document: &Value, algorithms: &[Algorithm]) -> Verifier {
    let keys = KeySet::of_document(document.to_string().as_bytes(), algorithms).unwrap();
    Verifier::new(
        rules(algorithms),
        Keys::Fixed(Arc::new(keys)),
        Clock::System,
    )
}

fn by_keys(keys: &[&Key]) -> Verifier {
    by_document(&key_set(keys), &Algorithm::PUBLIC)
}

/// Whether a token with the usual claims, signed by this key, is accepted.
async fn believes(verifier: &Verifier, key: &Key) -> bool {
    verifier
        .verify(&key.sign(&tokens::claims(&json!({}))))
        .await
        .is_ok()
}
