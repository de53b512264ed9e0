//! One-time codes: disabled by their owner, reset by an admin, and required of accounts with scopes.

use reqwest::Method;
use serde_json::json;

use super::super::super::process::{ADMIN_TOKEN, body};
use super::super::command_line::accounts;
use super::super::scene::{PASSWORD, Scene, account, change, refused, said};
use super::{accepted, audited, code, enable, enters};

#[tokio::test(flavor = "multi_thread")]
async fn disabling_needs_the_password_and_a_code() {
    for scene in Scene::all(&[]).await {
        account(&scene.service, "ada", &["stats:read"]).await;
        let (mut browser, mut other) = (scene.browser(), scene.browser());
        browser.enters("ada", None).await;
        let path = "/api/session/totp/disable";
        let asked =
            |password: &str, code: &str| json!({ "currentPassword": password, "code": code });
        let disabled = browser.post(path, &asked(PASSWORD, "123456")).await;
        assert_eq!(said(disabled).await, refused(409, "TOTP_NOT_ENABLED"));
        let (secret, codes) = enable(&mut browser).await;
        assert_eq!(
            enters(&mut other, PASSWORD, Some(&codes[1])).await,
            accepted()
        );
        for (password, code, code_of_problem) in [
            ("a wrong password", &codes[0], "LOGIN_REFUSED"),
            (PASSWORD, &code(&secret, 9), "CODE_REFUSED"),
            (PASSWORD, &codes[1], "CODE_REFUSED"),
        ] {
            let answer = browser.post(path, &asked(password, code)).await;
            assert_eq!(said(answer).await, refused(401, code_of_problem));
        }
        let bare = browser
            .bare(Method::POST, path)
            .json(&asked(PASSWORD, &codes[0]));
        assert_eq!(said(bare.send().await.unwrap()).await, refused(403, "CSRF"));
        let disabled = browser.post(path, &asked(PASSWORD, &codes[0])).await;
        browser.keep(disabled.headers());
        assert_eq!(browser.is_let_in(disabled).await["totp"], "disabled");
        assert!(browser.is_logged_in().await && !other.is_logged_in().await);
        assert_eq!(enters(&mut other, PASSWORD, None).await, accepted());
        let entries = audited(&scene.service).await;
        let told = |nth: usize| {
            (
                &entries[nth]["action"],
                &entries[nth]["after"],
                &entries[nth]["actor"],
            )
        };
        let owner = json!("account:1");
        assert_eq!(
            told(0),
            (&json!("account.totp"), &json!({ "totp": false }), &owner)
        );
        assert_eq!(
            told(1),
            (&json!("account.totp"), &json!({ "totp": true }), &owner)
        );
        // Earlier codes are invalid after it is enabled again.
        enable(&mut browser).await;
        assert_eq!(
            enters(&mut other, PASSWORD, Some(&codes[2])).await,
            refused(401, "CODE_REFUSED")
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_resets_the_codes_of_an_account_that_is_locked_out() {
    for scene in Scene::all(&[]).await {
        let ada = account(&scene.service, "ada", &["stats:read"]).await;
        let (mut browser, mut other) = (scene.browser(), scene.browser());
        browser.enters("ada", None).await;
        enable(&mut browser).await;
        let changed = change(&scene.service, ada, json!({ "disabled": false })).await;
        assert_eq!(body(changed).await["totp"], true);
        assert_eq!(
            enters(&mut other, PASSWORD, None).await,
            refused(401, "CODE_REQUIRED")
        );
        let changed = change(&scene.service, ada, json!({ "resetTotp": true })).await;
        assert_eq!(changed.status(), 200);
        assert_eq!(body(changed).await["totp"], false);
        assert!(!browser.is_logged_in().await, "its sessions end");
        assert_eq!(enters(&mut other, PASSWORD, None).await, accepted());
        let entry = audited(&scene.service).await[0].clone();
        assert_eq!(
            (&entry["action"], &entry["before"], &entry["after"]),
            (
                &json!("account.change"),
                &json!({ "totp": true }),
                &json!({ "totp": false })
            )
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn codes_are_reset_on_the_command_line() {
    let scene = Scene::real(&[]).await;
    account(&scene.service, "ada", &["stats:read"]).await;
    let (mut browser, mut other) = (scene.browser(), scene.browser());
    browser.enters("ada", None).await;
    enable(&mut browser).await;
    let listed = accounts(&scene, &["list"], "");
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains("enabled, TOTP"), "{listed}");
    let reset = accounts(&scene, &["reset-totp", "ada"], "");
    let text = String::from_utf8(reset.stdout).unwrap();
    assert_eq!(text, "account 1: enabled, scopes: stats:read\n");
    assert!(!browser.is_logged_in().await);
    assert_eq!(enters(&mut other, PASSWORD, None).await, accepted());
}

#[tokio::test(flavor = "multi_thread")]
async fn required_codes_withhold_scopes_until_they_are_enabled() {
    for scene in Scene::all(&[("FIRSTCOME_ACCOUNTS_TOTP_REQUIRED", "true")]).await {
        account(&scene.service, "ada", &["campaign:read"]).await;
        account(&scene.service, "bob", &[]).await;
        let (mut ada, mut bob) = (scene.browser(), scene.browser());
        let without = bob.enters("bob", None).await;
        assert_eq!(
            without["totp"], "disabled",
            "an account without scopes needs none"
        );
        let session = ada.enters("ada", Some(true)).await;
        assert_eq!(
            (&session["totp"], &session["scopes"]),
            (&json!("required"), &json!([]))
        );
        let answer = ada.get("/api/session").await;
        assert_eq!(body(answer).await["totp"], "required");
        let campaigns = ada.get("/api/admin/campaigns").await;
        assert_eq!(said(campaigns).await, refused(403, "MISSING_SCOPE"));
        let answer = ada.resume().await;
        assert_eq!(ada.is_let_in(answer).await["scopes"], json!([]));
        let (secret, _) = enable(&mut ada).await;
        assert_eq!(ada.get("/api/admin/campaigns").await.status(), 200);
        let mut other = scene.browser();
        assert_eq!(
            enters(&mut other, PASSWORD, Some(&code(&secret, 1))).await,
            accepted()
        );
        assert_eq!(other.get("/api/admin/campaigns").await.status(), 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_secret_nor_codes_are_in_a_log_or_shown_again() {
    let scene = Scene::embedded(&[("FIRSTCOME_LOG_FILTER", "trace")]).await;
    account(&scene.service, "ada", &["stats:read"]).await;
    let mut browser = scene.browser();
    browser.enters("ada", None).await;
    let (secret, codes) = enable(&mut browser).await;
    let next = code(&secret, 1);
    assert_eq!(
        enters(&mut browser, PASSWORD, Some(&next)).await,
        accepted()
    );
    assert_eq!(
        enters(&mut browser, PASSWORD, Some(&codes[0])).await,
        accepted()
    );
    let account = scene.service.get("/api/admin/accounts/1");
    let account = account.bearer_auth(ADMIN_TOKEN).send().await.unwrap();
    let account = body(account).await;
    let audited = json!(audited(&scene.service).await);
    let texts = [
        scene.service.log(),
        account.to_string(),
        audited.to_string(),
    ];
    let plain = codes[0].replace('-', "");
    for text in texts {
        for secret in [&secret, &codes[0], &plain] {
            assert!(!text.contains(secret.as_str()), "a secret is shown");
        }
    }
}
