//! The edge as clients see it, for any operation; `bounds` tests its bounds.

mod bounds;

use std::sync::Arc;

use chrono::NaiveDate;
use poem::http::StatusCode;
use poem::test::{TestClient, TestResponse};
use poem::{Body, EndpointExt, IntoEndpoint};
use poem_openapi::param::{Path, Query};
use poem_openapi::{Enum, Object, OpenApi, OpenApiService};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::*;
use crate::access::identity::CampaignWrite;
use crate::domain::Timestamp;
use crate::http::HttpConfig;
use crate::http::auth::{Admin, Caller};
use crate::http::campaigns::Plain;
use crate::http::fields::{Fields, RequestObject};
use crate::http::json::{Json, JsonRequest};
use crate::http::problem::Failure;
use crate::http::settings::Settings;
use crate::runtime::telemetry::Telemetry;

/// A parameter with two values.
#[derive(Enum)]
#[oai(rename_all = "snake_case")]
enum Word {
    Yes,
    NotYet,
}

#[derive(Debug, Serialize, Object)]
struct Count {
    count: u32,
}

impl RequestObject for Count {
    const NAME: &'static str = "CountRequest";
    const DESCRIPTION: &'static str = "A count.";

    fn define(fields: &mut Fields) -> Self {
        let count = fields.integer32(("count", "A count."), 1..=10).optional();
        Self {
            count: count.unwrap_or(1),
        }
    }
}

/// Operations with every behaviour that the edge has to handle.
struct Probe {
    entered: Arc<Notify>,
}

type Answer = Result<Json<Count>, Failure<Plain>>;

#[allow(clippy::unused_async, reason = "the framework awaits every operation")]
#[OpenApi]
impl Probe {
    #[oai(path = "/api/echo/:id", method = "post")]
    async fn echo(&self, #[oai(name = "id")] _id: Path<i64>, body: JsonRequest<Count>) -> Answer {
        Ok(Json(body.0))
    }

    #[oai(path = "/api/echo/:id", method = "get")]
    async fn list(
        &self,
        #[oai(name = "id")] _id: Path<i64>,
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))] limit: Query<Option<u32>>,
    ) -> Answer {
        Ok(Json(Count {
            count: limit.0.unwrap_or(20),
        }))
    }

    #[oai(path = "/api/search/:id", method = "get")]
    async fn search(
        &self,
        #[oai(name = "id")] _id: Path<Uuid>,
        #[oai(name = "state")] _state: Query<Option<Word>>,
        #[oai(name = "force")] _force: Query<Option<bool>>,
        #[oai(name = "from")] _from: Query<Option<Timestamp>>,
        #[oai(name = "date")] _date: Query<NaiveDate>,
    ) -> Answer {
        Ok(Json(Count { count: 1 }))
    }

    #[oai(path = "/api/caller", method = "get")]
    async fn caller(&self, caller: Caller) -> Answer {
        let user = caller.participant(None)?;
        Ok(Json(Count {
            count: u32::try_from(user.0).unwrap(),
        }))
    }

    #[oai(path = "/api/admin/:id", method = "get")]
    async fn read_by_admins(
        &self,
        _admin: Admin<CampaignWrite>,
        #[oai(name = "id")] _id: Path<i64>,
    ) -> Answer {
        Ok(Json(Count { count: 1 }))
    }

    #[oai(path = "/api/admin", method = "post")]
    async fn admin(&self, _admin: Admin<CampaignWrite>, body: JsonRequest<Count>) -> Answer {
        Ok(Json(body.0))
    }

    #[oai(path = "/api/campaigns/:id/participation", method = "post")]
    async fn participate(&self, #[oai(name = "id")] _id: Path<i64>) -> Answer {
        Ok(Json(Count { count: 1 }))
    }

    #[oai(path = "/api/campaigns/:id/participation-sync", method = "post")]
    async fn participate_sync(&self, #[oai(name = "id")] _id: Path<i64>) -> Answer {
        Ok(Json(Count { count: 1 }))
    }

    #[oai(path = "/api/panic", method = "get")]
    async fn panic(&self) -> Answer {
        panic!("password is hunter2");
    }

    #[oai(path = "/api/hang", method = "get")]
    async fn hang(&self) -> Answer {
        self.entered.notify_one();
        std::future::pending().await
    }

    #[oai(path = "/livez", method = "get")]
    async fn live(&self) -> Answer {
        Ok(Json(Count { count: 1 }))
    }
}

