//! Time-based one-time codes (TOTP): enabled by the owner of an account, required at log-in, accepted once,
//! disabled by the owner or reset by an admin.

mod managing;

use std::time::{SystemTime, UNIX_EPOCH};

use ring::hmac;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::super::guessing::events;
use super::super::process::{ADMIN_TOKEN, Service, body};
use super::scene::{Browser, PASSWORD, Scene, account, refused, said};

const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// The code that an authenticator app shows, this number of steps from now: by RFC 6238, without the crate of
/// the service. The service accepts the steps 0 and 1, even if the next step begins meanwhile.
fn code(secret: &str, steps: u64) -> String {
    let (mut bits, mut count, mut key) = (0_u64, 0, Vec::new());
    for letter in secret.bytes() {
        let index = ALPHABET.iter().position(|known| *known == letter);
        bits = bits << 5 | u64::try_from(index.unwrap()).unwrap();
        count += 5;
        if count >= 8 {
            count -= 8;
            key.push(u8::try_from(bits >> count & 0xff).unwrap());
        }
    }
    #[allow(clippy::disallowed_methods, reason = "an app has a clock of its own")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let step = now.as_secs() / 30 + steps;
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &key);
    let hash = hmac::sign(&key, &step.to_be_bytes());
    let hash = hash.as_ref();
    let offset = usize::from(hash[19] & 0xf);
    let number = u32::from_be_bytes(hash[offset..offset + 4].try_into().unwrap());
    format!("{:06}", (number & 0x7fff_ffff) % 1_000_000)
}

/// Logs in as ada. Returns the status and code of the response.
async fn enters(browser: &mut Browser<'_>, password: &str, code: Option<&str>) -> (u16, String) {
    let mut asked = json!({ "login": "ada", "password": password });
    if let Some(code) = code {
        asked["code"] = json!(code);
    }
    let answer = browser.post("/api/session", &asked).await;
    browser.keep(answer.headers());
    if answer.status() == 201 {
        browser.is_let_in(answer).await;
        return (201, String::new());
    }
    said(answer).await
}

fn accepted() -> (u16, String) {
    (201, String::new())
}

/// Begins to enrol. Returns the secret.
async fn begin(browser: &Browser<'_>) -> String {
    let asked = json!({ "currentPassword": PASSWORD });
    let begun = browser.post("/api/session/totp", &asked).await;
    assert_eq!(begun.status(), 200);
    assert_eq!(begun.headers()["cache-control"], "no-store");
    let begun = body(begun).await;
    let secret = begun["secret"].as_str().unwrap().to_owned();
    assert_eq!(secret.len(), 32, "160 bits in Base32");
    let uri = begun["uri"].as_str().unwrap();
    assert!(uri.starts_with("otpauth://totp/firstcome:ada?"), "{uri}");
    for part in [&format!("secret={secret}"), "issuer=firstcome"] {
        assert!(uri.contains(part), "{uri}");
    }
    secret
}

/// Enables codes for the logged-in account. Returns the secret and the recovery codes.
async fn enable(browser: &mut Browser<'_>) -> (String, Vec<String>) {
    let secret = begin(browser).await;
    let asked = json!({ "code": code(&secret, 0) });
    let confirmed = browser.post("/api/session/totp/confirm", &asked).await;
    browser.keep(confirmed.headers());
    assert_eq!(confirmed.status(), 201);
    assert_eq!(confirmed.headers()["cache-control"], "no-store");
    let confirmed = body(confirmed).await;
    let session = &confirmed["session"];
    assert_eq!(session["totp"], "enabled");
    session["csrfToken"]
        .as_str()
        .unwrap()
        .clone_into(&mut browser.csrf);
    let codes = confirmed["recoveryCodes"].as_array().unwrap().iter();
    (
        secret,
        codes
            .map(|code| code.as_str().unwrap().to_owned())
            .collect(),
    )
}

