//! Actions of owners on their accounts: passwords and sessions.

use reqwest::Method;
use serde_json::{Value, json};

use super::super::process::body;
use super::scene::{PASSWORD, Scene, account, refused, said};

const NEW: &str = "another password of a test";

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_changes_their_password_and_other_sessions_end() {
    for scene in Scene::all(&[]).await {
        account(&scene.service, "ada", &["stats:read"]).await;
        let (mut here, mut elsewhere) = (scene.browser(), scene.browser());
        elsewhere.enters("ada", Some(true)).await;
        here.enters("ada", None).await;
        let path = "/api/session/password";
        let change =
            |current: &str, new: &str| json!({ "currentPassword": current, "newPassword": new });
        let bare = here.bare(Method::POST, path).json(&change(PASSWORD, NEW));
        assert_eq!(said(bare.send().await.unwrap()).await, refused(403, "CSRF"));
        for (current, new, expected) in [
            ("a wrong password", NEW, refused(401, "LOGIN_REFUSED")),
            (PASSWORD, "eleven char", refused(422, "INVALID")),
            (PASSWORD, "Qwerty123456", refused(422, "INVALID")),
        ] {
            let answer = here.post(path, &change(current, new)).await;
            assert_eq!(said(answer).await, expected, "{new}");
        }
        assert!(elsewhere.is_logged_in().await);
        let changed = here.post(path, &change(PASSWORD, NEW)).await;
        here.keep(changed.headers());
        here.is_let_in(changed).await;
        assert!(here.is_logged_in().await);
        assert!(!elsewhere.is_logged_in().await);
        assert_eq!(
            said(elsewhere.resume().await).await,
            refused(401, "NOT_REMEMBERED")
        );
        let before = elsewhere.log_in("ada", PASSWORD, None).await;
        assert_eq!(said(before).await, refused(401, "LOGIN_REFUSED"));
        let after = elsewhere.log_in("ada", NEW, None).await;
        assert_eq!(after.status(), 201);
        let log = scene.service.get("/api/admin/audit");
        let log = log
            .bearer_auth(super::super::process::ADMIN_TOKEN)
            .send()
            .await
            .unwrap();
        let entry = body(log).await["items"][0].clone();
        assert_eq!(
            (&entry["action"], &entry["actor"]),
            (&json!("account.password"), &json!("account:1"))
        );
    }
}

async fn sessions(browser: &super::scene::Browser<'_>) -> Vec<Value> {
    let answer = browser.get("/api/sessions").await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["cache-control"], "no-store");
    body(answer).await["items"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_sees_their_sessions_and_ends_them() {
    for scene in Scene::all(&[]).await {
        account(&scene.service, "ada", &[]).await;
        account(&scene.service, "bob", &[]).await;
        let (mut one, mut two, mut three) = (scene.browser(), scene.browser(), scene.browser());
        let mut bob = scene.browser();
        one.enters("ada", None).await;
        two.enters("ada", Some(true)).await;
        three.enters("ada", None).await;
        bob.enters("bob", None).await;
        let listed = sessions(&one).await;
        let kinds = |kind: &str| listed.iter().filter(|one| one["kind"] == kind).count();
        assert_eq!((kinds("session"), kinds("remembered")), (3, 1));
        assert_eq!(
            listed.iter().filter(|one| one["current"] == true).count(),
            1
        );
        assert!(listed.iter().all(|one| one["expiresAt"].is_string()));
        assert!(listed.iter().any(|one| one["address"] == "127.0.0.1"));
        let text = json!(listed).to_string();
        for secret in one.cookies.values().chain(two.cookies.values()) {
            let secret = secret.rsplit('.').next().unwrap();
            assert!(!text.contains(secret), "a cookie can be made from the list");
        }

        // One by its id; that of another account does not exist for this one.
        let of_three = sessions(&three).await;
        let own = of_three.iter().find(|one| one["current"] == true).unwrap();
        let path = format!("/api/sessions/{}", own["id"].as_str().unwrap());
        let bare = one.bare(Method::DELETE, &path).send().await.unwrap();
        assert_eq!(said(bare).await, refused(403, "CSRF"));
        let by_bob = bob.request(Method::DELETE, &path).send().await.unwrap();
        assert_eq!(said(by_bob).await, refused(404, "NOT_FOUND"));
        assert!(three.is_logged_in().await);
        let ended = one.request(Method::DELETE, &path).send().await.unwrap();
        assert_eq!(ended.status(), 200);
        assert!(!three.is_logged_in().await && one.is_logged_in().await);

        // All others.
        let ended = one
            .request(Method::DELETE, "/api/sessions")
            .send()
            .await
            .unwrap();
        assert_eq!(body(ended).await, json!({ "ended": 2 }));
        assert!(!two.is_logged_in().await && one.is_logged_in().await);
        assert_eq!(
            said(two.resume().await).await,
            refused(401, "NOT_REMEMBERED")
        );
        assert_eq!(sessions(&one).await.len(), 1);
        assert!(bob.is_logged_in().await);
    }
}
