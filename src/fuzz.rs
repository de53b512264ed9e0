//! Fuzz targets: code that reads untrusted bytes, each with the properties that must hold for any input. One list for
//! the short run of `make test`, and for `make fuzz`, where libFuzzer is guided by coverage (the package in `fuzz/`,
//! which compiles this with `--cfg fuzzing`). It is not part of the release.

#![allow(
    clippy::unwrap_used,
    reason = "a target fails where something does not hold"
)]
#![allow(clippy::missing_panics_doc, reason = "a target fails by a panic")]

#[cfg(test)]
mod run;

use crate::access::challenge::{Challenge, Required};
use crate::access::identity::{Algorithm, KeySet, Keys, Rules, TokenTypes, Verifier};
use crate::domain::{CampaignId, UserId};
use crate::runtime::clock::Clock;
use crate::{
    events::consumers, http, operate::export, parts::gate, runtime::trace, sale::allow_list,
};

/// Reads an input, and fails if a property does not hold.
type Target = fn(&[u8]);

/// All targets, by the names of their folders in `fuzz/corpus`.
const TARGETS: [(&str, Target); 14] = [
    ("address", http::fuzz::address),
    ("allow_list", allow_list::fuzz::lines),
    ("challenge", challenge),
    ("connection", http::fuzz::connection),
    ("cookie", http::fuzz::cookie),
    ("csv", export::fuzz::line_of),
    ("forwarded", http::fuzz::forwarded),
    ("gate_reply", gate::fuzz::reply),
    ("host", http::fuzz::host),
    ("json", http::fuzz::json),
    ("jwt", jwt),
    ("record", consumers::fuzz::record),
    ("request_traceparent", http::fuzz::traceparent),
    ("traceparent", trace::fuzz::parent),
];

/// Passes an input to the target of this name. An unknown name is a mistake in `fuzz/`.
pub fn check(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|(known, _)| *known == name);
    assert!(target.is_some(), "there is no fuzz target {name}");
    if let Some((_, target)) = target {
        target(bytes);
    }
}

/// No token is accepted without the secret.
fn challenge(bytes: &[u8]) {
    let Ok(token) = std::str::from_utf8(bytes) else {
        return;
    };
    let secret = "a secret that the corpus does not know";
    let lifetime_max = std::time::Duration::from_secs(600);
    let challenge = Challenge::new(Required::All, [secret], lifetime_max).unwrap();
    let now = Clock::System.now();
    let admitted = challenge.admit(CampaignId(1), UserId(42), Some(token), now);
    assert!(admitted.is_err(), "a token without the secret");
}

/// No token is accepted that is not signed with the key.
fn jwt(bytes: &[u8]) {
    let Ok(token) = std::str::from_utf8(bytes) else {
        return;
    };
    let keys = KeySet::of_secret(&[7; 32]).unwrap();
    let rules = Rules {
        issuer: "issuer".to_owned(),
        audience: "audience".to_owned(),
        algorithms: vec![Algorithm::Hs256],
        types: TokenTypes::default(),
        clock_skew: std::time::Duration::from_secs(30),
    };
    let verifier = Verifier::new(rules, Keys::Fixed(std::sync::Arc::new(keys)), Clock::System);
    let outcome = futures_util::FutureExt::now_or_never(verifier.verify(token));
    assert!(matches!(outcome, Some(Err(_))), "a token without the key");
}
