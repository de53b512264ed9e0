//! Guessed passwords: the guessing client is delayed, and the owner is not.

use serde_json::json;

use super::super::guessing::events;
use super::super::process::body;
use super::scene::{PASSWORD, Scene, account, refused, said};

const OWNER: &str = "192.0.2.1";
const STRANGER: &str = "203.0.113.7";

/// Tries to log in from an address. Returns the status, the wait, and the name of the limit.
pub async fn tries(scene: &Scene, login: &str, password: &str, from: &str) -> (u16, u64, String) {
    let asked = json!({ "login": login, "password": password });
    let request = scene.service.post("/api/session").json(&asked);
    let request = request.header("x-forwarded-for", from);
    let answer = request.send().await.unwrap();
    let after = answer.headers().get("retry-after");
    let after = after.map_or(0, |after| after.to_str().unwrap().parse().unwrap());
    let status = answer.status().as_u16();
    let limit = body(answer).await["limit"]
        .as_str()
        .unwrap_or("")
        .to_owned();
    (status, after, limit)
}

const SETTINGS: [(&str, &str); 3] = [
    ("FIRSTCOME_HTTP_TRUSTED_PROXIES", "127.0.0.0/8"),
    ("FIRSTCOME_LOG_FORMAT", "json"),
    ("FIRSTCOME_ACCOUNTS_LOGIN_FAILURES_MAX", "3"),
];

