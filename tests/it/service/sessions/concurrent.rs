//! Many log-ins of one user, in a row or concurrently, do not block the log-ins of others.

use futures_util::future::{join, join_all};
use reqwest::Method;
use serde_json::json;

use super::guessing::{scene, tries};
use super::scene::{PASSWORD, Scene, account};
use crate::service::process::body;

/// Concurrent log-ins, far more than one name or one address may have.
const MANY: usize = 40;
const OWNER: &str = "192.0.2.1";

type Tried = (u16, u64, String);

/// Number of log-ins refused by this limit. All others succeeded.
fn refused(tried: &[Tried], by: &str) -> usize {
    for (status, after, limit) in tried {
        let as_expected = match status {
            201 => true,
            429 => *after > 0 && limit == by,
            _ => false,
        };
        assert!(as_expected, "{tried:?}");
    }
    tried.iter().filter(|(status, ..)| *status == 429).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn many_log_ins_of_one_name_at_once_are_refused_and_others_are_not() {
    let scene = scene(&[("FIRSTCOME_ACCOUNTS_HASHING_MAX", "1")]).await;
    account(&scene.service, "victim", &[]).await;
    let all = (0..MANY).map(async |host| {
        let from = format!("203.0.113.{host}");
        tries(&scene, "ada", PASSWORD, &from).await
    });
    let (tried, victim) = join(join_all(all), tries(&scene, "victim", PASSWORD, OWNER)).await;
    assert_eq!(victim.0, 201);
    assert!(refused(&tried, "login_name_concurrent") > 0, "{tried:?}");
    // It has no lasting effect.
    assert_eq!(tries(&scene, "ada", PASSWORD, OWNER).await.0, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_log_ins_from_one_address_at_once_are_refused_and_others_are_not() {
    let scene = scene(&[("FIRSTCOME_ACCOUNTS_HASHING_MAX", "1")]).await;
    let names: Vec<String> = (0..10).map(|nth| format!("user-{nth}")).collect();
    for name in &names {
        account(&scene.service, name, &[]).await;
    }
    let all = names
        .iter()
        .map(|name| tries(&scene, name, PASSWORD, "203.0.113.1"));
    let (tried, victim) = join(join_all(all), tries(&scene, "ada", PASSWORD, OWNER)).await;
    assert_eq!(victim.0, 201);
    assert!(refused(&tried, "login_address_concurrent") > 0, "{tried:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_changes_of_one_password_at_once_are_refused() {
    let scene = Scene::embedded(&[("FIRSTCOME_ACCOUNTS_HASHING_MAX", "1")]).await;
    account(&scene.service, "ada", &[]).await;
    let mut browser = scene.browser();
    browser.enters("ada", None).await;
    let asked =
        json!({ "currentPassword": "a wrong password", "newPassword": "a new password of it" });
    let all = (0..MANY).map(async |_| {
        let request = browser.request(Method::POST, "/api/session/password");
        let answer = request.json(&asked).send().await.unwrap();
        let status = answer.status().as_u16();
        (
            status,
            body(answer).await["limit"]
                .as_str()
                .unwrap_or("")
                .to_owned(),
        )
    });
    let told = join_all(all).await;
    let of = |status: u16, limit: &str| {
        let same = |one: &&(u16, String)| one.0 == status && one.1 == limit;
        told.iter().filter(same).count()
    };
    assert!(of(429, "login_name_concurrent") > 0, "{told:?}");
    assert_eq!(
        of(401, "") + of(429, "login_name_concurrent"),
        MANY,
        "{told:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn correct_passwords_have_a_rate_that_strangers_cannot_exhaust() {
    let scene = scene(&[("FIRSTCOME_ACCOUNTS_LOGIN_RATE_NAME", "3/1h")]).await;
    account(&scene.service, "bob", &[]).await;
    // The first time, the owner's address is also unknown.
    assert_eq!(tries(&scene, "ada", PASSWORD, OWNER).await.0, 201);
    let is_used_up = |tried: &Tried| {
        assert_eq!((tried.0, tried.2.as_str()), (429, "login_rate"));
        assert!((1..=1_200).contains(&tried.1), "{tried:?}");
    };
    for (host, password) in [(1, PASSWORD), (2, "a wrong password"), (3, PASSWORD)] {
        let from = format!("203.0.113.{host}");
        let tried = tries(&scene, "ada", password, &from).await;
        match host {
            1 => assert_eq!(tried.0, 201),
            2 => assert_eq!(tried.0, 401),
            _ => is_used_up(&tried),
        }
    }
    for nth in 0..3 {
        assert_eq!(tries(&scene, "ada", PASSWORD, OWNER).await.0, 201, "{nth}");
    }
    for login in ["ada", "ADA"] {
        is_used_up(&tries(&scene, login, PASSWORD, OWNER).await);
    }
    assert_eq!(tries(&scene, "bob", PASSWORD, OWNER).await.0, 201);
}
