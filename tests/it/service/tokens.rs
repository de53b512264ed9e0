//! Participants with tokens, over HTTP.

use std::fs;

use reqwest::Response;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::process::{ADMIN_TOKEN, Service, Settings, body, command};
use crate::support::until;
use crate::tokens::{
    AUDIENCE, AUTHORITY, Answer, ISSUER, Issuer, Key, SECRET, claims, encode, key_set,
};

/// Settings of a service that accepts tokens signed with the secret.
pub fn with_secret() -> Vec<(&'static str, String)> {
    let mut settings = with_jwt();
    settings.push(("FIRSTCOME_AUTH_JWT_SECRET", SECRET.to_owned()));
    settings
}

fn with_jwt() -> Vec<(&'static str, String)> {
    vec![
        ("FIRSTCOME_AUTH_MODE", "jwt".to_owned()),
        ("FIRSTCOME_AUTH_ISSUER", ISSUER.to_owned()),
        ("FIRSTCOME_AUTH_AUDIENCE", AUDIENCE.to_owned()),
    ]
}

/// A correct token with these claims added or replaced.
pub fn token(more: &Value) -> String {
    Key::secret(SECRET).sign(&claims(more))
}

/// The token of a user.
pub fn token_of(user: u64) -> String {
    token(&json!({ "sub": user.to_string() }))
}

async fn take_part(service: &Service, token: &str, asked: Value) -> Response {
    let path = "/api/campaigns/1/participation";
    let request = service.post(path).bearer_auth(token).json(&asked);
    request.send().await.unwrap()
}

