//! Forged and modified tokens.

use firstcome::access::identity::{Algorithm, KeySet, TokenError, Verifier};
use firstcome::runtime::clock::Clock;
use serde_json::{Value, json};

use super::{believes, by_document, by_keys, by_secret};
use crate::tokens::{Key, SECRET, claims, encode, key_set};

async fn refused(verifier: &Verifier, token: &str) -> TokenError {
    verifier.verify(token).await.unwrap_err()
}

#[tokio::test]
async fn a_token_of_each_algorithm_is_accepted() {
    let (rsa, ec, ed) = (Key::rsa("r"), Key::ec("c"), Key::ed("d"));
    let verifier = by_keys(&[&rsa, &ec, &ed]);
    for key in [&rsa, &ec, &ed] {
        let believed = verifier.verify(&key.sign(&claims(&json!({})))).await;
        assert_eq!(believed.unwrap().subject, "42", "{}", key.algorithm());
    }
    let token = Key::secret(SECRET).sign(&claims(&json!({})));
    let believed = by_secret(Clock::System).verify(&token).await.unwrap();
    assert_eq!(believed.user.unwrap().0, 42);
}

#[tokio::test]
async fn a_token_signed_by_another_key_is_rejected() {
    let verifier = by_keys(&[&Key::rsa("r"), &Key::ec("c"), &Key::ed("d")]);
    for forger in [Key::forged_rsa("r"), Key::ec("c"), Key::ed("d")] {
        let token = forger.sign(&claims(&json!({})));
        let error = refused(&verifier, &token).await;
        assert_eq!(error, TokenError::Signature, "{}", forger.algorithm());
    }
    let token =
        Key::secret("another secret of a test, as long as the other").sign(&claims(&json!({})));
    let error = refused(&by_secret(Clock::System), &token).await;
    assert_eq!(error, TokenError::Signature);
}

#[tokio::test]
async fn a_token_without_a_signature_is_rejected() {
    let secret = Key::secret(SECRET);
    let rsa = Key::rsa("r");
    let claims = claims(&json!({}));
    for (verifier, key) in [
        (by_secret(Clock::System), &secret),
        (by_keys(&[&rsa]), &rsa),
    ] {
        for algorithm in ["none", "None", "NONE", "nOnE", ""] {
            let head = encode(json!({ "alg": algorithm, "typ": "JWT" }).to_string());
            let body = encode(claims.to_string());
            for token in [format!("{head}.{body}."), format!("{head}.{body}")] {
                let error = refused(&verifier, &token).await;
                assert_eq!(error, TokenError::Malformed, "{algorithm}");
            }
            let token = key.sign_as(&json!({ "alg": algorithm }), &claims);
            assert_eq!(refused(&verifier, &token).await, TokenError::Malformed);
        }
        let token = key.sign(&claims);
        let (signed, _) = token.rsplit_once('.').unwrap();
        assert_eq!(
            refused(&verifier, &format!("{signed}.")).await,
            TokenError::Signature
        );
        assert_eq!(refused(&verifier, signed).await, TokenError::Malformed);
    }
}

/// The public key is not a secret: a token signed with it as a shared secret must be rejected.
#[tokio::test]
async fn a_public_key_is_not_used_as_a_secret() {
    for key in [Key::rsa("k"), Key::ec("k"), Key::ed("k")] {
        let verifier = by_keys(&[&key]);
        let public = key.jwk();
        let component = |name: &str| public[name].as_str().map(str::to_owned);
        let mut secrets: Vec<String> = ["n", "x", "y"].into_iter().filter_map(component).collect();
        secrets.push(public.to_string());
        for secret in secrets {
            let head = json!({ "alg": "HS256", "kid": "k" });
            let token = Key::secret(&secret).sign_as(&head, &claims(&json!({})));
            assert_eq!(refused(&verifier, &token).await, TokenError::Algorithm);
        }
    }
}