pub async fn scene(more: &[(&'static str, &str)]) -> Scene {
    let mut settings = SETTINGS.to_vec();
    settings.extend_from_slice(more);
    let scene = Scene::embedded(&settings).await;
    account(&scene.service, "ada", &[]).await;
    scene
}

async fn wrong(scene: &Scene, login: &str, from: &str) -> u16 {
    tries(scene, login, "a wrong password", from).await.0
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_clients_wait_longer_each_time_and_the_owner_does_not() {
    for scene in Scene::all(&SETTINGS).await {
        account(&scene.service, "ada", &[]).await;
        a_stranger_guesses(&scene).await;
    }
}

async fn a_stranger_guesses(scene: &Scene) {
    assert_eq!(tries(scene, "ada", PASSWORD, OWNER).await.0, 201);
    for nth in 0..4 {
        assert_eq!(wrong(scene, "ADA", STRANGER).await, 401, "{nth}");
    }
    // For the stranger the correct password is not checked either, for any case of the name.
    for login in ["ada", "aDa"] {
        let (status, after, limit) = tries(scene, login, PASSWORD, STRANGER).await;
        assert_eq!((status, limit.as_str()), (429, "login_name"), "{login}");
        assert!((1..=2).contains(&after), "{after}");
    }
    assert_eq!(tries(scene, "ada", PASSWORD, OWNER).await.0, 201);
    // The existence of the account makes no difference.
    for _ in 0..4 {
        assert_eq!(wrong(scene, "nobody", STRANGER).await, 401);
    }
    assert_eq!(wrong(scene, "nobody", STRANGER).await, 429);
    let events = events(&scene.service);
    let count = |name: &str, subject: Option<&str>| {
        let of = events
            .iter()
            .filter(|event| event["security.event"] == name);
        of.filter(|event| event["security.subject"].as_str() == subject)
            .inspect(|event| assert_eq!(event["source.address"], STRANGER))
            .count()
    };
    assert_eq!(count("login.failed", Some("account:1")), 4);
    assert_eq!(count("login.failed", None), 4);
    assert_eq!(count("login.throttled", None), 3);
    assert!(
        !scene.service.log().contains("nobody"),
        "a login name is in the log"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn many_guessing_clients_do_not_lock_the_owner_out() {
    let scene = scene(&[("FIRSTCOME_ACCOUNTS_LOGIN_FAILURES_ALL_MAX", "10")]).await;
    assert_eq!(tries(&scene, "ada", PASSWORD, OWNER).await.0, 201);
    for host in 0..11 {
        let from = format!("203.0.113.{host}");
        assert_eq!(wrong(&scene, "ada", &from).await, 401, "{host}");
    }
    // Log-ins from other addresses wait now; the owner's do not, from an address used before.
    assert_eq!(wrong(&scene, "ada", "203.0.113.99").await, 429);
    for _ in 0..3 {
        assert_eq!(tries(&scene, "ada", PASSWORD, OWNER).await.0, 201);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_with_a_successful_log_in_is_still_limited_when_guessing() {
    let scene = scene(&[]).await;
    assert_eq!(tries(&scene, "ada", PASSWORD, OWNER).await.0, 201);
    let mut looked_at = 0;
    while wrong(&scene, "ada", OWNER).await == 401 {
        looked_at += 1;
        assert!(looked_at < 50, "it is never enough");
    }
    assert_eq!(looked_at, 20 + 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn correct_passwords_are_no_failures() {
    let scene = scene(&[("FIRSTCOME_ACCOUNTS_LOGIN_RATE_ADDRESS", "2/1h")]).await;
    for nth in 0..10 {
        let from = if nth % 2 == 0 { OWNER } else { STRANGER };
        assert_eq!(tries(&scene, "ada", PASSWORD, from).await.0, 201, "{nth}");
    }
    // All names that one address tries count together.
    for (login, status) in [("one", 401), ("two", 401), ("three", 429)] {
        assert_eq!(wrong(&scene, login, "203.0.113.8").await, status, "{login}");
    }
    let (_, after, limit) = tries(&scene, "four", PASSWORD, "203.0.113.8").await;
    assert_eq!(limit, "login_address");
    assert!((1..=1_800).contains(&after), "{after}");
    let metrics = scene.service.get("/metrics").send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    for line in [
        "firstcome_logins_total{result=\"limited\"} 2\n",
        "firstcome_logins_total{result=\"refused\"} 2\n",
        "firstcome_logins_total{result=\"accepted\"} 10\n",
    ] {
        assert!(metrics.contains(line), "{line}");
    }
}

/// Resumes with an invented cookie of a remembered log-in.
async fn resumes(scene: &Scene, cookie: &str, from: &str) -> (u16, String) {
    let request = scene.service.post("/api/session/resume");
    let request = request
        .header("x-forwarded-for", from)
        .header("cookie", format!("firstcome-remember={cookie}"));
    said(request.send().await.unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn invented_remember_tokens_count_as_failures_of_their_address() {
    let rate = ("FIRSTCOME_ACCOUNTS_LOGIN_RATE_ADDRESS", "3/1h");
    for scene in Scene::all(&[SETTINGS[0], SETTINGS[1], rate]).await {
        account(&scene.service, "ada", &[]).await;
        let mut owner = scene.browser();
        owner.enters("ada", Some(true)).await;
        let mut answers = Vec::new();
        for account in 1..=6 {
            let made_up = format!("{account}.{}.{}", "a".repeat(64), "b".repeat(64));
            answers.push(resumes(&scene, &made_up, STRANGER).await);
        }
        let unknown = refused(401, "NOT_REMEMBERED");
        let limited = refused(429, "RATE_LIMITED");
        let wanted: Vec<_> = (0..6)
            .map(|nth| if nth < 3 { &unknown } else { &limited })
            .collect();
        assert_eq!(answers.iter().collect::<Vec<_>>(), wanted);
        // They count as failures, like those of passwords; a valid token is not delayed.
        assert_eq!(wrong(&scene, "ada", STRANGER).await, 429);
        let cookie = owner.cookies["firstcome-remember"].clone();
        let (status, _) = resumes(&scene, &cookie, STRANGER).await;
        assert_eq!(status, 201, "the owner, from an address that failed");
        let events = events(&scene.service);
        let throttled = events
            .iter()
            .filter(|event| event["security.event"] == "login.throttled");
        assert_eq!(throttled.count(), 4);
        let metrics = scene.service.get("/metrics").send().await.unwrap();
        let metrics = metrics.text().await.unwrap();
        for line in [
            "firstcome_sessions_resumed_total{result=\"refused\"} 3\n",
            "firstcome_sessions_resumed_total{result=\"limited\"} 3\n",
        ] {
            assert!(metrics.contains(line), "{line}");
        }
    }
}