async fn is_refused(answer: Response, code: &str, challenge: &str) {
    assert_eq!(answer.status(), 401);
    let headers = answer.headers();
    assert_eq!(headers["content-type"], "application/problem+json");
    assert_eq!(headers["www-authenticate"], challenge);
    let problem = body(answer).await;
    assert_eq!(problem["code"], code);
    assert_eq!(problem["status"], 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_subject_of_a_token_participates() {
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, &with_secret()).await;
    let made = take_part(&service, &token_of(42), json!({})).await;
    assert_eq!(made.status(), 201);
    let made = body(made).await;
    assert_eq!(made["userId"], 42);
    let same = take_part(&service, &token_of(43), json!({ "userId": 43 })).await;
    assert_eq!(same.status(), 201);
    let other = take_part(&service, &token_of(44), json!({ "userId": 45 })).await;
    assert_eq!(other.status(), 403);
    assert_eq!(body(other).await["code"], "FORBIDDEN");

    let path = format!(
        "/api/participations/{}",
        made["participationId"].as_str().unwrap()
    );
    for (user, status) in [(42, 200), (43, 404)] {
        let asked = service.get(&path).bearer_auth(token_of(user));
        assert_eq!(asked.send().await.unwrap().status(), status, "{user}");
    }
    for (user, status) in [(42, 200), (43, 403)] {
        for what in ["participations", "rewards"] {
            let asked = service.get(&format!("/api/users/42/{what}"));
            let answer = asked.bearer_auth(token_of(user)).send().await.unwrap();
            assert_eq!(answer.status(), status, "{user} {what}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_of_the_gateway_mode_are_rejected_with_jwt() {
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, &with_secret()).await;
    let wanted = "Bearer realm=\"firstcome\"";
    let named = service.take_part(1, 42).await;
    is_refused(named, "UNAUTHENTICATED", wanted).await;
    for value in ["42", "Basic NDI6NDI=", "Bearer"] {
        let request = service.post("/api/campaigns/1/participation");
        let request = request
            .header("Authorization", value)
            .json(&json!({ "userId": 42 }));
        is_refused(request.send().await.unwrap(), "UNAUTHENTICATED", wanted).await;
    }
    let history = service
        .get("/api/users/42/participations")
        .header("Authorization", "42");
    is_refused(history.send().await.unwrap(), "UNAUTHENTICATED", wanted).await;
    // Public operations need no user.
    for path in [
        "/api/campaigns",
        "/api/campaigns/1/status",
        "/api/time",
        "/livez",
    ] {
        assert_eq!(
            service.get(path).send().await.unwrap().status(),
            200,
            "{path}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rejected_tokens_get_401_with_the_reason() {
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, &with_secret()).await;
    let (secret, none) = (Key::secret(SECRET), json!({ "alg": "none" }));
    let unsigned = format!(
        "{}.{}.",
        encode(none.to_string()),
        encode(claims(&json!({})).to_string())
    );
    let forged =
        Key::secret("another secret of a test, as long as the other").sign(&claims(&json!({})));
    for (what, token) in [
        ("forged", forged),
        ("unsigned", unsigned),
        (
            "another algorithm",
            secret.sign_as(&json!({ "alg": "HS512" }), &claims(&json!({}))),
        ),
        (
            "another kind of key",
            Key::rsa("secret").sign(&claims(&json!({}))),
        ),
        (
            "another type",
            secret.sign_as(
                &json!({ "alg": "HS256", "typ": "logout+jwt" }),
                &claims(&json!({})),
            ),
        ),
        ("expired", token(&json!({ "exp": 1_000_000_000 }))),
        ("too early", token(&json!({ "nbf": 4_000_000_000_u64 }))),
        ("another audience", token(&json!({ "aud": "somebody" }))),
        ("another issuer", token(&json!({ "iss": "somebody" }))),
        ("no user", token(&json!({ "sub": "somebody" }))),
        ("no token", "42".to_owned()),
    ] {
        for path in [
            "/api/campaigns/1/participation",
            "/api/campaigns/1/participation-sync",
        ] {
            let request = service.post(path).bearer_auth(&token).json(&json!({}));
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), 401, "{what}");
            is_refused(answer, "INVALID_TOKEN", "Bearer error=\"invalid_token\"").await;
        }
    }
    let metrics = service.get("/metrics").send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    for (reason, count) in [
        ("signature", 2),
        ("type", 2),
        ("expired", 2),
        ("audience", 2),
        ("malformed", 4),
    ] {
        let line = format!("firstcome_tokens_refused_total{{reason=\"{reason}\"}} {count}\n");
        assert!(metrics.contains(&line), "{line}");
    }
    let stock = service.get("/api/campaigns/1/stock").send().await.unwrap();
    let stock = body(stock).await;
    assert_eq!(
        stock["currentStock"], stock["totalStock"],
        "nothing was taken"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scope_gives_access_to_its_data() {
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, &with_secret()).await;
    let made = body(take_part(&service, &token_of(42), json!({})).await).await;
    let id = made["participationId"].as_str().unwrap().to_owned();
    let reader = token(&json!({ "sub": "support", "scope": "campaign:read pii:read" }));
    let user = token(&json!({ "sub": "7", "scp": ["campaign:read", "pii:read"] }));
    for token in [&reader, &user] {
        for path in [
            format!("/api/participations/{id}"),
            "/api/users/42/rewards".to_owned(),
        ] {
            let answer = service.get(&path).bearer_auth(token).send().await.unwrap();
            assert_eq!(answer.status(), 200, "{path}");
        }
        let cancel = service.post(&format!("/api/participations/{id}/cancel"));
        let answer = cancel.bearer_auth(token).send().await.unwrap();
        assert_eq!(answer.status(), 404, "reading is not changing");
    }
    // A service has no user id: it cannot participate, and has no coupons.
    let writer = token(&json!({ "sub": "shop", "scope": "campaign:write" }));
    let answer = take_part(&service, &writer, json!({ "userId": 50 })).await;
    assert_eq!(answer.status(), 403);
    let cancel = service.post(&format!("/api/participations/{id}/cancel"));
    let answer = cancel.bearer_auth(&writer).send().await.unwrap();
    assert_eq!(body(answer).await["code"], "NOT_CANCELLABLE");
    // The admin token acts for the user that it names, as always.
    let answer = take_part(&service, ADMIN_TOKEN, json!({ "userId": 51 })).await;
    assert_eq!(answer.status(), 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_fetched_over_tls_and_again_when_they_change() {
    let (rsa, ed) = (Key::rsa("first"), Key::ed("second"));
    let issuer = Issuer::https(Answer::Keys(key_set(&[&rsa]))).await;
    let folder = TempDir::new().unwrap();
    let authority = folder.path().join("ca.pem");
    fs::write(&authority, AUTHORITY).unwrap();
    let mut settings = with_jwt();
    settings.push(("FIRSTCOME_AUTH_JWKS_URL", issuer.url.clone()));
    settings.push((
        "FIRSTCOME_AUTH_JWKS_CA_FILE",
        authority.display().to_string(),
    ));
    settings.push(("FIRSTCOME_AUTH_JWKS_REFRESH_MIN", "100ms".to_owned()));
    let service = Service::start(&folder, &settings).await;
    let first = rsa.sign(&claims(&json!({ "sub": "1" })));
    assert_eq!(take_part(&service, &first, json!({})).await.status(), 201);
    // The public key as a secret: the oldest forgery of all.
    let modulus = rsa.jwk()["n"].as_str().unwrap().to_owned();
    let head = json!({ "alg": "HS256", "kid": "first" });
    let forged = Key::secret(modulus).sign_as(&head, &claims(&json!({ "sub": "2" })));
    assert_eq!(take_part(&service, &forged, json!({})).await.status(), 401);
    issuer.answers(Answer::Keys(key_set(&[&ed])));
    let second = ed.sign(&claims(&json!({ "sub": "3" })));
    until("the new key is known", async || {
        take_part(&service, &second, json!({})).await.status() != 401
    })
    .await;
    assert_eq!(take_part(&service, &first, json!({})).await.status(), 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_in_no_log() {
    let folder = TempDir::new().unwrap();
    let mut settings = with_secret();
    settings.push(("FIRSTCOME_LOG_FILTER", "trace".to_owned()));
    let mut service = Service::start(&folder, &settings).await;
    let good = token_of(42);
    let bad = token(&json!({ "exp": 1_000_000_000 }));
    assert_eq!(take_part(&service, &good, json!({})).await.status(), 201);
    assert_eq!(take_part(&service, &bad, json!({})).await.status(), 401);
    let admin = service.get("/api/admin/campaigns");
    assert_eq!(
        admin
            .bearer_auth(ADMIN_TOKEN)
            .send()
            .await
            .unwrap()
            .status(),
        200
    );
    assert!(service.stop().await.success());
    let log = service.log();
    assert!(
        log.contains("token rejected"),
        "what is looked for would be there"
    );
    for token in [&good, &bad] {
        for part in token.split('.') {
            assert!(!log.contains(part), "a part of a token is in the log");
        }
    }
    for secret in [SECRET, ADMIN_TOKEN] {
        assert!(!log.contains(secret));
    }
}

fn said(folder: &TempDir, settings: Settings<'_>) -> String {
    let output = command(folder, settings).output().unwrap();
    assert!(!output.status.success(), "{settings:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_in_the_keys_are_reported_at_start() {
    let folder = TempDir::new().unwrap();
    let issuer = Issuer::https(Answer::Keys(key_set(&[&Key::ed("key")]))).await;
    let mut settings = with_jwt();
    settings.push(("FIRSTCOME_AUTH_JWKS_URL", issuer.url.clone()));
    let said = said(&folder, &settings);
    let last = said.lines().last().unwrap();
    let names = last.contains(&issuer.url) && last.contains("FIRSTCOME_AUTH_JWKS_URL");
    assert!(last.starts_with("firstcome: ") && names, "{said}");
    assert_eq!(issuer.asked(), 0, "nobody vouches for it");
}

#[test]
fn a_service_that_verifies_tokens_may_listen_on_all_addresses() {
    let folder = TempDir::new().unwrap();
    let listen = ("FIRSTCOME_HTTP_LISTEN", "192.0.2.1:1".to_owned());
    let trusted = said(&folder, std::slice::from_ref(&listen));
    assert!(trusted.contains("http.listen"), "{trusted}");
    let mut settings = with_secret();
    settings.push(listen);
    let verified = said(&folder, &settings);
    assert!(
        verified.contains("cannot listen on 192.0.2.1:1"),
        "{verified}"
    );
}
