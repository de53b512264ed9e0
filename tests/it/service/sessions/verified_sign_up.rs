//! Verified sign-ups: the owner of the login name gets a token, and sets the password with it.

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
        // The other one finds the account, or no token any more.
        assert_eq!(statuses[0], 201);
        assert!([409, 422].contains(&statuses[1]), "{statuses:?}");
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

/// A stranger signs up with a login name before its owner does.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_the_token_sets_the_password() {
    let (mailer, address) = Mailer::start().await;
    let scenes = Scene::all(&verified(&address)).await;
    for (nth, scene) in scenes.into_iter().enumerate() {
        let mut browser = scene.browser();
        let login = "ada@example.org";
        let strangers = browser.post("/api/accounts", &wish(login, NEW)).await;
        assert_eq!(strangers.status(), 202);
        let mail = mailer.mail(nth * 2).await;
        for asked in [
            json!({ "token": mail["token"] }),
            shown(&mail, ""),
            shown(&mail, "password"),
            shown(&mail, &"a".repeat(129)),
        ] {
            let answer = browser.post(VERIFY, &asked).await;
            assert_eq!(answer.status(), 422, "{asked}");
            let field = &body(answer).await["errors"][0]["field"];
            assert_eq!(field, "password", "{asked}");
        }
        // The token is still valid, and the sign-up of the owner needs no password.
        let owners = browser
            .post("/api/accounts", &json!({ "login": login }))
            .await;
        assert_eq!(owners.status(), 202);
        let second = mailer.mail(nth * 2 + 1).await;
        let made = browser.post(VERIFY, &shown(&mail, PASSWORD)).await;
        assert_eq!(made.status(), 201);
        let late = browser.post(VERIFY, &shown(&second, NEW)).await;
        assert_eq!(late.status(), 409, "the account is not replaced");
        let stranger = browser.log_in(login, NEW, None).await;
        assert_eq!(said(stranger).await, refused(401, "LOGIN_REFUSED"));
        browser.enters(login, None).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_with_one_token_are_limited_while_its_password_is_hashed() {
    let (mailer, address) = Mailer::start().await;
    let mut settings = verified(&address).to_vec();
    settings.push(("FIRSTCOME_ACCOUNTS_LOGIN_NAME_CONCURRENT_MAX", "1"));
    let scene = Scene::embedded(&settings).await;
    let browser = scene.browser();
    let asked = browser
        .post("/api/accounts", &json!({ "login": "ada" }))
        .await;
    assert_eq!(asked.status(), 202);
    let mail = mailer.mail(0).await;
    let shown = shown(&mail, PASSWORD);
    let requests = (0..12).map(|_| browser.post(VERIFY, &shown));
    let mut limited = 0;
    let mut made = 0;
    for answer in futures_util::future::join_all(requests).await {
        match answer.status().as_u16() {
            201 => made += 1,
            429 => {
                limited += 1;
                assert_eq!(body(answer).await["limit"], "login_name_concurrent");
            }
            // It came after the account was made.
            status => assert!([409, 422].contains(&status), "{status}"),
        }
    }
    assert_eq!(made, 1);
    assert!(limited > 0, "a hash takes longer than the requests");
}