struct Harness {
    client: TestClient<Edge<poem::endpoint::BoxEndpoint<'static>>>,
    telemetry: Telemetry,
    entered: Arc<Notify>,
}

impl Harness {
    async fn get(&self, path: &str) -> TestResponse {
        self.client.get(path).send().await
    }

    async fn post(&self, content_type: &str, body: impl Into<Body>) -> TestResponse {
        let request = self.client.post("/api/echo/1").content_type(content_type);
        request.body(body).send().await
    }
}

fn harness(settings: &Settings) -> Harness {
    harness_with(settings, Box::new(|_| true))
}

fn harness_with(settings: &Settings, has_capacity: HasCapacity) -> Harness {
    let entered = Arc::new(Notify::new());
    let probe = Probe {
        entered: Arc::clone(&entered),
    };
    let service = OpenApiService::new(probe, "probe", "1");
    let telemetry = Telemetry::new();
    let routes = Routes::new(&service.spec(), &[], &telemetry.http);
    let edge = Edge::new(
        service.into_endpoint().boxed(),
        Arc::new(Policy::of(settings)),
        settings,
        routes,
        telemetry.http.clone(),
    )
    .with_capacity(has_capacity);
    Harness {
        client: TestClient::new(edge),
        telemetry,
        entered,
    }
}

fn with_token() -> Settings {
    Settings {
        admin_token: Some("s3cret".into()),
        http: HttpConfig {
            body_bytes_max: 64,
            ..HttpConfig::default()
        },
        ..Settings::default()
    }
}

/// Checks what all problem documents have in common, and returns this one.
async fn problem(response: TestResponse, status: u16, code: &str) -> Value {
    response.assert_status(StatusCode::from_u16(status).unwrap());
    response.assert_content_type("application/problem+json");
    let id = response.0.header("x-request-id").unwrap().to_owned();
    let body: Value = response.json().await.value().deserialize();
    assert_eq!(body["status"], status);
    assert_eq!(body["code"], code, "{body}");
    assert_eq!(body["instance"], id);
    let kind = code.to_lowercase().replace('_', "-");
    assert_eq!(body["type"], format!("urn:firstcome:problem:{kind}"));
    for text in ["title", "detail"] {
        assert!(!body[text].as_str().unwrap().is_empty());
    }
    body
}

#[tokio::test]
async fn unknown_paths_and_methods_are_problems() {
    let harness = harness(&Settings::default());
    for path in ["/", "/nowhere", "/api/echo", "/api/echo/1/"] {
        let response = harness.get(path).await;
        problem(response, 404, "NOT_FOUND").await;
    }
    let response = harness.client.put("/api/echo/1").send().await;
    response.assert_header("allow", "GET, HEAD, POST");
    problem(response, 405, "METHOD_NOT_ALLOWED").await;
}

#[tokio::test]
async fn unreadable_parameters_are_named() {
    let harness = harness(&Settings::default());
    for (path, field) in [
        ("/api/echo/x", "id"),
        ("/api/echo/99999999999999999999", "id"),
        ("/api/echo/1?limit=0", "limit"),
        ("/api/echo/1?limit=101", "limit"),
        ("/api/echo/1?limit=ten", "limit"),
        ("/api/echo/1?limit=-1", "limit"),
    ] {
        let response = harness.get(path).await;
        let body = problem(response, 422, "INVALID").await;
        assert_eq!(body["errors"][0]["field"], field, "{path}: {body}");
    }
}

/// The fields of a problem, each with its fault.
fn faults(problem: &Value) -> Vec<(&str, &str)> {
    let errors = problem["errors"].as_array().unwrap().iter();
    let text = |value: &Value| -> &'static str { value.as_str().unwrap().to_owned().leak() };
    errors
        .map(|error| (text(&error["field"]), text(&error["problem"])))
        .collect()
}

const SEARCH: &str = "/api/search/0193a5d2-7a00-7000-8000-000000000001";

