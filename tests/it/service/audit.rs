//! The audit log over the admin API, on a running service: every action of an admin is recorded.

use std::collections::BTreeSet;

use sea_orm::Database;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::dead_letters::give_up_all;
use super::process::{ADMIN_TOKEN, Service, body};
use crate::support::until;

/// Admin routes that are not read-only and leave no entry, each with the reason.
const EXCEPTIONS: [(&str, &str); 1] = [(
    "post /api/admin/coupons/redeem",
    "each coupon keeps which shop used it, when and for which order, in the same transaction",
)];

async fn log(service: &Service, query: &str) -> Vec<Value> {
    let path = format!("/api/admin/audit{query}");
    let answer = service.get(&path).bearer_auth(ADMIN_TOKEN).send().await;
    let answer = answer.unwrap();
    assert_eq!(answer.status(), 200, "{query}");
    body(answer).await["items"].as_array().unwrap().clone()
}

/// The admin routes of the document that change something, as `post /api/admin/…`.
async fn changing_routes(service: &Service) -> BTreeSet<String> {
    let document = body(service.get("/openapi.json").send().await.unwrap()).await;
    let mut routes = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            if path.starts_with("/api/admin/") && method != "get" {
                routes.insert(format!("{method} {path}"));
            }
        }
    }
    routes
}

/// Sends a request as the admin, with its own request id, and returns its entry in the log.
async fn entries_of(service: &Service, route: &str, path: &str, sent: &Value) -> Vec<Value> {
    let (method, _) = route.split_once(' ').unwrap();
    let id = uuid::Uuid::now_v7().simple().to_string();
    let url = format!("{}{path}", service.base);
    let method = method.to_uppercase().parse().unwrap();
    let request = service.client.request(method, url);
    let request = request.bearer_auth(ADMIN_TOKEN).header("x-request-id", &id);
    let request = match sent {
        Value::String(file) => request
            .header("content-type", "text/csv")
            .body(file.clone()),
        sent => request.json(sent),
    };
    let answer = request.send().await.unwrap();
    let (status, text) = (answer.status(), answer.text().await.unwrap());
    assert!(status.is_success(), "{route}: {status} {text}");
    let entries = log(service, "?limit=100").await;
    let of_request = entries
        .into_iter()
        .filter(|entry| entry["requestId"] == *id);
    of_request.collect()
}

/// A service with two dead letters, and their campaign.
async fn two_dead_letters(folder: &TempDir) -> (Service, i64) {
    let simulations = [("FIRSTCOME_TEST_ENDPOINTS", "true".to_owned())];
    let service = Service::start(folder, &simulations).await;
    let campaign = service
        .create(json!({ "name": "told", "kind": "general" }))
        .await;
    for user in 1..=2 {
        assert_eq!(service.take_part(campaign, user).await.status(), 201);
    }
    until("all are published", async || {
        let outbox = service.get("/api/admin/outbox").bearer_auth(ADMIN_TOKEN);
        body(outbox.send().await.unwrap()).await["pending"] == 0
    })
    .await;
    let file = folder.path().join("data/firstcome.db");
    let db = Database::connect(format!("sqlite://{}", file.display()));
    assert_eq!(give_up_all(&db.await.unwrap()).await, 2);
    (service, campaign)
}

