//! Sessions in Redis: valid for all replicas, after a restart, and until they expire.

use redis::AsyncTypedCommands;
use tempfile::TempDir;

use super::super::process::Service;
use super::scene::{Browser, Scene, account, campaign, change};
use crate::gate::{forget, redis_connection};

#[tokio::test(flavor = "multi_thread")]
async fn replicas_share_sessions_which_outlive_them() {
    let mut scene = Scene::real(&[]).await;
    let settings = scene.parts.as_ref().unwrap().settings.clone();
    let folder = TempDir::new().unwrap();
    let other = Service::start(&folder, &settings).await;
    let campaign = campaign(&scene.service).await;
    let ada = account(&scene.service, "ada", &[]).await;
    let mut browser = scene.browser();
    browser.enters("ada", Some(true)).await;
    let there = browser.moved_to(&other);
    assert!(there.is_logged_in().await);
    assert_eq!(there.takes_part(campaign).await.status(), 201);
    let (cookies, csrf) = (browser.cookies.clone(), browser.csrf.clone());

    assert!(scene.service.stop().await.success());
    let restarted = Service::start(&scene.folder, &settings).await;
    let mut browser = Browser::at(&restarted);
    (browser.cookies, browser.csrf) = (cookies, csrf);
    assert!(browser.is_logged_in().await);
    assert_eq!(browser.takes_part(campaign).await.status(), 201);
    // A session that one replica ends has ended for all.
    let mut there = browser.moved_to(&other);
    assert_eq!(there.log_out().await.status(), 204);
    assert!(!browser.is_logged_in().await);
    there.enters("ada", None).await;
    let disabled = change(&restarted, ada, serde_json::json!({ "disabled": true })).await;
    assert_eq!(disabled.status(), 200);
    assert!(!there.is_logged_in().await);
}

/// Makes the stored sessions, or series, of an account older than allowed.
async fn age(key: &str, parts: usize) {
    let mut redis = redis_connection().await;
    let kept = redis.hgetall(key).await.unwrap();
    assert!(!kept.is_empty(), "{key}");
    for (field, value) in kept {
        let mut words: Vec<&str> = value.split(' ').collect();
        words[..parts].fill("1");
        redis.hset(key, field, words.join(" ")).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_expires_and_a_remembered_log_in_continues() {
    let scene = Scene::real(&[]).await;
    let prefix = scene.parts.as_ref().unwrap().prefix.clone();
    let campaign = campaign(&scene.service).await;
    let ada = account(&scene.service, "ada", &[]).await;
    let key = |name: &str| format!("{prefix}:{{account:{ada}}}:{name}");
    let mut redis = redis_connection().await;
    let mut browser = scene.browser();
    browser.enters("ada", Some(true)).await;
    // Redis deletes the keys by itself when they are no longer used.
    for (name, longest_ms) in [("sessions", 12 * 3_600_000), ("series", 30 * 86_400_000)] {
        let left: i64 = redis::cmd("PTTL")
            .arg(key(name))
            .query_async(&mut redis)
            .await
            .unwrap();
        assert!(
            (longest_ms - 60_000..=longest_ms).contains(&left),
            "{name}: {left}"
        );
    }
    // Idle for too long: the first number; then also its end.
    for parts in [1, 2] {
        assert!(browser.is_logged_in().await);
        age(&key("sessions"), parts).await;
        assert!(!browser.is_logged_in().await);
        assert_eq!(browser.takes_part(campaign).await.status(), 401);
        let answer = browser.resume().await;
        browser.is_let_in(answer).await;
        assert_eq!(browser.takes_part(campaign).await.status(), 201);
    }
    age(&key("series"), 1).await;
    assert_eq!(browser.resume().await.status(), 401);
    assert!(browser.is_logged_in().await, "its session is not over");

    // A Redis that has lost everything costs a log-in, and nothing else.
    forget(&prefix).await;
    assert!(!browser.is_logged_in().await);
    browser.enters("ada", None).await;
    assert!(browser.is_logged_in().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_of_an_account_are_bounded() {
    let scene = Scene::real(&[("FIRSTCOME_ACCOUNTS_SESSIONS_PER_ACCOUNT_MAX", "2")]).await;
    account(&scene.service, "ada", &[]).await;
    let mut browsers: Vec<_> = (0..3).map(|_| scene.browser()).collect();
    for browser in &mut browsers {
        browser.enters("ada", Some(true)).await;
    }
    let [first, second, third] = &browsers[..] else {
        panic!("three");
    };
    assert!(!first.is_logged_in().await, "it would have been over next");
    assert!(second.is_logged_in().await && third.is_logged_in().await);
}
