//! Remembered log-ins: each token is valid once.

use serde_json::json;

use super::super::guessing::events;
use super::super::process::body;
use super::scene::{PASSWORD, Scene, account, change, refused, said, set_cookies};

/// Without the grace time, so that no test has to wait for its end.
const STRICT: &[(&str, &str)] = &[("FIRSTCOME_ACCOUNTS_REMEMBER_GRACE", "0s")];
const SESSION: &str = "firstcome-session";
const REMEMBER: &str = "firstcome-remember";

#[tokio::test(flavor = "multi_thread")]
async fn a_remembered_log_in_rotates_its_token_at_each_use() {
    for scene in Scene::all(STRICT).await {
        let ada = account(&scene.service, "ada", &["stats:read"]).await;
        let mut browser = scene.browser();
        browser.enters("ada", Some(true)).await;
        let mut tokens = vec![browser.cookies[REMEMBER].clone()];
        for _ in 0..3 {
            browser.cookies.remove(SESSION);
            assert!(!browser.is_logged_in().await);
            let answer = browser.resume().await;
            let session = browser.is_let_in(answer).await;
            assert_eq!(
                (&session["userId"], &session["scopes"]),
                (&json!(ada), &json!(["stats:read"]))
            );
            assert!(browser.is_logged_in().await);
            assert!(!tokens.contains(&browser.cookies[REMEMBER]));
            tokens.push(browser.cookies[REMEMBER].clone());
        }
        let series = |token: &String| token.split('.').nth(1).unwrap().to_owned();
        assert!(
            tokens
                .iter()
                .all(|token| series(token) == series(&tokens[0]))
        );
        let metrics = scene.service.get("/metrics").send().await.unwrap();
        let metrics = metrics.text().await.unwrap();
        for line in [
            "firstcome_sessions_created_total{by=\"password\"} 1\n",
            "firstcome_sessions_created_total{by=\"remembered\"} 3\n",
            "firstcome_sessions_resumed_total{result=\"accepted\"} 3\n",
        ] {
            assert!(metrics.contains(line), "{line}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reused_remember_token_ends_all_sessions_of_its_account() {
    for scene in Scene::all(STRICT).await {
        account(&scene.service, "ada", &[]).await;
        account(&scene.service, "bob", &[]).await;
        let (mut owner, mut elsewhere, mut bob) =
            (scene.browser(), scene.browser(), scene.browser());
        owner.enters("ada", Some(true)).await;
        elsewhere.enters("ada", None).await;
        bob.enters("bob", Some(true)).await;
        let mut thief = owner.clone();
        thief.cookies.remove(SESSION);
        // The first use succeeds; the second one reveals the copy.
        let answer = thief.resume().await;
        thief.is_let_in(answer).await;
        let answer = owner.resume().await;
        let cookies = set_cookies(&answer);
        assert_eq!(said(answer).await, refused(401, "NOT_REMEMBERED"));
        assert!(
            cookies[0].starts_with("firstcome-remember=;"),
            "{cookies:?}"
        );
        for (who, browser) in [
            ("thief", &thief),
            ("owner", &owner),
            ("elsewhere", &elsewhere),
        ] {
            assert!(!browser.is_logged_in().await, "{who}");
        }
        assert!(bob.is_logged_in().await);
        let answer = thief.resume().await;
        assert_eq!(
            said(answer).await,
            refused(401, "NOT_REMEMBERED"),
            "the series is over"
        );
        owner.enters("ada", Some(true)).await;
        assert!(owner.is_logged_in().await);
        let metrics = scene.service.get("/metrics").send().await.unwrap();
        let metrics = metrics.text().await.unwrap();
        assert!(metrics.contains("firstcome_sessions_resumed_total{result=\"stolen\"} 1\n"));
        assert!(scene.service.log().contains("used twice"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_use_in_two_windows_is_no_reuse() {
    for scene in Scene::all(&[("FIRSTCOME_ACCOUNTS_REMEMBER_GRACE", "1m")]).await {
        account(&scene.service, "ada", &[]).await;
        let mut one = scene.browser();
        one.enters("ada", Some(true)).await;
        one.cookies.remove(SESSION);
        let mut other = one.clone();
        let answer = one.resume().await;
        one.is_let_in(answer).await;
        assert_eq!(said(other.resume().await).await, refused(409, "JUST_USED"));
        assert!(one.is_logged_in().await);
        // Windows of one browser share their cookies.
        other.cookies = one.cookies.clone();
        assert!(other.is_logged_in().await);
        let answer = other.resume().await;
        other.is_let_in(answer).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_not_remembered_or_logged_out_have_no_remember_token() {
    for scene in Scene::all(STRICT).await {
        let ada = account(&scene.service, "ada", &[]).await;
        let nobody = refused(401, "NOT_REMEMBERED");
        for remember in [None, Some(false)] {
            let mut browser = scene.browser();
            browser.enters("ada", remember).await;
            assert_eq!(browser.cookies.len(), 1);
            assert_eq!(said(browser.resume().await).await, nobody);
        }
        let mut browser = scene.browser();
        browser.enters("ada", Some(true)).await;
        let kept = browser.clone();
        assert_eq!(browser.log_out().await.status(), 204);
        assert_eq!(said(kept.clone().resume().await).await, nobody);
        // A user whose session has ended can still log out.
        browser.enters("ada", Some(true)).await;
        browser.cookies.remove(SESSION);
        let kept = browser.clone();
        assert_eq!(browser.log_out().await.status(), 204);
        assert_eq!(said(kept.clone().resume().await).await, nobody);
        for changes in [
            json!({ "disabled": true }),
            json!({ "disabled": false }),
            json!({ "password": "another password" }),
        ] {
            let is_disabled = changes["disabled"] == true;
            let mut browser = scene.browser();
            if !is_disabled && changes["password"].is_null() {
                // It is disabled by now, so nothing is remembered.
                assert_eq!(
                    browser.log_in("ada", PASSWORD, Some(true)).await.status(),
                    401
                );
            } else {
                browser.enters("ada", Some(true)).await;
            }
            let changed = change(&scene.service, ada, changes).await;
            assert_eq!(changed.status(), 200);
            assert_eq!(body(changed).await["disabled"], is_disabled);
            assert_eq!(said(browser.resume().await).await, nobody);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reused_remember_token_is_a_security_event() {
    let mut settings = STRICT.to_vec();
    settings.push(("FIRSTCOME_LOG_FORMAT", "json"));
    let scene = Scene::embedded(&settings).await;
    let ada = account(&scene.service, "ada", &[]).await;
    let mut owner = scene.browser();
    owner.enters("ada", Some(true)).await;
    owner.cookies.remove(SESSION);
    let mut thief = owner.clone();
    let answer = thief.resume().await;
    thief.is_let_in(answer).await;
    let reused = |events: Vec<serde_json::Value>| {
        let reused =
            |event: &serde_json::Value| event["security.event"] == "remembered_login.reused";
        events.into_iter().filter(reused).collect::<Vec<_>>()
    };
    assert!(reused(events(&scene.service)).is_empty());
    let token = owner.cookies[REMEMBER].clone();
    assert_eq!(owner.resume().await.status(), 401);
    let told = reused(events(&scene.service));
    let [event] = &told[..] else {
        panic!("{told:?}")
    };
    assert_eq!(event["level"], "WARN");
    assert_eq!(event["security.subject"], format!("account:{ada}"));
    assert_eq!(event["source.address"], "127.0.0.1");
    for part in token.split('.').skip(1) {
        assert!(!scene.service.log().contains(part), "a token is in the log");
    }
}