/// Each change: its route, its body, and its action in the log, in a possible order.
fn steps(campaign: i64, letters: &Value) -> [(&'static str, Value, &'static str); 16] {
    let letter = |nth: usize| json!({ "eventId": letters["items"][nth]["eventId"] });
    let bulk = json!({ "campaignId": campaign, "count": 1 });
    let load = json!({ "campaignId": campaign, "requests": 10, "concurrency": 2 });
    let long = json!({ "campaignId": campaign, "requests": 100_000, "concurrency": 1 });
    let (named, renamed) = (json!({ "name": "new" }), json!({ "name": "another" }));
    let none = || json!({});
    let account =
        json!({ "login": "told", "password": "a password of a test", "scopes": ["stats:read"] });
    let disabled = json!({ "disabled": true, "password": "another password" });
    [
        ("post /api/admin/accounts", account, "account.create"),
        ("patch /api/admin/accounts/{id}", disabled, "account.change"),
        ("post /api/admin/campaigns", named, "campaign.create"),
        (
            "patch /api/admin/campaigns/{id}",
            renamed,
            "campaign.change",
        ),
        (
            "post /api/admin/campaigns/{id}/pause",
            none(),
            "campaign.pause",
        ),
        (
            "post /api/admin/campaigns/{id}/open",
            none(),
            "campaign.open",
        ),
        (
            "post /api/admin/campaigns/{id}/rebuild-gate",
            none(),
            "gate.rebuild",
        ),
        (
            "post /api/admin/dead-letters/replay",
            letter(0),
            "dead_letter.replay",
        ),
        (
            "post /api/admin/dead-letters/discard",
            letter(1),
            "dead_letter.discard",
        ),
        (
            "post /api/admin/test/participate-bulk",
            bulk,
            "simulation.start",
        ),
        ("post /api/admin/test/load/sync", load, "simulation.start"),
        ("post /api/admin/test/load/async", long, "simulation.start"),
        (
            "post /api/admin/test/load/{jobId}/cancel",
            none(),
            "simulation.cancel",
        ),
        ("post /api/admin/batch/aggregate", none(), "day.aggregate"),
        (
            "post /api/admin/campaigns/{id}/close",
            none(),
            "campaign.close",
        ),
        (
            "post /api/admin/campaigns/{id}/archive",
            none(),
            "campaign.archive",
        ),
    ]
}

