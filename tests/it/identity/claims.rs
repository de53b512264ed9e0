//! The required claims of a token, and the values read from them.

use std::time::Duration;

use chrono::DateTime;
use firstcome::access::identity::{Scope, TokenError, Verified, Verifier};
use firstcome::runtime::clock::Clock;
use serde_json::{Value, json};

use super::by_secret;
use crate::tokens::{AUDIENCE, ISSUER, Key, SECRET, claims_at};

const NOW: i64 = 1_900_000_000;

fn clock() -> Clock {
    Clock::manual(DateTime::from_timestamp(NOW, 0).unwrap())
}

async fn verified_by(verifier: &Verifier, more: &Value) -> Result<Verified, TokenError> {
    let mut claims = claims_at(NOW, more);
    // Null means here that the claim is left out.
    let fields = claims.as_object_mut().unwrap();
    fields.retain(|_, value| !value.is_null());
    verifier.verify(&Key::secret(SECRET).sign(&claims)).await
}

async fn verified(more: Value) -> Result<Verified, TokenError> {
    verified_by(&by_secret(clock()), &more).await
}

#[tokio::test]
async fn a_token_is_accepted_until_its_expiry_plus_the_leeway() {
    let clock = clock();
    let verifier = by_secret(clock.clone());
    let claims = json!({ "exp": NOW + 100 });
    clock.advance(Duration::from_millis(129_999));
    assert!(verified_by(&verifier, &claims).await.is_ok());
    clock.advance(Duration::from_millis(1));
    let expired = verified_by(&verifier, &claims).await;
    assert_eq!(expired, Err(TokenError::Expired));
}

#[tokio::test]
async fn a_token_is_rejected_before_its_start() {
    let clock = clock();
    let verifier = by_secret(clock.clone());
    let claims = json!({ "nbf": NOW + 100 });
    clock.advance(Duration::from_millis(69_999));
    let early = verified_by(&verifier, &claims).await;
    assert_eq!(early, Err(TokenError::NotYetValid));
    clock.advance(Duration::from_millis(1));
    assert!(verified_by(&verifier, &claims).await.is_ok());
}

#[tokio::test]
async fn invalid_times_are_rejected() {
    for wrong in [
        json!("soon"),
        json!(-1),
        json!(1e300),
        json!([]),
        json!(true),
    ] {
        for name in ["exp", "nbf"] {
            let refused = verified(json!({ name: wrong })).await;
            assert_eq!(refused, Err(TokenError::Malformed), "{name} {wrong}");
        }
    }
    let endless = verified(json!({ "exp": null })).await;
    assert_eq!(endless, Err(TokenError::Malformed));
    assert!(verified(json!({ "exp": 1_900_000_000.5 })).await.is_ok());
}

#[tokio::test]
async fn a_token_of_another_issuer_is_rejected() {
    for issuer in [
        json!(null),
        json!(""),
        json!("https://issuer.example/"),
        json!("https://ISSUER.example"),
        json!(["https://other.example"]),
        // RFC 7519, 4.1.1: an issuer is one text. A list that contains ours names others, too.
        json!([ISSUER]),
        json!([ISSUER, "https://other.example"]),
        json!({ "issuer": ISSUER }),
        json!(7),
    ] {
        let refused = verified(json!({ "iss": issuer })).await;
        assert_eq!(refused, Err(TokenError::Issuer), "{issuer}");
    }
}

#[tokio::test]
async fn a_token_for_another_audience_is_rejected() {
    for audience in [
        json!(null),
        json!(""),
        json!("another"),
        json!(["another", "third"]),
        json!([]),
        json!(7),
        json!({ "firstcome": true }),
    ] {
        let refused = verified(json!({ "aud": audience })).await;
        assert_eq!(refused, Err(TokenError::Audience), "{audience}");
    }
    for audience in [
        json!(AUDIENCE),
        json!([AUDIENCE]),
        json!(["another", AUDIENCE]),
    ] {
        let believed = verified(json!({ "aud": audience })).await;
        assert!(believed.is_ok(), "{audience}");
    }
    assert!(verified(json!({ "iss": ISSUER })).await.is_ok());
}

#[tokio::test]
async fn a_subject_that_is_a_user_id_is_that_user() {
    for (subject, user) in [
        (json!("1"), Some(1)),
        (json!(42), Some(42)),
        (json!("9007199254740991"), Some(9_007_199_254_740_991)),
        (json!("9007199254740992"), None),
        (json!("0"), None),
        (json!("-1"), None),
        (json!("+1"), None),
        (json!("01"), None),
        (json!(" 1"), None),
        (json!("1.0"), None),
        (json!("1e3"), None),
        (json!("１"), None),
        (json!("service:import"), None),
    ] {
        let verified = verified(json!({ "sub": subject })).await.unwrap();
        assert_eq!(verified.user.map(|user| user.0), user, "{subject}");
    }
}

#[tokio::test]
async fn an_invalid_subject_is_rejected() {
    for subject in [
        json!(null),
        json!(""),
        json!("a\nb"),
        json!("a".repeat(256)),
    ] {
        let refused = verified(json!({ "sub": subject })).await;
        assert_eq!(refused, Err(TokenError::Subject), "{subject}");
    }
    for subject in [json!(["42"]), json!({ "id": 42 }), json!(-42), json!(4.2)] {
        let refused = verified(json!({ "sub": subject })).await;
        assert_eq!(refused, Err(TokenError::Malformed), "{subject}");
    }
}

#[tokio::test]
async fn scopes_are_parsed_in_every_form_of_the_issuers() {
    let both = [Scope::CampaignRead, Scope::StatsRead];
    for name in ["scope", "scp", "permissions"] {
        for words in [
            json!("openid campaign:read  stats:read"),
            json!(["campaign:read", "stats:read", "other"]),
        ] {
            let verified = verified(json!({ name: words })).await.unwrap();
            for scope in Scope::ALL {
                let has = verified.scopes.has(scope);
                assert_eq!(has, both.contains(&scope), "{name} {words} {scope}");
            }
        }
    }
    let spread = json!({ "scope": "campaign:read", "permissions": ["stats:read"] });
    let verified = verified(spread).await.unwrap();
    assert!(both.into_iter().all(|scope| verified.scopes.has(scope)));
}

#[tokio::test]
async fn invalid_scopes_are_rejected() {
    for words in [
        json!(["campaign:read stats:read"]),
        json!("campaign:read,stats:read"),
        json!("CAMPAIGN:READ"),
        json!("campaign:read\tstats:read"),
        json!("campaign:readx"),
    ] {
        let verified = verified(json!({ "scope": words })).await.unwrap();
        assert!(verified.scopes.is_empty(), "{words}");
    }
    for words in [json!(7), json!({ "campaign:read": true }), json!([7])] {
        let refused = verified(json!({ "scope": words })).await;
        assert_eq!(refused, Err(TokenError::Malformed), "{words}");
    }
}

/// Readers disagree on which of the two counts.
#[tokio::test]
async fn a_token_with_a_duplicate_claim_is_rejected() {
    let honest = claims_at(NOW, &json!({})).to_string();
    let twice = honest.replacen('{', "{\"sub\":\"7\",", 1);
    let head = crate::tokens::encode(json!({ "alg": "HS256" }).to_string());
    let signed = format!("{head}.{}", crate::tokens::encode(twice));
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, SECRET.as_bytes());
    let signature = ring::hmac::sign(&key, signed.as_bytes());
    let token = format!("{signed}.{}", crate::tokens::encode(signature));
    let refused = by_secret(clock()).verify(&token).await;
    assert_eq!(refused, Err(TokenError::Malformed));
}
