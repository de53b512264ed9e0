//! Allow-lists over HTTP, on a running service.

#[cfg(feature = "failpoints")]
mod crashes;

use reqwest::{Body, Response};
use sea_orm::{ConnectionTrait, Database, DatabaseConnection, DbBackend, Statement};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::process::{ADMIN_TOKEN, Service, body};
use super::real::parts;
use crate::support::until;

fn path(campaign: i64) -> String {
    format!("/api/admin/campaigns/{campaign}/allow-list")
}

async fn put(service: &Service, campaign: i64, file: impl Into<Body>) -> Response {
    let url = format!("{}{}", service.base, path(campaign));
    let request = service.client.put(url).bearer_auth(ADMIN_TOKEN);
    let request = request.header("content-type", "text/csv; charset=utf-8");
    request.body(file).send().await.unwrap()
}

async fn look(service: &Service, path: &str) -> (u16, Value) {
    let answer = service.get(path).bearer_auth(ADMIN_TOKEN).send().await;
    let answer = answer.unwrap();
    (answer.status().as_u16(), body(answer).await)
}

async fn ask(service: &Service, campaign: i64, user: i64, way: &str) -> (u16, Value) {
    let path = format!("/api/campaigns/{campaign}/{way}");
    let request = service.post(&path).json(&json!({ "userId": user }));
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), body(answer).await)
}

fn lines(users: std::ops::RangeInclusive<u32>) -> String {
    let lines: Vec<String> = users.map(|user| format!("{user}\n")).collect();
    lines.concat()
}

const WAYS: [&str; 2] = ["participation", "participation-sync"];

async fn campaign(service: &Service) -> i64 {
    let campaign = json!({ "name": "for some", "kind": "general", "totalStock": 5 });
    service.create(campaign).await
}

