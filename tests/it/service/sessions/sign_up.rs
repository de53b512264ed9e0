//! Sign-up, forgotten passwords, and the end of an account.

use reqwest::Method;
use serde_json::{Value, json};

use super::super::process::body;
use super::messages::{FORGOT, Mailer};
use super::scene::{Browser, PASSWORD, Scene, account, refused, said};

pub const NEW: &str = "another password of a test";

pub fn wish(login: &str, password: &str) -> Value {
    json!({ "login": login, "password": password })
}

#[tokio::test(flavor = "multi_thread")]
async fn sign_up_is_off_unless_configured() {
    let scene = Scene::embedded(&[]).await;
    let browser = scene.browser();
    for (path, asked) in [
        ("/api/accounts", wish("ada", PASSWORD)),
        (
            "/api/accounts/verify",
            json!({ "token": "a".repeat(64), "password": PASSWORD }),
        ),
        (FORGOT, json!({ "login": "ada" })),
        (
            "/api/session/reset-password",
            json!({ "token": "a".repeat(64), "newPassword": NEW }),
        ),
    ] {
        let answer = browser.post(path, &asked).await;
        assert_eq!(said(answer).await, refused(404, "NOT_FOUND"), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_open_sign_up_everybody_gets_an_account_without_scopes() {
    let open = [("FIRSTCOME_ACCOUNTS_SIGN_UP", "open")];
    for scene in Scene::all(&open).await {
        let mut browser = scene.browser();
        let path = "/api/accounts";
        for (asked, field) in [
            (wish("no spaces", PASSWORD), "login"),
            (wish("ada", "eleven char"), "password"),
            (wish("ada", "Qwerty123456"), "password"),
            (json!({ "password": PASSWORD }), "login"),
        ] {
            let answer = browser.post(path, &asked).await;
            assert_eq!(answer.status(), 422);
            assert_eq!(body(answer).await["errors"][0]["field"], field, "{asked}");
        }
        let foreign = browser
            .bare(Method::POST, path)
            .header("sec-fetch-site", "cross-site")
            .json(&wish("ada", PASSWORD));
        assert_eq!(
            said(foreign.send().await.unwrap()).await,
            refused(403, "CSRF")
        );
        let made = browser.post(path, &wish("Ada", PASSWORD)).await;
        assert_eq!(made.status(), 201);
        let made = body(made).await;
        let again = browser.post(path, &wish("ADA", NEW)).await;
        assert_eq!(said(again).await, refused(409, "LOGIN_TAKEN"));
        let session = browser.enters("ada", None).await;
        assert_eq!(session["userId"], made["userId"]);
        assert_eq!(session["scopes"], json!([]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sign_ups_of_one_address_have_a_rate() {
    let limits = [
        ("FIRSTCOME_ACCOUNTS_SIGN_UP", "open"),
        ("FIRSTCOME_ACCOUNTS_SIGN_UP_RATE_ADDRESS", "2/1h"),
    ];
    for scene in Scene::all(&limits).await {
        let browser = scene.browser();
        for login in ["one", "two"] {
            let made = browser.post("/api/accounts", &wish(login, PASSWORD)).await;
            assert_eq!(made.status(), 201);
        }
        let third = browser
            .post("/api/accounts", &wish("three", PASSWORD))
            .await;
        assert!(third.headers().contains_key("retry-after"));
        assert_eq!(said(third).await, refused(429, "RATE_LIMITED"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_deletes_their_account_with_the_password() {
    for scene in Scene::all(&[]).await {
        account(&scene.service, "ada", &[]).await;
        let (mut here, mut elsewhere) = (scene.browser(), scene.browser());
        here.enters("ada", None).await;
        elsewhere.enters("ada", Some(true)).await;
        let path = "/api/session/delete-account";
        let asked = |password: &str| json!({ "currentPassword": password });
        let bare = here.bare(Method::POST, path).json(&asked(PASSWORD));
        assert_eq!(said(bare.send().await.unwrap()).await, refused(403, "CSRF"));
        let wrong = here.post(path, &asked("a wrong password")).await;
        assert_eq!(said(wrong).await, refused(401, "LOGIN_REFUSED"));
        let gone = here.post(path, &asked(PASSWORD)).await;
        assert_eq!(gone.status(), 204);
        here.keep(gone.headers());
        assert!(here.cookies.is_empty());
        assert!(!elsewhere.is_logged_in().await);
        let resumed = elsewhere.resume().await;
        assert_eq!(said(resumed).await, refused(401, "NOT_REMEMBERED"));
        let after = here.log_in("ada", PASSWORD, None).await;
        assert_eq!(said(after).await, refused(401, "LOGIN_REFUSED"));
        // The name is free, and its new account is another user.
        assert_eq!(account(&scene.service, "ada", &[]).await, 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_password_is_reset_with_a_token_and_ends_the_sessions() {
    let (mailer, address) = Mailer::start().await;
    let settings = [("FIRSTCOME_ACCOUNTS_VERIFY_URL", address.as_str())];
    for (nth, scene) in Scene::all(&settings).await.into_iter().enumerate() {
        account(&scene.service, "ada", &[]).await;
        let mut browser = scene.browser();
        browser.enters("ada", None).await;
        let stranger = Browser::at(&scene.service);
        let forgot = |login: &str| json!({ "login": login });
        for login in ["nobody", "ada", "ada"] {
            let asked = stranger.post(FORGOT, &forgot(login)).await;
            assert_eq!(asked.status(), 204, "{login}");
        }
        let mail = mailer.mail(nth * 2).await;
        let other = mailer.mail(nth * 2 + 1).await;
        assert_eq!(
            (&mail["purpose"], &mail["login"]),
            (&json!("password_reset"), &json!("ada"))
        );
        let reset = |password: &str| json!({ "token": mail["token"], "newPassword": password });
        let path = "/api/session/reset-password";
        let weak = stranger.post(path, &reset("Qwerty123456")).await;
        assert_eq!(body(weak).await["errors"][0]["field"], "newPassword");
        // Not for a sign-up, and not twice.
        assert_eq!(stranger.post(path, &reset(NEW)).await.status(), 204);
        let again = stranger.post(path, &reset(PASSWORD)).await;
        assert_eq!(body(again).await["errors"][0]["field"], "token");
        // A token that was sent before sets no other password.
        let earlier = json!({ "token": other["token"], "newPassword": PASSWORD });
        let earlier = stranger.post(path, &earlier).await;
        assert_eq!(body(earlier).await["errors"][0]["field"], "token");
        assert!(!browser.is_logged_in().await);
        let old = browser.log_in("ada", PASSWORD, None).await;
        assert_eq!(said(old).await, refused(401, "LOGIN_REFUSED"));
        assert_eq!(browser.log_in("ada", NEW, None).await.status(), 201);
    }
    assert_eq!(mailer.mails(), 4, "nobody got none");
}
