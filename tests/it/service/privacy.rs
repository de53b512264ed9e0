//! Personal data of others and coupon codes: who can read them, and how reads are recorded.

use reqwest::Response;
use sea_orm::Database;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::dead_letters::give_up_all;
use super::guessing::events;
use super::process::{ADMIN_TOKEN, Service, body};
use super::tokens::{token, token_of, with_secret};
use crate::support::until;

fn with(scopes: &str) -> String {
    token(&json!({ "sub": "an admin of a test", "scope": scopes }))
}

async fn ask(service: &Service, path: &str, token: &str) -> Response {
    let request = service.get(path).bearer_auth(token);
    request.send().await.unwrap()
}

async fn read(service: &Service, path: &str, token: &str) -> Value {
    let answer = ask(service, path, token).await;
    assert_eq!(answer.status(), 200, "{path}");
    body(answer).await
}

async fn service(folder: &TempDir) -> Service {
    let mut settings = with_secret();
    settings.push(("FIRSTCOME_LOG_FORMAT", "json".to_owned()));
    Service::start(folder, &settings).await
}

async fn take_part(service: &Service, campaign: i64, user: u64) -> String {
    let path = format!("/api/campaigns/{campaign}/participation");
    let request = service.post(&path).bearer_auth(token_of(user));
    let made = request.json(&json!({})).send().await.unwrap();
    assert_eq!(made.status(), 201);
    let made = body(made).await;
    made["participationId"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn coupon_codes_are_shown_to_their_holder_and_to_admins_with_pii_read() {
    let folder = TempDir::new().unwrap();
    let service = service(&folder).await;
    let terms = json!({ "discountAmount": 500, "minimumOrderAmount": 1_000 });
    let coupon = json!({ "name": "c", "kind": "coupon", "reward": { "coupon": terms } });
    let campaign = service.create(coupon).await;
    let participation = take_part(&service, campaign, 7).await;
    let rewards = "/api/users/7/rewards";
    let own = token_of(7);
    until("the coupon is there", async || {
        read(&service, rewards, &own).await["coupons"] != json!([])
    })
    .await;
    let code = read(&service, rewards, &own).await["coupons"][0]["code"].clone();
    let code = code.as_str().unwrap();
    assert_eq!(code.len(), 26);

    let all_but_pii = "campaign:read campaign:write deadletter:replay stats:read test:run \
                       account:manage coupon:redeem audit:read";
    let one = format!("/api/participations/{participation}");
    let history = "/api/users/7/participations";
    for scopes in [all_but_pii, "campaign:read", "pii:read"] {
        let lacking = with(scopes);
        for path in [rewards, history] {
            let answer = ask(&service, path, &lacking).await;
            assert_eq!(answer.status(), 403, "{path} {scopes}");
            let text = answer.text().await.unwrap();
            assert!(text.contains("MISSING_SCOPE"), "{text}");
            assert!(!text.contains(code), "{text}");
        }
        assert_eq!(
            ask(&service, &one, &lacking).await.status(),
            404,
            "{scopes}"
        );
    }
    let stranger = ask(&service, rewards, &token_of(8)).await;
    assert_eq!(body(stranger).await["code"], "FORBIDDEN");
    for shown in [with("campaign:read pii:read"), ADMIN_TOKEN.to_owned()] {
        let seen = read(&service, rewards, &shown).await;
        assert_eq!(seen["coupons"][0]["code"], code);
        for path in [history, one.as_str()] {
            assert_eq!(ask(&service, path, &shown).await.status(), 200, "{path}");
        }
    }
}

/// Actions of this token's subject in the audit log, the oldest first, with their objects.
async fn recorded(service: &Service) -> Vec<(String, Value)> {
    let log = read(service, "/api/admin/audit?limit=100", ADMIN_TOKEN).await;
    let entries = log["items"].as_array().unwrap().iter().rev();
    let ours = entries.filter(|entry| entry["actor"] == "jwt:an admin of a test");
    ours.map(|entry| {
        let action = entry["action"].as_str().unwrap().to_owned();
        (action, entry["subject"].clone())
    })
    .collect()
}

/// Reads of personal data among the security events: the kind of data, and the subject.
fn reads_of(service: &Service) -> Vec<(String, String)> {
    let events = events(service).into_iter();
    let reads = events.filter(|event| event["security.event"] == "data.read");
    reads
        .map(|event| {
            assert_eq!(event["security.actor"], "jwt:an admin of a test", "{event}");
            let text = |name: &str| event[name].as_str().unwrap_or("").to_owned();
            (text("security.reason"), text("security.subject"))
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_of_accounts_and_allow_lists_are_recorded() {
    let folder = TempDir::new().unwrap();
    let service = service(&folder).await;
    let campaign = service.create(json!({ "name": "for some" })).await;
    let list = format!("/api/admin/campaigns/{campaign}/allow-list");
    let url = format!("{}{list}", service.base);
    let put = service.client.put(url).bearer_auth(ADMIN_TOKEN);
    let put = put.header("content-type", "text/csv").body("7\n");
    assert_eq!(put.send().await.unwrap().status(), 200);
    let ada = json!({ "login": "ada", "password": "correct horse battery staple" });
    let made = service.admin("/accounts").json(&ada).send().await.unwrap();
    let id = body(made).await["id"].as_i64().unwrap();

    let reader = with("campaign:read account:manage pii:read");
    let accounts = read(&service, "/api/admin/accounts", &reader).await;
    assert_eq!(accounts["items"][0]["login"], "ada");
    let one = format!("/api/admin/accounts/{id}");
    assert_eq!(read(&service, &one, &reader).await["login"], "ada");
    let listed = read(&service, &format!("{list}/7"), &reader).await;
    assert_eq!(listed["listed"], true);
    // The description of a list reveals no user.
    assert_eq!(read(&service, &list, &reader).await["users"], 1);

    let entry = |action: &str, subject: Value| (action.to_owned(), subject);
    assert_eq!(
        recorded(&service).await,
        [
            entry("account.read", Value::Null),
            entry("account.read", json!(id.to_string())),
            entry("allow_list.read", json!("7")),
        ]
    );
    let event = |reason: &str, subject: String| (reason.to_owned(), subject);
    assert_eq!(
        reads_of(&service),
        [
            event("accounts", String::new()),
            event("account", format!("account:{id}")),
            event("allow_list", "user:7".to_owned()),
        ]
    );
    // An admin who may change accounts but not read them does not see them in the response to a change either.
    let url = format!("{}{one}", service.base);
    let change = service.client.patch(url).json(&json!({ "disabled": true }));
    for (token, login) in [
        (with("account:manage"), Value::Null),
        (reader, json!("ada")),
    ] {
        let change = change.try_clone().unwrap().bearer_auth(token);
        let changed = body(change.send().await.unwrap()).await;
        assert_eq!(
            (&changed["login"], &changed["disabled"]),
            (&login, &json!(true))
        );
    }
}

/// A service with a dead letter of one campaign, and its key: the id of the participation.
async fn one_dead_letter(folder: &TempDir) -> (Service, i64, String) {
    let service = service(folder).await;
    let campaign = service.create(json!({ "name": "letters" })).await;
    let key = take_part(&service, campaign, 7).await;
    until("it is published", async || {
        let path = format!("/api/campaigns/{campaign}/status");
        read(&service, &path, &token_of(7)).await["funnel"]["published"] == 1
    })
    .await;
    let file = folder.path().join("data/firstcome.db");
    let db = Database::connect(format!("sqlite://{}", file.display()));
    assert_eq!(give_up_all(&db.await.unwrap()).await, 1);
    (service, campaign, key)
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_dead_letters_are_shown_one_by_one_with_pii_read_and_recorded() {
    let folder = TempDir::new().unwrap();
    let (service, campaign, _) = one_dead_letter(&folder).await;
    let (replayer, reader) = (
        with("deadletter:replay"),
        with("deadletter:replay pii:read"),
    );
    let list = "/api/admin/dead-letters";
    let mut id = String::new();
    for token in [&replayer, &reader] {
        let page = read(&service, list, token).await;
        let letter = &page["items"][0];
        assert_eq!(
            (&letter["key"], &letter["payload"]),
            (&Value::Null, &Value::Null)
        );
        letter["eventId"].as_str().unwrap().clone_into(&mut id);
    }
    let one = format!("{list}/{id}");
    let masked = read(&service, &one, &replayer).await;
    assert_eq!(
        (&masked["errorClass"], &masked["key"], &masked["payload"]),
        (&json!("record"), &Value::Null, &Value::Null)
    );
    assert_eq!(recorded(&service).await, []);
    let shown = read(&service, &one, &reader).await;
    let record: Value = serde_json::from_str(shown["payload"].as_str().unwrap()).unwrap();
    assert_eq!(
        (&record["userId"], shown["key"].is_string()),
        (&json!(7), true)
    );
    assert_eq!(
        recorded(&service).await,
        [("dead_letter.read".to_owned(), json!(id))]
    );
    let event = ("dead_letter".to_owned(), format!("campaign:{campaign}"));
    assert_eq!(reads_of(&service), [event]);
}

async fn assert_needs_pii_read(answer: Response) {
    assert_eq!(answer.status(), 403);
    let problem = body(answer).await;
    assert_eq!(
        (&problem["code"], &problem["scope"]),
        (&json!("MISSING_SCOPE"), &json!("pii:read"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_selected_by_key_only_with_pii_read_and_recorded() {
    let folder = TempDir::new().unwrap();
    let (service, campaign, key) = one_dead_letter(&folder).await;
    let (replayer, reader) = (
        with("deadletter:replay"),
        with("deadletter:replay pii:read"),
    );
    let list = "/api/admin/dead-letters";
    let select = async |action: &str, token: &str| {
        let request = service.post(&format!("{list}/{action}")).bearer_auth(token);
        let selection = json!({ "key": key, "dryRun": true });
        request.json(&selection).send().await.unwrap()
    };
    for key in [key.as_str(), "nobody"] {
        let path = format!("{list}?key={key}");
        assert_needs_pii_read(ask(&service, &path, &replayer).await).await;
    }
    for action in ["replay", "discard"] {
        assert_needs_pii_read(select(action, &replayer).await).await;
    }
    assert_eq!(recorded(&service).await, []);

    let path = format!("{list}?campaignId={campaign}&key={key}");
    let page = read(&service, &path, &reader).await;
    assert_eq!(page["items"].as_array().map(Vec::len), Some(1));
    for action in ["replay", "discard"] {
        assert_eq!(body(select(action, &reader).await).await["matched"], 1);
    }
    let entry = ("dead_letter.read".to_owned(), Value::Null);
    assert_eq!(recorded(&service).await, vec![entry; 3]);
    let event = |subject: String| ("dead_letters".to_owned(), subject);
    let all = event(String::new());
    assert_eq!(
        reads_of(&service),
        [event(format!("campaign:{campaign}")), all.clone(), all]
    );
}