/// Otherwise others could use up the rate of the users on the list.
#[tokio::test(flavor = "multi_thread")]
async fn a_user_not_on_the_allow_list_does_not_use_the_rate_of_the_campaign() {
    let folder = TempDir::new().unwrap();
    let settings = [("FIRSTCOME_LIMITS_CAMPAIGN", "2/1h".to_owned())];
    let service = Service::start(&folder, &settings).await;
    let campaign = campaign(&service).await;
    let listed = put(&service, campaign, "userId\n1\n2\n3\n").await;
    assert_eq!(listed.status(), 200);
    for way in WAYS {
        for user in 10..15 {
            let (status, problem) = ask(&service, campaign, user, way).await;
            assert_eq!((status, &problem["code"]), (403, &json!("NOT_ALLOWED")));
        }
    }
    let mut statuses = Vec::new();
    for user in 1..=3 {
        statuses.push(ask(&service, campaign, user, WAYS[0]).await.0);
    }
    assert_eq!(statuses, [201, 201, 429]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_not_on_the_allow_list_gets_403_before_anything_is_reserved() {
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, &[]).await;
    let campaign = campaign(&service).await;
    let listed = put(&service, campaign, "userId\r\n1\r\n2\r\n").await;
    assert_eq!(listed.status(), 200);
    let list = body(listed).await;
    assert_eq!(list["users"], 2);
    assert_eq!(list["actor"], "admin-token");
    assert_eq!(look(&service, &path(campaign)).await, (200, list));
    for (user, listed) in [(2, true), (3, false)] {
        let (_, told) = look(&service, &format!("{}/{user}", path(campaign))).await;
        assert_eq!(told["listed"], listed);
    }

    for way in WAYS {
        let (status, problem) = ask(&service, campaign, 3, way).await;
        assert_eq!(
            (status, &problem["code"]),
            (403, &json!("NOT_ALLOWED")),
            "{way}"
        );
        assert_eq!(problem["type"], "urn:firstcome:problem:not-allowed");
    }
    let (_, stock) = look(&service, &format!("/api/campaigns/{campaign}/stock")).await;
    assert_eq!(stock["currentStock"], 5);
    for (user, way) in (1..).zip(WAYS) {
        assert_eq!(ask(&service, campaign, user, way).await.0, 201, "{way}");
    }
    let (_, status) = look(&service, &format!("/api/campaigns/{campaign}/status")).await;
    assert_eq!(
        (&status["successCount"], &status["failCount"]),
        (&json!(2), &json!(2))
    );
    assert_eq!(status["failures"], json!({ "NOT_ALLOWED": 2 }));

    let url = format!("{}{}", service.base, path(campaign));
    let remove = || service.client.delete(&url).bearer_auth(ADMIN_TOKEN).send();
    assert_eq!(remove().await.unwrap().status(), 204);
    assert_eq!(ask(&service, campaign, 3, WAYS[0]).await.0, 201);
    assert_eq!(look(&service, &path(campaign)).await.0, 404);
    assert_eq!(remove().await.unwrap().status(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_line_is_named_and_the_list_stays() {
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, &[]).await;
    let campaign = campaign(&service).await;
    assert_eq!(put(&service, campaign, "1\n").await.status(), 200);

    // Far larger than any other body may be, and wrong near its beginning.
    let mut file = lines(1..=200_000);
    file.insert_str(4, "two\n");
    let bad = put(&service, campaign, file).await;
    assert_eq!(bad.status(), 422);
    let problem = body(bad).await;
    assert_eq!(
        (&problem["code"], &problem["line"]),
        (&json!("INVALID"), &json!(3))
    );
    assert_eq!(
        problem["errors"],
        json!([{
            "field": "userId",
            "problem": "must be an integer between 1 and 9007199254740991, in line 3"
        }])
    );
    assert_eq!(ask(&service, campaign, 2, WAYS[0]).await.0, 403);
    assert_eq!(ask(&service, campaign, 1, WAYS[0]).await.0, 201);

    let url = format!("{}{}", service.base, path(campaign));
    let json = service.client.put(url).bearer_auth(ADMIN_TOKEN);
    let json = json.json(&json!([1])).send().await.unwrap();
    assert_eq!(json.status(), 415);
    assert_eq!(put(&service, campaign, "userId\n").await.status(), 422);
    assert_eq!(put(&service, 999_999, "1\n").await.status(), 404);
    for what in ["pause", "close", "archive"] {
        let moved = service.admin(&format!("/campaigns/{campaign}/{what}"));
        assert_eq!(moved.send().await.unwrap().status(), 200, "{what}");
    }
    let archived = put(&service, campaign, "1\n").await;
    assert_eq!(archived.status(), 409);
    assert_eq!(body(archived).await["code"], "WRONG_STATE");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_the_real_parts_a_long_list_is_in_force_on_every_replica_at_once() {
    let parts = parts().await;
    let folder = TempDir::new().unwrap();
    let one = Service::start(&folder, parts.settings()).await;
    let other = Service::start(&folder, parts.settings()).await;
    let campaign = campaign(&one).await;
    assert_eq!(ask(&other, campaign, 7, WAYS[0]).await.0, 201);

    let file = lines(100..=150_099);
    let listed = put(&one, campaign, file).await;
    assert_eq!(listed.status(), 200);
    assert_eq!(body(listed).await["users"], 150_000);
    let outsider = std::sync::atomic::AtomicI64::new(10_000_000);
    for service in [&one, &other] {
        until("it is in force", async || {
            let user = outsider.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let (status, problem) = ask(service, campaign, user, WAYS[0]).await;
            status == 403 && problem["code"] == "NOT_ALLOWED"
        })
        .await;
    }
    assert_eq!(ask(&other, campaign, 150_099, WAYS[0]).await.0, 201);
    assert_eq!(ask(&one, campaign, 100, WAYS[1]).await.0, 201);
    parts.until_sound(&folder).await;
}

async fn rows(db: &DatabaseConnection, of: &str) -> i64 {
    let sql = format!("SELECT COUNT(*) FROM {of}");
    let statement = Statement::from_string(DbBackend::MySql, sql);
    let row = db.query_one_raw(statement).await.unwrap();
    row.unwrap().try_get_by_index(0).unwrap()
}

/// The half that was written has no effect, and the next import is not disturbed.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_killed_during_an_import_leaves_the_list_unchanged() {
    let parts = parts().await;
    let folder = TempDir::new().unwrap();
    let mut service = Service::start(&folder, parts.settings()).await;
    let campaign = campaign(&service).await;
    assert_eq!(put(&service, campaign, "1\n2\n").await.status(), 200);
    let db = Database::connect(&parts.test.url).await.unwrap();

    let half = lines(1..=5_000);
    let head = format!(
        "PUT {} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {ADMIN_TOKEN}\r\n\
         content-type: text/csv\r\ncontent-length: {}\r\n\r\n",
        path(campaign),
        half.len() + 1_000_000
    );
    let address = service.base.strip_prefix("http://").unwrap();
    let mut sending = TcpStream::connect(address).await.unwrap();
    sending.write_all(head.as_bytes()).await.unwrap();
    sending.write_all(half.as_bytes()).await.unwrap();
    // The rest is never sent.
    until("half of it is written", async || {
        rows(&db, "allow_list_user").await >= 5_000
    })
    .await;
    service.kill();
    let service = Service::start(&folder, parts.settings()).await;
    assert_eq!(ask(&service, campaign, 3, WAYS[0]).await.0, 403);
    assert_eq!(ask(&service, campaign, 2, WAYS[0]).await.0, 201);
    assert_eq!(put(&service, campaign, "3\n").await.status(), 200);
    until("the new one is in force", async || {
        ask(&service, campaign, 3, WAYS[0]).await.0 != 403
    })
    .await;
    let over = "allow_list WHERE state = 'importing'";
    assert_eq!(rows(&db, over).await, 0, "and will be cleared away");
}