#[tokio::test]
async fn only_algorithms_that_were_configured_are_accepted() {
    let (rsa, ed) = (Key::rsa("r"), Key::ed("d"));
    let document = key_set(&[&rsa, &ed]);
    let verifier = by_document(&document, &[Algorithm::EdDsa]);
    let claims = claims(&json!({}));
    assert!(verifier.verify(&ed.sign(&claims)).await.is_ok());
    let error = refused(&verifier, &rsa.sign(&claims)).await;
    assert_eq!(error, TokenError::Algorithm);
    for other in [
        "RS384", "RS512", "PS256", "PS512", "ES384", "HS384", "HS512",
    ] {
        for (verifier, key) in [
            (by_keys(&[&rsa]), &rsa),
            (by_secret(Clock::System), &Key::secret(SECRET)),
        ] {
            let token = key.sign_as(&json!({ "alg": other, "kid": key.name }), &claims);
            assert_eq!(
                refused(&verifier, &token).await,
                TokenError::Algorithm,
                "{other}"
            );
        }
    }
}

/// A key has one algorithm: a token cannot choose another for it.
#[tokio::test]
async fn a_key_is_used_for_its_own_algorithm_only() {
    let (rsa, ec, ed) = (Key::rsa("r"), Key::ec("c"), Key::ed("d"));
    let verifier = by_keys(&[&rsa, &ec, &ed]);
    for key in [&rsa, &ec, &ed] {
        for other in ["RS256", "ES256", "EdDSA"] {
            if other == key.algorithm() {
                continue;
            }
            let head = json!({ "alg": other, "kid": key.name });
            let token = key.sign_as(&head, &claims(&json!({})));
            let error = refused(&verifier, &token).await;
            assert_eq!(error, TokenError::UnknownKey, "{other} by {}", key.name);
        }
    }
}

#[tokio::test]
async fn a_modified_token_is_rejected() {
    let key = Key::ed("d");
    let verifier = by_keys(&[&key]);
    let token = key.sign(&claims(&json!({})));
    let parts: Vec<&str> = token.split('.').collect();
    let body = encode(claims(&json!({ "sub": "43" })).to_string());
    let head = encode(json!({ "alg": "EdDSA", "kid": "d", "typ": "at+jwt" }).to_string());
    let (cut, _) = parts[2].split_at(parts[2].len() - 2);
    for (changed, error) in [
        (
            format!("{}.{body}.{}", parts[0], parts[2]),
            TokenError::Signature,
        ),
        (
            format!("{head}.{}.{}", parts[1], parts[2]),
            TokenError::Signature,
        ),
        (
            format!("{}.{}.{cut}", parts[0], parts[1]),
            TokenError::Signature,
        ),
        (format!("{token}.x"), TokenError::Malformed),
        (format!(".{token}"), TokenError::Malformed),
        (String::new(), TokenError::Malformed),
        ("..".to_owned(), TokenError::Malformed),
        ("a.b.c".to_owned(), TokenError::Malformed),
    ] {
        assert_eq!(refused(&verifier, &changed).await, error, "{changed}");
    }
}

/// The key that a token itself names or contains is under the control of its author.
#[tokio::test]
async fn a_key_embedded_in_the_token_is_ignored() {
    let forger = Key::ed("d");
    let verifier = by_keys(&[&Key::ed("d")]);
    let more = json!({ "jwk": forger.jwk(), "jku": "https://forger.example/keys" });
    let mut head = json!({ "alg": "EdDSA", "kid": "d" });
    for (name, value) in more.as_object().unwrap() {
        head[name] = value.clone();
        let token = forger.sign_as(&head, &claims(&json!({})));
        assert!(verifier.verify(&token).await.is_err(), "{name}");
    }
}

#[tokio::test]
async fn a_token_with_a_critical_header_is_rejected() {
    let key = Key::ed("d");
    let head = json!({ "alg": "EdDSA", "kid": "d", "crit": ["b64"], "b64": false });
    let token = key.sign_as(&head, &claims(&json!({})));
    assert_eq!(
        refused(&by_keys(&[&key]), &token).await,
        TokenError::Malformed
    );
}

