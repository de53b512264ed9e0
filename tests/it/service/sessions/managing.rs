//! Accounts: who creates and changes them, with the effect on sessions.

use std::fs;
use std::io::Write;
use std::process::{Output, Stdio};

use reqwest::Method;
use sea_orm::{ConnectionTrait, Database, DbBackend, Statement};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::super::process::{ADMIN_TOKEN, Service, body, command};
use super::scene::{
    PASSWORD, Scene, account, campaign, change, refused, said, settings as with_sessions,
};

const ANOTHER: &str = "another password altogether";

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_account_cannot_log_in_until_it_is_enabled() {
    for scene in Scene::all(&[]).await {
        let service = &scene.service;
        let campaign = campaign(service).await;
        let ada = account(service, "ada", &[]).await;
        let mut browser = scene.browser();
        browser.enters("ada", None).await;
        let disabled = change(service, ada, json!({ "disabled": true })).await;
        assert_eq!(body(disabled).await["disabled"], true);
        assert!(!browser.is_logged_in().await);
        assert_eq!(browser.takes_part(campaign).await.status(), 401);
        let answer = browser.log_in("ada", PASSWORD, None).await;
        assert_eq!(said(answer).await, refused(401, "LOGIN_REFUSED"));
        // A change without a difference ends nothing.
        assert_eq!(
            change(service, ada, json!({ "disabled": false }))
                .await
                .status(),
            200
        );
        browser.enters("ada", None).await;
        assert_eq!(
            change(service, ada, json!({ "disabled": false }))
                .await
                .status(),
            200
        );
        assert!(browser.is_logged_in().await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_password_ends_the_sessions_of_the_old_one() {
    for scene in Scene::all(&[]).await {
        let service = &scene.service;
        let ada = account(service, "ada", &[]).await;
        account(service, "bob", &[]).await;
        let (mut here, mut there, mut bob) = (scene.browser(), scene.browser(), scene.browser());
        here.enters("ada", None).await;
        there.enters("ada", Some(true)).await;
        bob.enters("bob", None).await;
        let changed = change(service, ada, json!({ "password": ANOTHER })).await;
        assert_eq!(changed.status(), 200);
        assert!(!here.is_logged_in().await && !there.is_logged_in().await);
        assert!(bob.is_logged_in().await);
        assert_eq!(here.log_in("ada", PASSWORD, None).await.status(), 401);
        let answer = here.log_in("ada", ANOTHER, None).await;
        here.is_let_in(answer).await;
        assert!(here.is_logged_in().await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_have_the_scopes_of_their_account() {
    for scene in Scene::all(&[]).await {
        let service = &scene.service;
        let campaign = campaign(service).await;
        let id = account(service, "reader", &["campaign:read", "pii:read"]).await;
        let (mut reader, mut user) = (scene.browser(), scene.browser());
        reader.enters("reader", None).await;
        account(service, "user", &[]).await;
        user.enters("user", None).await;
        let pause = format!("/api/admin/campaigns/{campaign}/pause");
        assert_eq!(reader.get("/api/admin/campaigns").await.status(), 200);
        let missing = refused(403, "MISSING_SCOPE");
        assert_eq!(said(reader.post(&pause, &json!({})).await).await, missing);
        assert_eq!(said(user.get("/api/admin/campaigns").await).await, missing);
        // Participations of others need the scopes to read them, as with tokens.
        let made = body(user.takes_part(campaign).await).await;
        let path = format!(
            "/api/participations/{}",
            made["participationId"].as_str().unwrap()
        );
        assert_eq!(reader.get(&path).await.status(), 200);

        let more = json!({ "scopes": ["campaign:read", "campaign:write", "audit:read"] });
        assert_eq!(change(service, id, more).await.status(), 200);
        assert!(
            !reader.is_logged_in().await,
            "what it may do is read when one logs in"
        );
        reader.enters("reader", None).await;
        assert_eq!(reader.post(&pause, &json!({})).await.status(), 200);
        let log = reader.get("/api/admin/audit?action=campaign.pause").await;
        assert_eq!(
            body(log).await["items"][0]["actor"],
            format!("account:{id}")
        );
        // The admin token works in every mode.
        let token = service.get("/api/admin/campaigns").bearer_auth(ADMIN_TOKEN);
        assert_eq!(token.send().await.unwrap().status(), 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_grants_or_takes_over_scopes_they_do_not_have() {
    let scene = Scene::embedded(&[]).await;
    let service = &scene.service;
    let strong = account(service, "strong", &["campaign:write", "stats:read"]).await;
    let weak = account(service, "weak", &["stats:read"]).await;
    account(service, "manager", &["account:manage", "stats:read"]).await;
    let mut manager = scene.browser();
    manager.enters("manager", None).await;
    let makes = async |login: &str, scopes: Value| {
        let asked = json!({ "login": login, "password": PASSWORD, "scopes": scopes });
        let answer = manager.post("/api/admin/accounts", &asked).await;
        answer.status().as_u16()
    };
    assert_eq!(makes("one", json!(["stats:read"])).await, 201);
    assert_eq!(makes("two", json!(["account:manage"])).await, 201);
    assert_eq!(makes("three", json!(["campaign:read"])).await, 403);
    let changes = async |id: i64, asked: Value| {
        let request = manager.request(Method::PATCH, &format!("/api/admin/accounts/{id}"));
        said(request.json(&asked).send().await.unwrap()).await
    };
    let beyond = refused(403, "FORBIDDEN");
    for asked in [
        json!({ "password": ANOTHER }),
        json!({ "disabled": true }),
        json!({ "scopes": [] }),
    ] {
        assert_eq!(changes(strong, asked).await, beyond);
    }
    assert_eq!(
        changes(weak, json!({ "scopes": ["test:run"] })).await,
        beyond
    );
    assert_eq!(changes(weak, json!({ "scopes": [] })).await.0, 200);
    assert_eq!(
        changes(9_999, json!({ "disabled": true })).await,
        refused(404, "NOT_FOUND")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_changes_their_own_password_without_the_current_one() {
    let scene = Scene::embedded(&[]).await;
    let service = &scene.service;
    let own = account(service, "manager", &["account:manage"]).await;
    let other = account(service, "other", &[]).await;
    let mut manager = scene.browser();
    manager.enters("manager", None).await;
    let changes = async |id: i64, asked: Value| {
        let request = manager.request(Method::PATCH, &format!("/api/admin/accounts/{id}"));
        let answer = request.json(&asked).send().await.unwrap();
        (answer.status().as_u16(), body(answer).await)
    };
    for asked in [
        json!({ "password": ANOTHER }),
        json!({ "password": ANOTHER, "scopes": [] }),
    ] {
        let (status, problem) = changes(own, asked).await;
        assert_eq!(
            (status, &problem["code"], &problem["errors"][0]["field"]),
            (422, &json!("INVALID"), &json!("password"))
        );
        let message = problem["errors"][0]["problem"].as_str().unwrap();
        assert!(message.contains("POST /api/session/password"), "{message}");
    }
    assert!(manager.is_logged_in().await);
    assert_eq!(changes(other, json!({ "password": ANOTHER })).await.0, 200);
    // The admin token is not an account.
    let by_token = change(service, own, json!({ "password": ANOTHER })).await;
    assert_eq!(by_token.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_shown_without_its_secrets() {
    for scene in Scene::all(&[]).await {
        let service = &scene.service;
        let ada = account(service, "Ada", &["stats:read"]).await;
        let taken = json!({ "login": "aDA", "password": PASSWORD });
        let taken = service
            .admin("/accounts")
            .json(&taken)
            .send()
            .await
            .unwrap();
        assert_eq!(said(taken).await, refused(409, "LOGIN_TAKEN"));
        assert_eq!(
            change(service, ada, json!({ "password": ANOTHER }))
                .await
                .status(),
            200
        );
        let mut texts = Vec::new();
        for path in [&format!("/accounts/{ada}"), "/accounts", "/audit"] {
            let asked = service
                .get(&format!("/api/admin{path}"))
                .bearer_auth(ADMIN_TOKEN);
            let answer = asked.send().await.unwrap();
            assert_eq!(answer.status(), 200, "{path}");
            texts.push(answer.text().await.unwrap());
        }
        let shown: Value = serde_json::from_str(&texts[0]).unwrap();
        let mut keys: Vec<&String> = shown.as_object().unwrap().keys().collect();
        keys.sort_unstable();
        let expected = ["createdAt", "disabled", "id", "login", "scopes", "totp"];
        assert_eq!(keys, expected);
        let log: Value = serde_json::from_str(&texts[2]).unwrap();
        let entries = log["items"].as_array().unwrap();
        let told: Vec<_> = entries
            .iter()
            .map(|one| (&one["action"], &one["after"]))
            .collect();
        let made = json!({ "login": "Ada", "scopes": ["stats:read"], "disabled": false });
        assert_eq!(
            told,
            [
                (&json!("account.read"), &Value::Null),
                (&json!("account.read"), &Value::Null),
                (&json!("account.change"), &json!({ "password": "changed" })),
                (&json!("account.create"), &made),
            ]
        );
        for text in texts {
            assert!(
                !text.contains("argon2") && !text.contains(PASSWORD) && !text.contains(ANOTHER)
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_wrong_field_of_an_account_is_named() {
    let scene = Scene::embedded(&[]).await;
    let wrong = json!({
        "login": "no name", "password": "2 short", "scopes": ["campaign:*"], "id": 7
    });
    let answer = scene.service.admin("/accounts").json(&wrong).send().await;
    let problem = body(answer.unwrap()).await;
    let errors = problem["errors"].as_array().unwrap();
    let fields: Vec<_> = errors.iter().map(|error| &error["field"]).collect();
    assert_eq!(fields, ["login", "password", "scopes", "id"]);
    assert!(
        !problem.to_string().contains("2 short"),
        "a password is not said again"
    );
    let long = json!({ "login": "ada", "password": "x".repeat(129) });
    for path in ["/api/admin/accounts", "/api/session"] {
        let request = scene
            .service
            .post(path)
            .bearer_auth(ADMIN_TOKEN)
            .json(&long);
        let problem = body(request.send().await.unwrap()).await;
        assert_eq!(problem["errors"][0]["field"], "password", "{path}");
    }
}

/// Runs `accounts add` with this on its standard input.
fn add(folder: &TempDir, arguments: &[&str], input: &str) -> Output {
    let mut command = command(folder, &[]);
    command.args(["accounts", "add"]).args(arguments);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    // It may have rejected its arguments by now.
    pipe.write_all(input.as_bytes()).ok();
    drop(pipe);
    child.wait_with_output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_are_created_on_the_command_line_without_a_password_argument() {
    // Before the first start of a service, so there is no database.
    let folder = TempDir::new().unwrap();
    let made = add(
        &folder,
        &["ada", "--scope", "account:manage"],
        &format!("{PASSWORD}\n"),
    );
    assert!(made.status.success(), "{made:?}");
    assert_eq!(String::from_utf8_lossy(&made.stdout), "account 1\n");
    let file = folder.path().join("password");
    fs::write(&file, format!("{ANOTHER}\n")).unwrap();
    let file = file.display().to_string();
    let made = add(&folder, &["bob", "--password-file", &file], "");
    assert!(made.status.success(), "{made:?}");
    for (arguments, input, why) in [
        (&["ADA"][..], PASSWORD, "the login name is taken"),
        (&["carol"], "short", "12 to 128 characters"),
        (&["carol"], "", "12 to 128 characters"),
        (&["not a name"], PASSWORD, "letters"),
        (
            &["carol", "--scope", "everything"],
            PASSWORD,
            "must be one of",
        ),
        (&["carol", PASSWORD], "", "unexpected argument"),
    ] {
        let refused = add(&folder, arguments, input);
        assert!(!refused.status.success(), "{arguments:?}");
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(said.contains(why), "{arguments:?}: {said}");
    }
    let service = Service::start(&folder, &with_sessions()).await;
    let scene = Scene {
        service,
        folder,
        parts: None,
    };
    let mut ada = scene.browser();
    ada.enters("ada", None).await;
    let mut bob = scene.browser();
    let answer = bob.log_in("bob", ANOTHER, None).await;
    bob.is_let_in(answer).await;
    let log = scene
        .service
        .get("/api/admin/audit")
        .bearer_auth(ADMIN_TOKEN);
    let log = body(log.send().await.unwrap()).await;
    assert_eq!(log["items"][0]["actor"], "command-line");
    assert_eq!(log["items"][0]["action"], "account.create");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_rehashed_when_the_configured_cost_rises() {
    let folder = TempDir::new().unwrap();
    let hash = async || {
        let file = folder.path().join("data/firstcome.db");
        let db = Database::connect(format!("sqlite://{}", file.display()))
            .await
            .unwrap();
        let sql = "SELECT password_hash FROM account WHERE login = 'ada'";
        let row = db
            .query_one_raw(Statement::from_string(DbBackend::Sqlite, sql))
            .await;
        let hash: String = row.unwrap().unwrap().try_get_by_index(0).unwrap();
        db.close().await.unwrap();
        hash
    };
    let mut service = Service::start(&folder, &with_sessions()).await;
    account(&service, "ada", &[]).await;
    let first = hash().await;
    assert!(
        first.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
        "{first}"
    );
    assert!(service.stop().await.success());

    let mut settings = with_sessions();
    settings.push(("FIRSTCOME_ACCOUNTS_PASSWORD_ITERATIONS", "3".to_owned()));
    let service = Service::start(&folder, &settings).await;
    let mut browser = super::scene::Browser::at(&service);
    assert_eq!(
        browser
            .log_in("ada", "a wrong password", None)
            .await
            .status(),
        401
    );
    assert_eq!(hash().await, first, "only who knows it can");
    browser.enters("ada", None).await;
    let second = hash().await;
    assert!(
        second.starts_with("$argon2id$v=19$m=19456,t=3,p=1$"),
        "{second}"
    );
    assert!(
        browser.is_logged_in().await,
        "the same password is no change"
    );
    browser.enters("ada", None).await;
    assert_eq!(hash().await, second);
}
