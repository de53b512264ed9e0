//! Access control: every operation is called without the permission for it, and with fields that are not in its
//! list.

use reqwest::{Method, Response};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::process::{ADMIN_TOKEN, Service, body};
use crate::support::until;

async fn ask(service: &Service, method: &str, path: &str, who: &str, asked: &Value) -> Response {
    let method: Method = method.parse().unwrap();
    let request = service
        .client
        .request(method, format!("{}{path}", service.base))
        .header("Authorization", who)
        .json(asked);
    request.send().await.unwrap()
}

fn admin() -> String {
    format!("Bearer {ADMIN_TOKEN}")
}

async fn reserved(service: &Service, user: i64) -> (i64, String) {
    let campaign = service
        .create(json!({
            "name": "orders", "kind": "general", "totalStock": 5, "price": 500, "perUserLimit": 2
        }))
        .await;
    let made = body(service.take_part(campaign, user).await).await;
    let id = made["participationId"].as_str().unwrap().to_owned();
    (campaign, id)
}

/// The problem without the members that differ in each response.
async fn problem(answer: Response) -> (u16, Value) {
    let status = answer.status().as_u16();
    let mut problem = body(answer).await;
    problem.as_object_mut().unwrap().remove("instance");
    (status, problem)
}

/// Its existence is not revealed either.
#[tokio::test(flavor = "multi_thread")]
async fn the_participation_of_another_user_gets_the_answer_of_an_unknown_one() {
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, &[]).await;
    let (_, theirs) = reserved(&service, 7).await;
    let nobodys = uuid::Uuid::now_v7().to_string();
    for (method, what) in [("GET", ""), ("POST", "/confirm"), ("POST", "/cancel")] {
        let of = |id: &str| format!("/api/participations/{id}{what}");
        let mut answers = Vec::new();
        for id in [&theirs, &nobodys] {
            let answer = ask(&service, method, &of(id), "8", &json!({})).await;
            answers.push(problem(answer).await);
            let nobody = service.client.request(
                method.parse().unwrap(),
                format!("{}{}", service.base, of(id)),
            );
            assert_eq!(
                nobody.send().await.unwrap().status(),
                401,
                "{method} {what}"
            );
        }
        assert_eq!(answers[0], answers[1], "{method} {what}");
        assert_eq!(answers[0].0, 404, "{method} {what}");
    }
    let path = format!("/api/participations/{theirs}");
    let own = body(ask(&service, "GET", &path, "7", &json!({})).await).await;
    assert_eq!(own["status"], "reserved", "nobody changed it");
}