#[tokio::test]
async fn all_wrong_parameters_are_named_with_their_allowed_values() {
    let harness = harness(&Settings::default());
    let path = "/api/search/x?state=maybe&force=yes&from=today&date=2030-02-30&page=2&page=3";
    let response = harness.get(path).await;
    let body = problem(response, 422, "INVALID").await;
    assert_eq!(
        faults(&body),
        [
            ("id", "must be a UUID"),
            ("state", "must be one of yes, not_yet"),
            ("force", "must be true or false"),
            (
                "from",
                "must be a time in RFC 3339, such as 2030-01-31T09:00:00Z"
            ),
            ("date", "must be a date, such as 2030-01-31"),
            ("page", "is not a parameter of this operation"),
        ]
    );
    for word in ["optional", "naive", "parse", "type", "string"] {
        assert!(
            !body.to_string().replace("\"type\":", "").contains(word),
            "{word}: {body}"
        );
    }
}

#[tokio::test]
async fn a_required_parameter_appears_once_and_within_its_bounds() {
    let harness = harness(&Settings::default());
    for (query, expected) in [
        ("", ("date", "is missing")),
        ("?date=", ("date", "must be a date, such as 2030-01-31")),
        (
            "?date=2030-01-31&date=2030-01-31",
            ("date", "is given more than once"),
        ),
        (
            "?date=2030-01-31&from=1969-12-31T00:00:00Z",
            ("from", "must be between the years 1970 and 9999"),
        ),
        (
            "?date=2030-01-31&%64ate=2030-01-31",
            ("date", "is given more than once"),
        ),
    ] {
        let response = harness.get(&format!("{SEARCH}{query}")).await;
        let body = problem(response, 422, "INVALID").await;
        assert_eq!(faults(&body), [expected], "{query}");
    }
    let response = harness.get("/api/echo/1?limit=101").await;
    let body = problem(response, 422, "INVALID").await;
    assert_eq!(faults(&body), [("limit", "must be between 1 and 100")]);
    for right in [
        format!("{SEARCH}?date=2030-01-31"),
        format!(
            "{SEARCH}?state=not_yet&force=false&from=2030-01-31T09%3A00%3A00%2B09:00&date=2030-01-31"
        ),
        "/livez?anything=1".to_owned(),
    ] {
        harness.get(&right).await.assert_status_is_ok();
    }
}

#[tokio::test]
async fn missing_permissions_are_reported_before_other_errors() {
    let harness = harness(&with_token());
    for path in ["/api/admin/x?page=2", "/api/admin/01"] {
        let get = |value: &'static str| {
            let request = harness.client.get(path).header("authorization", value);
            request.send()
        };
        problem(get("Bearer no").await, 401, "UNAUTHENTICATED").await;
        problem(get("7").await, 403, "FORBIDDEN").await;
        let admin = get("Bearer s3cret").await;
        if path.contains("page") {
            let body = problem(admin, 422, "INVALID").await;
            let unknown = ("page", "is not a parameter of this operation");
            assert_eq!(faults(&body), [("id", "must be an integer"), unknown]);
        } else {
            problem(admin, 404, "NOT_FOUND").await;
        }
    }
}

#[tokio::test]
async fn an_id_has_exactly_one_url() {
    let harness = harness(&Settings::default());
    for path in [
        "/api/echo/+1",
        "/api/echo/0001",
        "/api/echo/%31",
        "/api/echo/-0",
        "/api/campaigns/+1/participation",
        "/api/campaigns/0001/participation",
        "/api/campaigns/%31/participation",
        "/api/campaigns//participation",
        "/api/search/0193a5d27a0070008000000000000001?date=2030-01-31",
        "/api/search/0193A5D2-7A00-7000-8000-000000000001?date=2030-01-31",
        "/api/search/%30193a5d2-7a00-7000-8000-000000000001?date=2030-01-31",
    ] {
        let is_participation = path.ends_with("/participation");
        let response = if is_participation {
            harness.client.post(path).send().await
        } else {
            harness.get(path).await
        };
        problem(response, 404, "NOT_FOUND").await;
    }
    harness.get("/api/echo/1").await.assert_status_is_ok();
}