/// The same for allow-lists.
fn steps_of_lists() -> [(&'static str, Value, &'static str); 2] {
    [
        (
            "put /api/admin/campaigns/{id}/allow-list",
            json!("userId\n1\n2\n"),
            "allow_list.replace",
        ),
        (
            "delete /api/admin/campaigns/{id}/allow-list",
            json!({}),
            "allow_list.remove",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_modifying_admin_route_writes_an_audit_entry() {
    let folder = TempDir::new().unwrap();
    let (service, campaign) = two_dead_letters(&folder).await;
    let letters = service.get("/api/admin/dead-letters");
    let letters = letters.bearer_auth(ADMIN_TOKEN).send().await.unwrap();
    let mut walked: BTreeSet<String> = EXCEPTIONS.iter().map(|(of, _)| (*of).to_owned()).collect();
    let mut job = Value::Null;
    let steps = steps(campaign, &body(letters).await);
    for (route, sent, action) in steps_of_lists().into_iter().chain(steps) {
        let (_, template) = route.split_once(' ').unwrap();
        // The first of the accounts, and the only one.
        let id = if template.contains("/accounts/") {
            1
        } else {
            campaign
        };
        let path = template.replace("{id}", &id.to_string());
        let path = path.replace("{jobId}", job.as_str().unwrap_or_default());
        if action == "simulation.start" {
            until("the one before is over", async || {
                done(&service, &job).await
            })
            .await;
        }
        let entries = entries_of(&service, route, &path, &sent).await;
        let [entry] = &entries[..] else {
            panic!("{route}: {entries:?}");
        };
        assert_eq!(entry["action"], action, "{route}");
        assert_eq!(entry["actor"], "admin-token", "{route}");
        assert_eq!(entry["address"], "127.0.0.1", "{route}");
        let is_of_one = !["day.aggregate", "account.create", "account.change"].contains(&action);
        assert_eq!(entry["campaignId"].is_i64(), is_of_one, "{route}");
        assert!(entry["after"].is_object(), "{route}");
        if action == "simulation.start" {
            job = entry["subject"].clone();
        }
        walked.insert(route.to_owned());
    }
    assert_eq!(walked, changing_routes(&service).await);
}

async fn done(service: &Service, job: &Value) -> bool {
    let Some(job) = job.as_str() else { return true };
    let path = format!("/api/admin/test/load/{job}");
    let job = service.get(&path).bearer_auth(ADMIN_TOKEN).send().await;
    body(job.unwrap()).await["status"] != "STARTED"
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_entry_contains_only_the_changed_fields() {
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, &[]).await;
    let campaign = service
        .create(json!({ "name": "told", "kind": "general", "totalStock": 5 }))
        .await;
    let path = format!("/api/admin/campaigns/{campaign}");
    let change = json!({ "totalStock": 7, "name": "told", "closesAt": "2099-01-01T00:00:00Z" });
    let entries = entries_of(&service, "patch campaign", &path, &change).await;
    assert_eq!(
        entries[0]["before"],
        json!({ "totalStock": 5, "closesAt": null })
    );
    assert_eq!(
        entries[0]["after"],
        json!({ "totalStock": 7, "closesAt": "2099-01-01T00:00:00Z" })
    );
    let all = log(&service, &format!("?campaignId={campaign}")).await;
    let actions: Vec<_> = all.iter().map(|entry| &entry["action"]).collect();
    assert_eq!(actions, ["campaign.change", "campaign.create"]);
    assert_eq!(all[1]["before"], Value::Null);
    assert_eq!(all[1]["after"]["state"], "open");
    assert!(!json!(all).to_string().contains(ADMIN_TOKEN));

    // A refused request changes nothing, so it has no entry.
    let refused = service.admin(&format!("/campaigns/{campaign}/archive"));
    assert_eq!(refused.send().await.unwrap().status(), 409);
    let wrong = service.client.patch(format!("{}{path}", service.base));
    let wrong = wrong
        .bearer_auth(ADMIN_TOKEN)
        .json(&json!({ "perUserLimit": 0 }));
    assert_eq!(wrong.send().await.unwrap().status(), 422);
    assert_eq!(
        log(&service, &format!("?campaignId={campaign}"))
            .await
            .len(),
        2
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn actions_of_admins_are_audited_and_those_of_users_are_not() {
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, &[]).await;
    let campaign = service
        .create(json!({ "name": "told", "price": 5, "perUserLimit": 2 }))
        .await;
    let order = format!("/api/campaigns/{campaign}/participation");
    let order = async |user: i64, admin: Option<&str>| {
        let request = service.post(&order).json(&json!({ "userId": user }));
        let request = match admin {
            Some(token) => request.bearer_auth(token),
            None => request.header("authorization", user.to_string()),
        };
        let made = request.send().await.unwrap();
        assert_eq!(made.status(), 201);
        let id = body(made).await["participationId"].clone();
        id.as_str().unwrap().to_owned()
    };
    let own = order(7, None).await;
    let given_back = service
        .post(&format!("/api/participations/{own}/cancel"))
        .header("authorization", "7");
    assert_eq!(given_back.send().await.unwrap().status(), 200);
    let before = log(&service, "").await.len();

    let made = order(8, Some(ADMIN_TOKEN)).await;
    for action in ["confirm", "cancel"] {
        let target = if action == "confirm" {
            made.clone()
        } else {
            order(9, None).await
        };
        let path = format!("/api/participations/{target}/{action}");
        let request = service.post(&path).bearer_auth(ADMIN_TOKEN);
        let answer = request.json(&json!({})).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{action}");
    }
    let all = log(&service, "").await;
    let told: Vec<_> = all[..all.len() - before]
        .iter()
        .map(|entry| (&entry["action"], &entry["before"]["status"]))
        .collect();
    let reserved = json!("reserved");
    assert_eq!(
        told,
        [
            (&json!("participation.cancel"), &reserved),
            (&json!("participation.confirm"), &reserved),
            (&json!("participation.create"), &Value::Null)
        ]
    );
    assert_eq!(all[2]["subject"], made.as_str());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_admins_read_the_audit_log_and_bad_filters_are_named() {
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, &[]).await;
    let stranger = service.get("/api/admin/audit").send().await.unwrap();
    assert_eq!(stranger.status(), 401);
    for (query, field) in [
        ("action=campaign.opened", "action"),
        ("limit=0", "limit"),
        ("cursor=x", "cursor"),
        ("from=yesterday", "from"),
        ("to=0338-01-03T16:41:01Z", "to"),
        ("campaignId=one", "campaignId"),
    ] {
        let path = format!("/api/admin/audit?{query}");
        let answer = service.get(&path).bearer_auth(ADMIN_TOKEN).send().await;
        let answer = answer.unwrap();
        assert_eq!(answer.status(), 422, "{query}");
        assert_eq!(body(answer).await["errors"][0]["field"], field);
    }
    // MySQL cannot represent this time; the client gets 422, not 503.
    let path = "/api/admin/dead-letters?from=0338-01-03T16:41:01Z";
    let answer = service.get(path).bearer_auth(ADMIN_TOKEN).send().await;
    let answer = answer.unwrap();
    assert_eq!(answer.status(), 422);
    assert_eq!(body(answer).await["errors"][0]["field"], "from");
}