#[tokio::test(flavor = "multi_thread")]
async fn history_and_rewards_of_another_user_are_refused() {
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, &[]).await;
    assert_eq!(service.take_part(1, 7).await.status(), 201);
    for what in ["participations", "rewards"] {
        // The existence of the user makes no difference.
        for (owner, who, status) in [
            ("7", "8", 403),
            ("9", "8", 403),
            ("7", "7", 200),
            ("7", admin().as_str(), 200),
        ] {
            let path = format!("/api/users/{owner}/{what}");
            let answer = ask(&service, "GET", &path, who, &json!({})).await;
            assert_eq!(answer.status(), status, "{who} asks for {path}");
        }
        let nobody = service.get(&format!("/api/users/7/{what}")).send().await;
        assert_eq!(nobody.unwrap().status(), 401, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_coupon_of_another_user_gets_the_answer_of_an_unknown_one() {
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, &[]).await;
    let campaign = service
        .create(json!({
            "name": "c", "kind": "coupon", "reward": { "coupon": { "discountAmount": 500 } }
        }))
        .await;
    assert_eq!(service.take_part(campaign, 7).await.status(), 201);
    let mut coupon = String::new();
    until("the coupon is there", async || {
        let rewards = ask(&service, "GET", "/api/users/7/rewards", "7", &json!({})).await;
        let rewards = body(rewards).await;
        let id = rewards["coupons"][0]["id"].as_str();
        coupon = id.unwrap_or_default().to_owned();
        id.is_some()
    })
    .await;
    let order = json!({ "orderAmount": 1_000 });
    let nobodys = uuid::Uuid::now_v7().to_string();
    let mut answers = Vec::new();
    for id in [&coupon, &nobodys] {
        let answer = ask(
            &service,
            "POST",
            &format!("/api/coupons/{id}/use"),
            "8",
            &order,
        )
        .await;
        answers.push(problem(answer).await);
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0].0, 404);
    let path = format!("/api/coupons/{coupon}/use");
    let by_admin = ask(&service, "POST", &path, &admin(), &order).await;
    assert_eq!(by_admin.status(), 403, "an admin has no coupons");
    assert_eq!(
        ask(&service, "POST", &path, "7", &order).await.status(),
        200
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_of_another_user_does_not_reveal_their_answer() {
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, &[]).await;
    let send = |user: i64| {
        let request = service.post("/api/campaigns/1/participation");
        let request = request.header("Idempotency-Key", "the-same");
        request.json(&json!({ "userId": user })).send()
    };
    let theirs = body(send(7).await.unwrap()).await;
    let mine = send(8).await.unwrap();
    assert_eq!(mine.status(), 201);
    let mine = body(mine).await;
    assert_eq!(mine["userId"], 8);
    assert_ne!(mine["participationId"], theirs["participationId"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_cannot_name_another_user() {
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, &[]).await;
    for path in ["participation", "participation-sync"] {
        let path = format!("/api/campaigns/1/{path}");
        let other = ask(&service, "POST", &path, "7", &json!({ "userId": 8 })).await;
        assert_eq!(other.status(), 403, "{path}");
    }
}

/// Drafts look like missing campaigns; archived ones stay accessible.
#[tokio::test(flavor = "multi_thread")]
async fn only_admins_see_drafts_and_everybody_sees_archived_campaigns() {
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, &[]).await;
    let draft = json!({ "name": "d", "kind": "general", "totalStock": 5, "state": "draft" });
    let draft = service.create(draft).await;
    let archived = service
        .create(json!({ "name": "a", "kind": "general", "totalStock": 5 }))
        .await;
    for what in ["close", "archive"] {
        let path = format!("/api/admin/campaigns/{archived}/{what}");
        let answer = ask(&service, "POST", &path, &admin(), &json!({})).await;
        assert_eq!(answer.status(), 200);
    }
    for (id, expected) in [(draft, 404), (archived, 200)] {
        for what in ["", "/stock", "/status", "/stream"] {
            let path = format!("/api/campaigns/{id}{what}");
            for who in ["7", &admin()] {
                let answer = ask(&service, "GET", &path, who, &json!({})).await;
                assert_eq!(answer.status(), expected, "{path}");
            }
        }
        for what in ["participation", "participation-sync"] {
            let path = format!("/api/campaigns/{id}/{what}");
            let nowhere = format!("/api/campaigns/999999999/{what}");
            let answer = problem(ask(&service, "POST", &path, "7", &json!({})).await).await;
            let nothing = problem(ask(&service, "POST", &nowhere, "7", &json!({})).await).await;
            if id == draft {
                assert_eq!(answer, nothing, "a draft is as nothing");
            } else {
                assert_eq!(answer.1["code"], "ENDED", "{path}");
            }
        }
        let path = format!("/api/admin/campaigns/{id}");
        for (who, expected) in [(admin().as_str(), 200), ("7", 403)] {
            let answer = ask(&service, "GET", &path, who, &json!({})).await;
            assert_eq!(answer.status(), expected, "{path}");
        }
    }
}

/// Fields of a campaign that nobody may set, by all their names.
const KEPT: [&str; 22] = [
    "id",
    "createdAt",
    "created_at",
    "updatedAt",
    "currentStock",
    "current_stock",
    "remaining",
    "committedUnits",
    "committed_units",
    "successCount",
    "epoch",
    "gateEpoch",
    "gate_epoch",
    "gateClosed",
    "version",
    "nextRank",
    "rank",
    "soldOut",
    "publishedEvents",
    "purgedEvents",
    "__proto__",
    "total_stock",
];

#[tokio::test(flavor = "multi_thread")]
async fn only_changeable_fields_of_a_campaign_are_changed() {
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, &[]).await;
    let campaign = service
        .create(json!({ "name": "n", "kind": "general", "totalStock": 5 }))
        .await;
    assert_eq!(service.take_part(campaign, 7).await.status(), 201);
    let path = format!("/api/admin/campaigns/{campaign}");
    let before = body(ask(&service, "GET", &path, &admin(), &json!({})).await).await;
    // Neither its state, which has separate operations, nor its kind.
    for field in KEPT.into_iter().chain(["state", "kind"]) {
        for value in [json!(1), json!("draft"), json!(null)] {
            let asked = json!({ "name": "changed", field: value });
            let (status, problem) =
                problem(ask(&service, "PATCH", &path, &admin(), &asked).await).await;
            assert_eq!(status, 422, "{field}");
            assert_eq!(problem["errors"][0]["field"], field, "{problem}");
        }
    }
    let after = body(ask(&service, "GET", &path, &admin(), &json!({})).await).await;
    assert_eq!(after, before, "not even the name");
}

/// An operation that reads a body, and the fields of it.
struct Reads {
    method: String,
    path: String,
    example: Value,
    fields: Vec<String>,
}

/// Every operation that reads a body, from the service's own document.
async fn operations_with_a_body(service: &Service) -> Vec<Reads> {
    let document = body(service.get("/openapi.json").send().await.unwrap()).await;
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let content = &operation["requestBody"]["content"]["application/json"];
            let Some(name) = content["schema"]["$ref"].as_str() else {
                // A file has columns, which are read by name like fields: other tests cover it.
                let is_file = operation["requestBody"]["content"]
                    .get("text/csv")
                    .is_some();
                let has_none = operation.get("requestBody").is_none();
                assert!(is_file || has_none, "{method} {path}");
                continue;
            };
            let schema = document.pointer(name.trim_start_matches('#')).unwrap();
            let path = path.replace(
                "{id}",
                if path.contains("/campaigns/") || path.contains("/accounts/") {
                    "999999999"
                } else {
                    "00000000-0000-7000-8000-000000000000"
                },
            );
            operations.push(Reads {
                method: method.to_uppercase(),
                path: path.replace("{userId}", "7"),
                example: schema["example"].clone(),
                fields: schema["properties"]
                    .as_object()
                    .unwrap()
                    .keys()
                    .cloned()
                    .collect(),
            });
        }
    }
    operations
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_fields_are_rejected_everywhere() {
    let folder = TempDir::new().unwrap();
    let settings = [("FIRSTCOME_TEST_ENDPOINTS", "true".to_owned())];
    let service = Service::start(&folder, &settings).await;
    let operations = operations_with_a_body(&service).await;
    assert!(operations.len() >= 8, "there were so many once");
    let more = [
        "participationId",
        "price_",
        "userID",
        "user_id",
        "admin",
        "expiresAt",
    ];
    for Reads {
        method,
        path,
        example,
        fields,
    } in &operations
    {
        let who = if path.starts_with("/api/admin/") {
            admin()
        } else {
            "7".to_owned()
        };
        let unknown = KEPT.into_iter().chain(more);
        for field in unknown.filter(|field| !fields.iter().any(|known| known == field)) {
            let mut asked = example.clone();
            asked[field] = json!(1);
            let (status, problem) = problem(ask(&service, method, path, &who, &asked).await).await;
            assert_eq!(status, 422, "{path} with {field}: {problem}");
            let named = problem["errors"].as_array().unwrap().iter();
            let named: Vec<&Value> = named.map(|error| &error["field"]).collect();
            assert_eq!(named, [&json!(field)], "{path}: {problem}");
        }
    }
    let within =
        json!({ "name": "n", "kind": "points", "reward": { "points": 1, "granted": true } });
    let answer = ask(&service, "POST", "/api/admin/campaigns", &admin(), &within).await;
    assert_eq!(
        problem(answer).await.1["errors"][0]["field"],
        "reward.granted"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_participation_is_made_of_the_request_fields_only() {
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, &[]).await;
    let (campaign, _) = reserved(&service, 7).await;
    for path in ["participation", "participation-sync"] {
        let path = format!("/api/campaigns/{campaign}/{path}");
        for field in [
            "status",
            "rank",
            "price",
            "participationId",
            "expiresAt",
            "remaining",
        ] {
            let asked = json!({ "userId": 8, field: "confirmed" });
            let answer = ask(&service, "POST", &path, "8", &asked).await;
            assert_eq!(answer.status(), 422, "{path} with {field}");
        }
    }
    let history = ask(
        &service,
        "GET",
        "/api/users/8/participations",
        "8",
        &json!({}),
    )
    .await;
    assert_eq!(body(history).await["items"], json!([]));
}

/// Every operation of the document, with ids that have the form of one.
async fn operations(service: &Service) -> Vec<(String, String)> {
    let document = body(service.get("/openapi.json").send().await.unwrap()).await;
    let mut operations = Vec::new();
    for (template, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let mut path = template.clone();
            for parameter in operation["parameters"].as_array().unwrap_or(&Vec::new()) {
                let is_uuid = parameter["schema"]["format"] == "uuid";
                let id = if is_uuid {
                    "00000000-0000-7000-8000-000000000000"
                } else {
                    "999999999"
                };
                let name = parameter["name"].as_str().unwrap();
                path = path.replace(&format!("{{{name}}}"), id);
            }
            operations.push((method.to_uppercase(), path));
        }
    }
    operations
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_parameters_are_rejected_everywhere() {
    let folder = TempDir::new().unwrap();
    let settings = [("FIRSTCOME_TEST_ENDPOINTS", "true".to_owned())];
    let service = Service::start(&folder, &settings).await;
    let operations = operations(&service).await;
    assert!(operations.len() >= 40, "there were so many once");
    for (method, path) in operations {
        if !path.starts_with("/api/") {
            // Probes are answered with any credentials.
            continue;
        }
        let asked = format!("{path}?limitt=1&limitt=2");
        let answer = ask(&service, &method, &asked, &admin(), &json!({})).await;
        let (status, problem) = problem(answer).await;
        assert_eq!(status, 422, "{method} {path}: {problem}");
        let unknown = json!({
            "field": "limitt", "problem": "is not a parameter of this operation"
        });
        let errors = problem["errors"].as_array().unwrap();
        assert!(errors.contains(&unknown), "{method} {path}: {problem}");
    }
}