#[tokio::test]
async fn keys_with_another_use_are_ignored() {
    let key = Key::ed("d");
    let with = |name: &str, value: Value| {
        let mut jwk = key.jwk();
        jwk[name] = value;
        json!({ "keys": [jwk] }).to_string()
    };
    for (name, value) in [
        ("use", json!("enc")),
        ("key_ops", json!(["sign"])),
        ("alg", json!("RS256")),
        ("crv", json!("X25519")),
        ("crv", json!("Ed448")),
        ("kty", json!("quantum")),
    ] {
        let document = with(name, value);
        let keys = KeySet::of_document(document.as_bytes(), &Algorithm::PUBLIC);
        assert!(keys.is_err(), "{document}");
    }
    for (name, value) in [
        ("use", json!("sig")),
        ("key_ops", json!(["verify"])),
        ("alg", json!("EdDSA")),
        ("something", json!("else")),
    ] {
        let document = with(name, value);
        let keys = KeySet::of_document(document.as_bytes(), &Algorithm::PUBLIC);
        assert!(keys.is_ok(), "{document}");
    }
}

#[tokio::test]
async fn a_symmetric_key_in_a_key_set_is_never_used() {
    let secret = Key::secret(SECRET);
    let document = key_set(&[&secret]).to_string();
    for algorithms in [&Algorithm::PUBLIC[..], &[Algorithm::Hs256][..]] {
        let keys = KeySet::of_document(document.as_bytes(), algorithms);
        assert!(keys.is_err(), "{algorithms:?}");
    }
}

#[tokio::test]
async fn a_key_of_unknown_type_does_not_hide_the_others() {
    let key = Key::ed("d");
    let mut document = key_set(&[&key]);
    let keys = document["keys"].as_array_mut().unwrap();
    for strange in [
        json!(7),
        json!({}),
        json!({ "kty": "EC", "crv": "secp256k1" }),
    ] {
        keys.insert(0, strange);
    }
    let verifier = by_document(&document, &Algorithm::PUBLIC);
    assert!(believes(&verifier, &key).await);
}

#[tokio::test]
async fn the_key_of_a_token_is_found_by_its_id_and_never_by_trial() {
    let (one, two) = (Key::ed("one"), Key::ed("two"));
    let verifier = by_keys(&[&one, &two]);
    let claims = claims(&json!({}));
    let by = |key: &Key, head: Value| key.sign_as(&head, &claims);
    let nameless = by(&one, json!({ "alg": "EdDSA" }));
    assert_eq!(refused(&verifier, &nameless).await, TokenError::UnknownKey);
    let other = by(&one, json!({ "alg": "EdDSA", "kid": "two" }));
    assert_eq!(refused(&verifier, &other).await, TokenError::Signature);
    let unknown = by(&one, json!({ "alg": "EdDSA", "kid": "three" }));
    assert_eq!(refused(&verifier, &unknown).await, TokenError::UnknownKey);
    // With one key, no name is needed.
    assert!(by_keys(&[&one]).verify(&nameless).await.is_ok());
    let mut bare = one.jwk();
    bare.as_object_mut().unwrap().remove("kid");
    let verifier = by_document(&json!({ "keys": [bare] }), &Algorithm::PUBLIC);
    assert!(verifier.verify(&unknown).await.is_ok());
}

/// RFC 8725, 3.11: a token for another purpose must not authenticate.
#[tokio::test]
async fn a_token_of_another_type_is_rejected() {
    let (key, verifier) = (Key::secret(SECRET), by_secret(Clock::System));
    let of_type = |typ: Value| {
        let mut head = json!({ "alg": "HS256" });
        if !typ.is_null() {
            head["typ"] = typ;
        }
        key.sign_as(&head, &claims(&json!({})))
    };
    for typ in [
        "JWT",
        "jwt",
        "at+jwt",
        "AT+JWT",
        "application/at+jwt",
        "Application/JWT",
    ] {
        let believed = verifier.verify(&of_type(json!(typ))).await;
        assert!(believed.is_ok(), "{typ}: {believed:?}");
    }
    assert!(verifier.verify(&of_type(Value::Null)).await.is_ok());
    for typ in [
        "",
        "logout+jwt",
        "secevent+jwt",
        "dpop+jwt",
        "JWE",
        "jwt ",
        "at+jwt+x",
        "text/jwt",
        "application/application/jwt",
        "application/",
    ] {
        let believed = verifier.verify(&of_type(json!(typ))).await;
        assert!(believed.is_err(), "{typ:?} is believed");
    }
}
