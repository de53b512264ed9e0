//! Remote keys: fetched at the start, at intervals, and when a token names an unknown key, but at a bounded
//! rate.

use std::time::Duration;

use firstcome::access::identity::{
    Algorithm, KeyLocation, Keys, Pace, RefreshedKeys, Source, SourceError, TokenError, Verifier,
    trust,
};
use firstcome::runtime::clock::Clock;
use firstcome::runtime::supervisor::Supervisor;
use futures_util::future::join_all;
use serde_json::json;
use tempfile::TempDir;

use super::{believes, rules};
use crate::support::until;
use crate::tokens::{AUTHORITY, Answer, Issuer, Key, claims, key_set};

/// No regular fetches, and a fetch for each unknown key.
const EAGER: Pace = Pace {
    refresh: Duration::from_secs(3_600),
    refresh_min: Duration::ZERO,
    wait_max: Duration::from_secs(10),
};
const BYTES_MAX: usize = 16_384;

fn source(url: &str, ca: Option<&str>) -> Source {
    let place = KeyLocation::parse(url).unwrap();
    let bounds = (Duration::from_secs(5), BYTES_MAX);
    Source::new(
        place,
        trust(ca).unwrap(),
        Algorithm::PUBLIC.to_vec(),
        bounds,
    )
    .unwrap()
}

async fn verifier(url: &str, pace: Pace) -> (Verifier, Supervisor) {
    let supervisor = Supervisor::new(Duration::from_secs(1));
    let refreshed = RefreshedKeys::start(source(url, None), pace, &supervisor.spawner()).await;
    let keys = Keys::Refreshed(refreshed.unwrap());
    let verifier = Verifier::new(rules(&Algorithm::PUBLIC), keys, Clock::System);
    (verifier, supervisor)
}

#[tokio::test]
async fn a_new_key_is_fetched_when_a_token_names_it() {
    let (old, new) = (Key::ed("old"), Key::ed("new"));
    let issuer = Issuer::http(Answer::Keys(key_set(&[&old]))).await;
    let (verifier, _supervisor) = verifier(&issuer.url, EAGER).await;
    assert!(believes(&verifier, &old).await);
    assert_eq!(issuer.asked(), 1);
    issuer.answers(Answer::Keys(key_set(&[&new])));
    assert!(believes(&verifier, &new).await);
    assert_eq!(issuer.asked(), 2);
    // A key that the issuer no longer has is not accepted any more.
    let gone = verifier.verify(&old.sign(&claims(&json!({})))).await;
    assert_eq!(gone, Err(TokenError::UnknownKey));
}