#[tokio::test]
async fn a_duplicate_field_is_named() {
    let harness = harness(&Settings::default());
    for (body, expected) in [
        (
            r#"{"count":1,"count":2}"#,
            vec![("count", "is given more than once")],
        ),
        (
            r#"{"count":11,"more":{"a":[{"b":1,"b":1}]},"\u0063ount":11}"#,
            vec![
                ("more.a[0].b", "is given more than once"),
                ("count", "is given more than once"),
                ("count", "must be between 1 and 10"),
                ("more", "is not a field of this object"),
            ],
        ),
    ] {
        let response = harness.post("application/json", body).await;
        let answer = problem(response, 422, "INVALID").await;
        assert_eq!(faults(&answer), expected, "{body}");
    }
}

#[tokio::test]
async fn unreadable_bodies_are_problems() {
    let harness = harness(&with_token());
    let json = "application/json";
    let response = harness.post(json, "{\"count\":").await;
    problem(response, 400, "MALFORMED").await;
    let response = harness.post("text/plain", "{\"count\":1}").await;
    problem(response, 415, "UNSUPPORTED_MEDIA_TYPE").await;
    for (body, field) in [
        (r#"{"count":0}"#, "count"),
        (r#"{"count":"1"}"#, "count"),
        (r#"{"count":null}"#, "count"),
        (r#"{"count":1,"more":2}"#, "more"),
        ("[]", "body"),
        ("1", "body"),
    ] {
        let response = harness.post(json, body).await;
        let answer = problem(response, 422, "INVALID").await;
        assert_eq!(answer["errors"][0]["field"], field, "{body}: {answer}");
    }
    let utf8 = "application/json; charset=utf-8";
    let response = harness.post(utf8, "{\"count\":7}").await;
    response.assert_json(json!({"count": 7})).await;
    let response = harness.client.post("/api/echo/1").send().await;
    response.assert_json(json!({"count": 1})).await;
}

#[tokio::test]
async fn large_bodies_are_rejected_with_and_without_a_length() {
    let harness = harness(&with_token());
    let large = "x".repeat(65);
    let announced = harness
        .client
        .post("/api/echo/1")
        .content_type("application/json")
        .header("content-length", 65)
        .body(large.clone())
        .send()
        .await;
    problem(announced, 413, "TOO_LARGE").await;
    let chunks = large
        .into_bytes()
        .into_iter()
        .map(|byte| Ok::<_, std::io::Error>(vec![byte]));
    let chunked = Body::from_bytes_stream(futures_util::stream::iter(chunks));
    let chunked = harness.post("application/json", chunked).await;
    problem(chunked, 413, "TOO_LARGE").await;
}

#[tokio::test]
async fn the_admin_token_is_checked_before_the_body_is_read() {
    let harness = harness(&with_token());
    let post = |authorization: Option<&'static str>| {
        let request = harness.client.post("/api/admin").body("not read");
        match authorization {
            Some(value) => request.header("authorization", value).send(),
            None => request.send(),
        }
    };
    let response = post(None).await;
    response.assert_header("www-authenticate", "Bearer realm=\"firstcome\"");
    problem(response, 401, "UNAUTHENTICATED").await;
    let response = post(Some("Bearer wrong")).await;
    problem(response, 401, "UNAUTHENTICATED").await;
    let response = post(Some("7")).await;
    problem(response, 403, "FORBIDDEN").await;
    let response = post(Some("Bearer s3cret")).await;
    problem(response, 415, "UNSUPPORTED_MEDIA_TYPE").await;
}

#[tokio::test]
async fn without_a_token_the_admin_api_is_closed() {
    let harness = harness(&Settings::default());
    let response = harness
        .client
        .post("/api/admin")
        .header("authorization", "Bearer ")
        .send()
        .await;
    problem(response, 403, "ADMIN_CLOSED").await;
}

#[tokio::test]
async fn the_header_names_the_user() {
    let harness = harness(&Settings::default());
    let get = |user: &'static str| {
        harness
            .client
            .get("/api/caller")
            .header("authorization", user)
            .send()
    };
    get("42").await.assert_json(json!({"count": 42})).await;
    problem(get("alice").await, 401, "UNAUTHENTICATED").await;
    let body = problem(get("0").await, 422, "INVALID").await;
    assert_eq!(body["errors"][0]["field"], "userId");
}
