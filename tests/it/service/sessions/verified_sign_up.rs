//! Verified sign-ups: the account is created with the token that the owner of the login name got, and with the password of
//! the sign-up.

use serde_json::{Value, json};

use super::super::process::body;
use super::messages::{Mailer, verified};
use super::scene::{PASSWORD, Scene, refused, said};
use super::sign_up::{NEW, wish};

const VERIFY: &str = "/api/accounts/verify";

/// A request with the token of this mail.
fn shown(mail: &Value, password: &str) -> Value {
    json!({ "token": mail["token"], "password": password })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verified_sign_up_needs_the_token_that_its_owner_got_once() {
    let (mailer, address) = Mailer::start().await;
    let scenes = Scene::all(&verified(&address)).await;
    for (nth, scene) in scenes.into_iter().enumerate() {
        let mut browser = scene.browser();
        let asked = browser
            .post("/api/accounts", &wish("ada@example.org", PASSWORD))
            .await;
        assert_eq!(asked.status(), 202);
        let early = browser.log_in("ada@example.org", PASSWORD, None).await;
        assert_eq!(said(early).await, refused(401, "LOGIN_REFUSED"));
        let mail = mailer.mail(nth * 2).await;
        assert_eq!(
            (&mail["purpose"], &mail["login"]),
            (&json!("sign_up"), &json!("ada@example.org"))
        );
        let correct = shown(&mail, PASSWORD);
        let wrong = json!({ "token": "f".repeat(64), "password": PASSWORD });
        let answer = browser.post(VERIFY, &wrong).await;
        assert_eq!(body(answer).await["errors"][0]["field"], "token");
        // Of two concurrent requests one succeeds.
        let (one, two) = tokio::join!(
            browser.post(VERIFY, &correct),
            browser.post(VERIFY, &correct)
        );
        let mut statuses = [one.status().as_u16(), two.status().as_u16()];
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 422]);
        browser.enters("ada@example.org", None).await;
        // The response about a taken name is the same; its owner learns of it.
        let in_use = browser
            .post("/api/accounts", &wish("Ada@example.org", NEW))
            .await;
        assert_eq!(in_use.status(), 202);
        let mail = mailer.mail(nth * 2 + 1).await;
        assert_eq!(mail["purpose"], "login_taken");
        assert_eq!(mail.get("token"), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verified_sign_up_needs_the_password_of_the_sign_up() {
    let (mailer, address) = Mailer::start().await;
    let scenes = Scene::all(&verified(&address)).await;
    for (nth, scene) in scenes.into_iter().enumerate() {
        let mut browser = scene.browser();
        let login = "ada@example.org";
        let asked = browser.post("/api/accounts", &wish(login, PASSWORD)).await;
        assert_eq!(asked.status(), 202);
        let mail = mailer.mail(nth).await;
        for asked in [
            json!({ "token": mail["token"] }),
            shown(&mail, ""),
            shown(&mail, &"a".repeat(129)),
        ] {
            let answer = browser.post(VERIFY, &asked).await;
            assert_eq!(answer.status(), 422, "{asked}");
            let field = &body(answer).await["errors"][0]["field"];
            assert_eq!(field, "password", "{asked}");
        }
        let wrong = browser.post(VERIFY, &shown(&mail, NEW)).await;
        assert_eq!(said(wrong).await, refused(401, "LOGIN_REFUSED"));
        for password in [PASSWORD, NEW] {
            let early = browser.log_in(login, password, None).await;
            assert_eq!(said(early).await, refused(401, "LOGIN_REFUSED"));
        }
        // The token is still valid.
        let made = browser.post(VERIFY, &shown(&mail, PASSWORD)).await;
        assert_eq!(made.status(), 201);
        browser.enters(login, None).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_name_has_ten_attempts_in_an_hour_to_verify_it() {
    let (mailer, address) = Mailer::start().await;
    let scenes = Scene::all(&verified(&address)).await;
    for (nth, scene) in scenes.into_iter().enumerate() {
        let browser = scene.browser();
        let mut mails = Vec::new();
        for login in ["ada", "ADA", "bob"] {
            let asked = browser.post("/api/accounts", &wish(login, PASSWORD)).await;
            assert_eq!(asked.status(), 202);
            let mail = mailer.mail(nth * 3 + mails.len()).await;
            mails.push(mail);
        }
        // A wrong token does not count.
        let unknown = json!({ "token": "f".repeat(64), "password": NEW });
        assert_eq!(browser.post(VERIFY, &unknown).await.status(), 422);
        for attempt in 0..10 {
            let wrong = browser.post(VERIFY, &shown(&mails[0], NEW)).await;
            let expected = refused(401, "LOGIN_REFUSED");
            assert_eq!(said(wrong).await, expected, "{attempt}");
        }
        // Another token of the same name has no attempts of its own.
        for mail in &mails[..2] {
            let limited = browser.post(VERIFY, &shown(mail, PASSWORD)).await;
            assert_eq!(limited.status(), 429);
            assert!(limited.headers().contains_key("retry-after"));
            let problem = body(limited).await;
            assert_eq!(
                (&problem["code"], &problem["limit"]),
                (&json!("RATE_LIMITED"), &json!("verify_name"))
            );
        }
        let other = browser.post(VERIFY, &shown(&mails[2], PASSWORD)).await;
        assert_eq!(other.status(), 201);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_passwords_of_a_sign_up_are_failures_of_their_address() {
    let (mailer, address) = Mailer::start().await;
    let mut settings = verified(&address).to_vec();
    settings.push(("FIRSTCOME_ACCOUNTS_LOGIN_RATE_ADDRESS", "2/1h"));
    let scene = Scene::embedded(&settings).await;
    let mut browser = scene.browser();
    let asked = browser.post("/api/accounts", &wish("ada", PASSWORD)).await;
    assert_eq!(asked.status(), 202);
    let mail = mailer.mail(0).await;
    for _ in 0..2 {
        let wrong = browser.post(VERIFY, &shown(&mail, NEW)).await;
        assert_eq!(said(wrong).await, refused(401, "LOGIN_REFUSED"));
    }
    let wrong = browser.post(VERIFY, &shown(&mail, NEW)).await;
    assert_eq!(body(wrong).await["limit"], "login_address");
    let log_in = browser.log_in("bob", PASSWORD, None).await;
    assert_eq!(body(log_in).await["limit"], "login_address");
}