#[tokio::test]
async fn keys_are_fetched_again_after_a_while() {
    let (old, new) = (Key::ed("key"), Key::ed("key"));
    let issuer = Issuer::http(Answer::Keys(key_set(&[&old]))).await;
    let pace = Pace {
        refresh: Duration::from_millis(20),
        ..EAGER
    };
    let (verifier, _supervisor) = verifier(&issuer.url, pace).await;
    issuer.answers(Answer::Keys(key_set(&[&new])));
    let token = new.sign(&claims(&json!({})));
    until("the new key is known", async || {
        verifier.verify(&token).await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn many_unknown_key_ids_cause_one_request_to_the_issuer() {
    let key = Key::ed("key");
    let issuer = Issuer::http(Answer::Keys(key_set(&[&key]))).await;
    let pace = Pace {
        refresh_min: Duration::from_secs(3_600),
        ..EAGER
    };
    let (verifier, _supervisor) = verifier(&issuer.url, pace).await;
    let flood = (0..500).map(|number| {
        let forger = Key::ed(&format!("unknown-{number}"));
        let token = forger.sign(&claims(&json!({})));
        let verifier = &verifier;
        async move { verifier.verify(&token).await }
    });
    for refused in join_all(flood).await {
        assert_eq!(refused, Err(TokenError::UnknownKey));
    }
    assert_eq!(issuer.asked(), 1, "at the start, and never for the flood");
    assert!(believes(&verifier, &key).await);
}

#[tokio::test]
async fn waiters_for_the_same_key_share_one_fetch() {
    let (old, new) = (Key::ed("old"), Key::ed("new"));
    let issuer = Issuer::http(Answer::Keys(key_set(&[&old]))).await;
    let (verifier, _supervisor) = verifier(&issuer.url, EAGER).await;
    issuer.answers(Answer::Keys(key_set(&[&new])));
    let token = new.sign(&claims(&json!({})));
    let asking = (0..40).map(|_| verifier.verify(&token));
    assert!(join_all(asking).await.iter().all(Result::is_ok));
    assert!(issuer.asked() <= 3, "{}", issuer.asked());
}

#[tokio::test]
async fn an_unavailable_issuer_locks_nobody_out() {
    let key = Key::ed("key");
    let issuer = Issuer::http(Answer::Keys(key_set(&[&key]))).await;
    let (verifier, _supervisor) = verifier(&issuer.url, EAGER).await;
    let token = key.sign(&claims(&json!({})));
    let unknown = Key::ed("unknown").sign(&claims(&json!({})));
    let strange = json!({ "keys": [] });
    for answer in [
        Answer::Fails,
        Answer::Redirect,
        Answer::Much(BYTES_MAX + 1),
        Answer::Much(10),
        Answer::Keys(strange),
    ] {
        let before = issuer.asked();
        issuer.answers(answer);
        let refused = verifier.verify(&unknown).await;
        assert_eq!(refused, Err(TokenError::UnknownKey));
        assert_eq!(issuer.asked(), before + 1);
        assert!(verifier.verify(&token).await.is_ok());
    }
}

#[tokio::test]
async fn a_fetch_is_bounded_in_time_and_size() {
    let issuer = Issuer::http(Answer::Hangs).await;
    let place = KeyLocation::parse(&issuer.url).unwrap();
    let bounds = (Duration::from_millis(50), BYTES_MAX);
    let algorithms = Algorithm::PUBLIC.to_vec();
    let slow = Source::new(place, trust(None).unwrap(), algorithms, bounds).unwrap();
    assert!(matches!(slow.fetch().await, Err(SourceError::Timeout)));
    issuer.answers(Answer::Much(BYTES_MAX + 1));
    let large = source(&issuer.url, None).fetch().await;
    assert!(matches!(large, Err(SourceError::TooLarge)), "{large:?}");
    issuer.answers(Answer::Redirect);
    let elsewhere = source(&issuer.url, None).fetch().await;
    assert!(matches!(elsewhere, Err(SourceError::Status(302))));
    assert_eq!(issuer.asked(), 3, "no redirect is followed");
}

#[tokio::test]
async fn an_address_named_by_an_untrusted_peer_is_ignored() {
    let key = Key::ed("key");
    let issuer = Issuer::https(Answer::Keys(key_set(&[&key]))).await;
    let public = source(&issuer.url, None).fetch().await;
    assert!(matches!(public, Err(SourceError::Connect(_))), "{public:?}");
    assert!(source(&issuer.url, Some(AUTHORITY)).fetch().await.is_ok());
    // The certificate is for localhost and for no other name.
    let other = issuer.url.replace("localhost", "127.0.0.1");
    let other = source(&other, Some(AUTHORITY)).fetch().await;
    assert!(matches!(other, Err(SourceError::Connect(_))), "{other:?}");
    assert_eq!(issuer.asked(), 1);
}

#[tokio::test]
async fn a_changed_key_file_is_read_again() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("keys.json");
    let (old, new) = (Key::ed("old"), Key::rsa("new"));
    std::fs::write(&path, key_set(&[&old]).to_string()).unwrap();
    let url = format!("file://{}", path.display());
    let (verifier, _supervisor) = verifier(&url, EAGER).await;
    std::fs::write(&path, key_set(&[&new]).to_string()).unwrap();
    assert!(believes(&verifier, &new).await);
    std::fs::write(&path, " ".repeat(BYTES_MAX + 1)).unwrap();
    let large = source(&url, None).fetch().await;
    assert!(matches!(large, Err(SourceError::TooLarge)), "{large:?}");
}

#[test]
fn keys_are_not_fetched_over_unprotected_connections() {
    for place in [
        "https://issuer.example/keys",
        "https://localhost:8443/keys?tenant=1",
        "http://localhost:8080/keys",
        "http://127.0.0.1:8080/keys",
        "http://[::1]:8080/keys",
        "file:///run/keys.json",
    ] {
        assert!(KeyLocation::parse(place).is_ok(), "{place}");
    }
    for place in [
        "http://issuer.example/keys",
        "http://localhost.issuer.example/keys",
        "http://10.0.0.1/keys",
        "https://user:password@issuer.example/keys",
        "ftp://issuer.example/keys",
        "file://host/keys",
        "/run/keys.json",
        "issuer.example",
        "",
    ] {
        assert!(KeyLocation::parse(place).is_err(), "{place}");
    }
}

#[tokio::test]
async fn without_keys_the_service_does_not_start() {
    let issuer = Issuer::http(Answer::Fails).await;
    let supervisor = Supervisor::new(Duration::from_secs(1));
    let started =
        RefreshedKeys::start(source(&issuer.url, None), EAGER, &supervisor.spawner()).await;
    assert!(matches!(started, Err(SourceError::Status(503))));
    assert!(issuer.asked() > 1, "once is not enough to give up");
}