async fn audited(service: &Service) -> Vec<Value> {
    let log = service.get("/api/admin/audit").bearer_auth(ADMIN_TOKEN);
    let log = body(log.send().await.unwrap()).await;
    log["items"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_in_needs_a_code_after_the_first_code_is_confirmed() {
    for scene in Scene::all(&[]).await {
        account(&scene.service, "ada", &["stats:read"]).await;
        let mut browser = scene.browser();
        assert_eq!(browser.enters("ada", None).await["totp"], "disabled");
        let path = "/api/session/totp/confirm";
        let nothing = browser.post(path, &json!({ "code": "123456" })).await;
        assert_eq!(said(nothing).await, refused(409, "NO_ENROLMENT"));
        let wrong = json!({ "currentPassword": "a wrong password" });
        let begun = browser.post("/api/session/totp", &wrong).await;
        assert_eq!(said(begun).await, refused(401, "LOGIN_REFUSED"));

        // A secret that is not confirmed changes nothing, and is replaced by the next one.
        let abandoned = begin(&browser).await;
        assert_eq!(
            enters(&mut scene.browser(), PASSWORD, None).await,
            accepted()
        );
        let secret = begin(&browser).await;
        assert_ne!(secret, abandoned);
        for wrong in [code(&abandoned, 0), code(&secret, 9)] {
            let confirmed = browser.post(path, &json!({ "code": wrong })).await;
            assert_eq!(said(confirmed).await, refused(401, "CODE_REFUSED"));
        }
        let (secret, codes) = enable(&mut browser).await;
        assert_eq!(codes.len(), 10);
        let asked = json!({ "currentPassword": PASSWORD });
        let again = browser.post("/api/session/totp", &asked).await;
        assert_eq!(said(again).await, refused(409, "TOTP_ENABLED"));

        let mut other = scene.browser();
        let code_refused = refused(401, "CODE_REFUSED");
        assert_eq!(
            enters(&mut other, PASSWORD, None).await,
            refused(401, "CODE_REQUIRED")
        );
        assert_eq!(
            enters(&mut other, PASSWORD, Some(&code(&secret, 9))).await,
            code_refused
        );
        let confirmed = code(&secret, 0);
        let next = code(&secret, 1);
        let login_refused = refused(401, "LOGIN_REFUSED");
        assert_eq!(
            enters(&mut other, "a wrong password", None).await,
            login_refused
        );
        assert_eq!(
            enters(&mut other, "a wrong password", Some(&next)).await,
            login_refused
        );
        assert_eq!(enters(&mut other, PASSWORD, Some(&next)).await, accepted());
        for used in [&next, &confirmed] {
            assert_eq!(
                enters(&mut other, PASSWORD, Some(used)).await,
                code_refused,
                "used"
            );
        }

        recovery_codes_are_good_once(&scene, &mut other, &codes).await;
    }
}

/// Logs in by recovery codes, then changes the password.
async fn recovery_codes_are_good_once(scene: &Scene, other: &mut Browser<'_>, codes: &[String]) {
    // A recovery code is valid once, in any notation.
    let typed = codes[0].to_lowercase().replace('-', " ");
    assert_eq!(enters(other, PASSWORD, Some(&typed)).await, accepted());
    assert_eq!(
        enters(other, PASSWORD, Some(&codes[0])).await,
        refused(401, "CODE_REFUSED")
    );
    assert_eq!(enters(other, PASSWORD, Some(&codes[1])).await, accepted());
    // The password changes without a code; the next log-in still needs one.
    let change =
        json!({ "currentPassword": PASSWORD, "newPassword": "another password of a test" });
    assert_eq!(
        other.post("/api/session/password", &change).await.status(),
        201
    );
    let after = enters(&mut scene.browser(), "another password of a test", None).await;
    assert_eq!(after, refused(401, "CODE_REQUIRED"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_opens_one_session_on_all_replicas_together() {
    let all_at_once = [
        ("FIRSTCOME_ACCOUNTS_LOGIN_NAME_CONCURRENT_MAX", "100"),
        ("FIRSTCOME_ACCOUNTS_LOGIN_ADDRESS_CONCURRENT_MAX", "100"),
    ];
    let scene = Scene::real(&all_at_once).await;
    let settings = scene.parts.as_ref().unwrap().settings.clone();
    let folder = TempDir::new().unwrap();
    let other = Service::start(&folder, &settings).await;
    account(&scene.service, "ada", &["stats:read"]).await;
    let mut browser = scene.browser();
    browser.enters("ada", None).await;
    let (secret, codes) = enable(&mut browser).await;
    for code in [code(&secret, 1), codes[0].clone()] {
        let asked = json!({ "login": "ada", "password": PASSWORD, "code": code });
        let log_ins = (0..12).map(|nth| {
            let service = if nth % 2 == 0 { &scene.service } else { &other };
            let request = service.post("/api/session").json(&asked);
            async move { said(request.send().await.unwrap()).await }
        });
        let outcomes = futures_util::future::join_all(log_ins).await;
        let opened = outcomes.iter().filter(|(status, _)| *status == 201).count();
        let refusals = outcomes
            .iter()
            .filter(|one| **one == refused(401, "CODE_REFUSED"));
        assert_eq!((opened, refusals.count()), (1, 11), "{outcomes:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_codes_are_failures_that_are_reported_and_slow_down_the_next() {
    let settings = [
        ("FIRSTCOME_ACCOUNTS_LOGIN_FAILURES_MAX", "3"),
        ("FIRSTCOME_HTTP_TRUSTED_PROXIES", "127.0.0.0/8"),
        ("FIRSTCOME_LOG_FORMAT", "json"),
    ];
    for scene in Scene::all(&settings).await {
        account(&scene.service, "ada", &["stats:read"]).await;
        let mut browser = scene.browser();
        browser.enters("ada", None).await;
        let (secret, codes) = enable(&mut browser).await;
        let tries = async |code: Option<&str>| {
            let mut asked = json!({ "login": "ada", "password": PASSWORD });
            if let Some(code) = code {
                asked["code"] = json!(code);
            }
            let request = scene.service.post("/api/session").json(&asked);
            let request = request.header("x-forwarded-for", "203.0.113.7");
            said(request.send().await.unwrap()).await
        };
        // Without a code nothing is guessed: it is no failure, and does not make the address known.
        for _ in 0..6 {
            assert_eq!(tries(None).await, refused(401, "CODE_REQUIRED"));
        }
        let wrong = code(&secret, 9);
        for nth in 0..4 {
            assert_eq!(
                tries(Some(&wrong)).await,
                refused(401, "CODE_REFUSED"),
                "{nth}"
            );
        }
        // A correct code is not checked now.
        assert_eq!(tries(Some(&codes[0])).await, refused(429, "RATE_LIMITED"));
        assert_eq!(tries(None).await, refused(429, "RATE_LIMITED"));
        let events = events(&scene.service);
        let count = |name: &str, reason: Option<&str>| {
            let of = events
                .iter()
                .filter(|event| event["security.event"] == name);
            of.filter(|event| event["security.reason"].as_str() == reason)
                .count()
        };
        assert_eq!(count("login.failed", Some("code")), 4);
        assert_eq!(count("login.throttled", Some("login_name")), 2);
        assert_eq!(count("totp.enabled", None), 1);
        let metrics = scene.service.get("/metrics").send().await.unwrap();
        let metrics = metrics.text().await.unwrap();
        for line in [
            "firstcome_logins_total{result=\"code_required\"} 6\n",
            "firstcome_logins_total{result=\"code_refused\"} 4\n",
            "firstcome_logins_total{result=\"limited\"} 2\n",
        ] {
            assert!(metrics.contains(line), "{line}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn enabling_codes_ends_sessions_opened_without_one_and_keeps_remembered_log_ins() {
    for scene in Scene::all(&[]).await {
        account(&scene.service, "ada", &["stats:read"]).await;
        let (mut before, mut browser) = (scene.browser(), scene.browser());
        before.enters("ada", Some(true)).await;
        browser.enters("ada", None).await;
        let (secret, _) = enable(&mut browser).await;
        assert!(browser.is_logged_in().await);
        assert!(!before.is_logged_in().await);
        assert_eq!(
            said(before.resume().await).await,
            refused(401, "NOT_REMEMBERED")
        );
        // The log-in that is remembered now began with a code, and continues without another.
        let mut remembered = scene.browser();
        let asked = json!({
            "login": "ada", "password": PASSWORD, "code": code(&secret, 1), "rememberMe": true,
        });
        let answer = remembered.post("/api/session", &asked).await;
        remembered.keep(answer.headers());
        remembered.is_let_in(answer).await;
        let answer = remembered.resume().await;
        let session = remembered.is_let_in(answer).await;
        assert_eq!(
            (&session["totp"], &session["scopes"]),
            (&json!("enabled"), &json!(["stats:read"]))
        );
    }
}
