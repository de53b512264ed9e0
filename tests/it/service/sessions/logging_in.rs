//! Logging in, participating, logging out, and refused log-ins.

use chrono::{DateTime, Utc};
use reqwest::Method;
use serde_json::{Value, json};

use super::super::process::{ADMIN_TOKEN, Service, body};
use super::scene::{
    Browser, PASSWORD, Scene, account, campaign, change, refused, said, set_cookies,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_logged_in_user_participates_as_their_account_until_log_out() {
    for scene in Scene::all(&[]).await {
        let service = &scene.service;
        let campaign = campaign(service).await;
        let ada = account(service, "Ada", &["stats:read"]).await;
        let bob = account(service, "bob", &[]).await;
        let mut browser = scene.browser();
        assert!(!browser.is_logged_in().await);
        assert_eq!(
            said(browser.takes_part(campaign).await).await,
            refused(401, "UNAUTHENTICATED")
        );

        let session = browser.enters("ada", None).await;
        assert_eq!(
            (&session["userId"], &session["login"], &session["scopes"]),
            (&json!(ada), &json!("Ada"), &json!(["stats:read"]))
        );
        let ends_at: DateTime<Utc> = session["expiresAt"].as_str().unwrap().parse().unwrap();
        assert!(ends_at > Utc::now());
        let asked = browser.get("/api/session").await;
        assert_eq!(asked.headers()["cache-control"], "no-store");
        assert_eq!(body(asked).await, session, "asked again it is the same");

        let made = browser.takes_part(campaign).await;
        assert_eq!(made.status(), 201);
        assert_eq!(body(made).await["userId"], ada);
        let path = format!("/api/campaigns/{campaign}/participation");
        for (named, status) in [(ada, 201), (bob, 403)] {
            let asked = browser.post(&path, &json!({ "userId": named })).await;
            assert_eq!(asked.status(), status, "{named}");
        }
        for (user, status) in [(ada, 200), (bob, 403)] {
            let asked = browser
                .get(&format!("/api/users/{user}/participations"))
                .await;
            assert_eq!(asked.status(), status, "{user}");
        }

        let before = browser.clone();
        let out = browser.log_out().await;
        assert_eq!((out.status().as_u16(), browser.cookies.len()), (204, 0));
        assert!(
            !before.is_logged_in().await,
            "the cookie is good for nothing"
        );
        assert_eq!(
            said(before.takes_part(campaign).await).await,
            refused(401, "UNAUTHENTICATED")
        );
        // A repetition gets the same response.
        assert_eq!(before.clone().log_out().await.status(), 204);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cookies_have_the_strictest_attributes_the_address_allows() {
    for (safe, name, flags) in [
        ("false", "firstcome-", "; Path=/; HttpOnly; SameSite=Lax"),
        (
            "true",
            "__Host-firstcome-",
            "; Path=/; HttpOnly; SameSite=Lax; Secure",
        ),
    ] {
        let scene = Scene::embedded(&[("FIRSTCOME_ACCOUNTS_COOKIE_SECURE", safe)]).await;
        account(&scene.service, "ada", &[]).await;
        let mut browser = scene.browser();
        let answer = browser.log_in("ada", PASSWORD, Some(true)).await;
        let cookies = set_cookies(&answer);
        let [session, remember] = &cookies[..] else {
            panic!("{cookies:?}");
        };
        assert!(
            session.starts_with(&format!("{name}session=1.")),
            "{session}"
        );
        assert!(session.ends_with(flags), "{session}");
        assert!(
            remember.starts_with(&format!("{name}remember=1.")),
            "{remember}"
        );
        let (before, age) = remember.rsplit_once("; Max-Age=").unwrap();
        assert!(before.ends_with(flags), "{remember}");
        let age: u64 = age.parse().unwrap();
        assert!((2_591_900..=2_592_000).contains(&age), "30 days: {age}");
        assert!(browser.is_logged_in().await);
    }
}

/// A response without the values that differ in each.
async fn stable_response(
    service: &Service,
    login: &str,
    password: &str,
) -> (u16, Vec<String>, Value) {
    let answer = Browser::at(service).log_in(login, password, None).await;
    let status = answer.status().as_u16();
    let names = answer.headers().keys();
    let mut headers: Vec<String> = names.map(ToString::to_string).collect();
    headers.sort_unstable();
    let mut problem = body(answer).await;
    problem.as_object_mut().unwrap().remove("instance");
    (status, headers, problem)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_log_in_does_not_reveal_the_reason() {
    for scene in Scene::all(&[]).await {
        let service = &scene.service;
        account(service, "ada", &[]).await;
        let disabled = account(service, "bob", &[]).await;
        let answer = change(service, disabled, json!({ "disabled": true })).await;
        assert_eq!(answer.status(), 200);
        let wrong = stable_response(service, "ada", "a wrong password").await;
        assert_eq!((wrong.0, &wrong.2["code"]), (401, &json!("LOGIN_REFUSED")));
        for (login, password) in [
            ("nobody", PASSWORD),
            ("nöbody, and no name either", PASSWORD),
            ("bob", PASSWORD),
            ("bob", "a wrong password"),
            ("ada", "short"),
        ] {
            assert_eq!(
                stable_response(service, login, password).await,
                wrong,
                "{login}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_log_in_creates_a_new_session() {
    for scene in Scene::all(&[]).await {
        account(&scene.service, "ada", &[]).await;
        let mut browser = scene.browser();
        // A cookie planted by somebody else is not used.
        let planted = format!("1.{}", "a".repeat(64));
        browser
            .cookies
            .insert("firstcome-session".to_owned(), planted.clone());
        assert!(!browser.is_logged_in().await);
        browser.enters("ada", None).await;
        let first = browser.clone();
        assert_ne!(first.cookies["firstcome-session"], planted);
        browser.enters("ada", None).await;
        assert_ne!(browser.cookies, first.cookies);
        assert_ne!(browser.csrf, first.csrf);
        assert!(browser.is_logged_in().await);
        assert!(!first.is_logged_in().await, "the one before is nobody's");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_session_authenticates_nobody() {
    let scene = Scene::embedded(&[]).await;
    let campaign = campaign(&scene.service).await;
    let ada = account(&scene.service, "ada", &[]).await;
    let bob = account(&scene.service, "bob", &[]).await;
    let mut browser = scene.browser();
    browser.enters("ada", None).await;
    let own = browser.cookies["firstcome-session"].clone();
    let (_, secret) = own.split_once('.').unwrap();
    let twice = format!("{own}; firstcome-session={own}");
    for cookie in [
        "",
        "1",
        secret,
        &format!("{bob}.{secret}"),
        &format!("{ada}.{}", secret.to_uppercase()),
        &format!("{ada}.{}", &secret[1..]),
        &format!("{own}0"),
        &twice,
    ] {
        let mut other = browser.clone();
        other
            .cookies
            .insert("firstcome-session".to_owned(), cookie.to_owned());
        assert!(!other.is_logged_in().await, "{cookie}");
        assert_eq!(other.takes_part(campaign).await.status(), 401, "{cookie}");
    }
    // With `Authorization` only that header counts.
    for (value, status) in [("1", 401), ("Bearer x", 401), ("Basic eDp5", 401)] {
        let path = format!("/api/campaigns/{campaign}/participation");
        let request = browser
            .request(Method::POST, &path)
            .header("authorization", value);
        let answer = request.json(&json!({})).send().await.unwrap();
        assert_eq!(answer.status(), status, "{value}");
    }
    assert!(browser.is_logged_in().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_log_ins_there_are_no_session_routes() {
    let folder = tempfile::TempDir::new().unwrap();
    let service = Service::start(&folder, &[]).await;
    // Accounts can be created before the mode is changed.
    account(&service, "ada", &[]).await;
    let mut browser = Browser::at(&service);
    let nowhere = refused(404, "NOT_FOUND");
    assert_eq!(
        said(browser.log_in("ada", PASSWORD, None).await).await,
        nowhere
    );
    assert_eq!(said(browser.resume().await).await, nowhere);
    assert_eq!(said(browser.get("/api/session").await).await, nowhere);
    assert_eq!(said(browser.log_out().await).await, nowhere);
    let admin = service.get("/api/admin/accounts").bearer_auth(ADMIN_TOKEN);
    assert_eq!(admin.send().await.unwrap().status(), 200);
}
