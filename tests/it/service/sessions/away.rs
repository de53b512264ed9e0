//! While Redis is unavailable no session is valid.

use serde_json::json;

use super::super::away::through_proxy;
use super::super::process::{ADMIN_TOKEN, body};
use super::super::real::parts;
use super::scene::{
    Browser, PASSWORD, account, campaign, change, refused, said, settings as with_sessions,
};
use crate::proxy::Mode;
use crate::support::until;

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_sessions_get_503() {
    let parts = parts().await;
    let scene = through_proxy(&parts, &with_sessions()).await;
    let service = &scene.service;
    let campaign = campaign(service).await;
    let ada = account(service, "ada", &["campaign:read"]).await;
    let mut browser = Browser::at(service);
    browser.enters("ada", Some(true)).await;
    let away = refused(503, "GATE_UNAVAILABLE");
    for mode in [Mode::Swallow, Mode::Refuse] {
        scene.proxy.set(mode);
        scene.proxy.cut();
        let answer = browser.takes_part(campaign).await;
        assert!(answer.headers().contains_key("retry-after"));
        assert_eq!(said(answer).await, away, "also where the database admits");
        for path in [
            "/api/session",
            "/api/admin/campaigns",
            "/api/users/1/participations",
        ] {
            assert_eq!(said(browser.get(path).await).await, away, "{path}");
        }
        let ready = service.get("/readyz").send().await.unwrap();
        assert_eq!(ready.status(), 503, "nobody can take part");
        // Passwords are not checked either, because they could be guessed meanwhile.
        for password in [PASSWORD, "a wrong password"] {
            let answer = browser.log_in("ada", password, None).await;
            assert_eq!(said(answer).await, away);
        }
        assert_eq!(said(browser.resume().await).await, away);
        assert_eq!(said(browser.log_out().await).await, away);
        // A change that could not end sessions is rejected.
        let disabled = change(service, ada, json!({ "disabled": true })).await;
        assert_eq!(said(disabled).await, away);
        let shown = service.get(&format!("/api/admin/accounts/{ada}"));
        let shown = shown.bearer_auth(ADMIN_TOKEN).send().await.unwrap();
        assert_eq!(
            body(shown).await["disabled"],
            false,
            "the token is good all the same"
        );
        scene.proxy.set(Mode::Pass);
        until("sessions are back", async || {
            browser.get("/api/session").await.status() == 200
        })
        .await;
        assert_eq!(browser.takes_part(campaign).await.status(), 201);
    }
}
