//! What clients see at the edge, whatever the operation; its bounds are tested in `bounds`.

mod bounds;

use std::sync::Arc;

use poem::http::StatusCode;
use poem::test::{TestClient, TestResponse};
use poem::{Body, EndpointExt, IntoEndpoint};
use poem_openapi::param::{Path, Query};
use poem_openapi::{Object, OpenApi, OpenApiService};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::*;
use crate::http::auth::{Admin, Caller};
use crate::http::campaigns::Plain;
use crate::http::fields::{Fields, FromFields};
use crate::http::json::{Checked, RequestBodySchema, Written};
use crate::http::problem::Failure;
use crate::http::settings::Settings;
use crate::identity::CampaignWrite;
use crate::telemetry::Telemetry;

#[derive(Object)]
struct Wish {
    count: u32,
}

impl RequestBodySchema for Wish {
    type Read = Count;
}

#[derive(Debug, Serialize, Object)]
struct Count {
    count: u32,
}

impl FromFields for Count {
    fn from_fields(fields: &mut Fields) -> Self {
        let count = fields.integer32("count", 1..=10);
        Self {
            count: fields.not_null("count", count).unwrap_or(1),
        }
    }
}

/// Operations that behave in every way the edge has to deal with.
struct Probe {
    entered: Arc<Notify>,
}

type Answer = Result<Written<Count>, Failure<Plain>>;

#[allow(clippy::unused_async, reason = "the framework awaits every operation")]
#[OpenApi]
impl Probe {
    #[oai(path = "/api/echo/:id", method = "post")]
    async fn echo(&self, _id: Path<i64>, body: Checked<Wish>) -> Answer {
        Ok(Written(body.0))
    }

    #[oai(path = "/api/echo/:id", method = "get")]
    async fn list(
        &self,
        _id: Path<i64>,
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))] limit: Query<Option<u32>>,
    ) -> Answer {
        Ok(Written(Count {
            count: limit.0.unwrap_or(20),
        }))
    }

    #[oai(path = "/api/caller", method = "get")]
    async fn caller(&self, caller: Caller) -> Answer {
        let user = caller.acting(None)?;
        Ok(Written(Count {
            count: u32::try_from(user.0).unwrap(),
        }))
    }

    #[oai(path = "/api/admin", method = "post")]
    async fn admin(&self, _admin: Admin<CampaignWrite>, body: Checked<Wish>) -> Answer {
        Ok(Written(body.0))
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
        Ok(Written(Count { count: 1 }))
    }
}

struct Harness {
    client: TestClient<Edge<poem::endpoint::BoxEndpoint<'static>>>,
    telemetry: Telemetry,
    entered: Arc<Notify>,
}

fn harness(settings: &Settings) -> Harness {
    harness_with(settings, Box::new(|_| true))
}

fn harness_with(settings: &Settings, room: Room) -> Harness {
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
    .with_room(room);
    Harness {
        client: TestClient::new(edge),
        telemetry,
        entered,
    }
}

fn with_token() -> Settings {
    Settings {
        admin_token: Some("s3cret".into()),
        body_bytes_max: 64,
        ..Settings::default()
    }
}

/// Checks what all problem documents have in common and answers with this one.
async fn problem(response: TestResponse, status: StatusCode, code: &str) -> Value {
    response.assert_status(status);
    response.assert_content_type("application/problem+json");
    let id = response.0.header("x-request-id").unwrap().to_owned();
    let body: Value = response.json().await.value().deserialize();
    assert_eq!(body["status"], status.as_u16());
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
async fn unknown_addresses_and_methods_are_problems() {
    let harness = harness(&Settings::default());
    for path in ["/", "/nowhere", "/api/echo", "/api/echo/1/"] {
        let response = harness.client.get(path).send().await;
        problem(response, StatusCode::NOT_FOUND, "NOT_FOUND").await;
    }
    let response = harness.client.put("/api/echo/1").send().await;
    response.assert_header("allow", "GET, HEAD, POST");
    problem(
        response,
        StatusCode::METHOD_NOT_ALLOWED,
        "METHOD_NOT_ALLOWED",
    )
    .await;
}

#[tokio::test]
async fn parameters_that_cannot_be_read_are_named() {
    let harness = harness(&Settings::default());
    for (path, field) in [
        ("/api/echo/x", "id"),
        ("/api/echo/99999999999999999999", "id"),
        ("/api/echo/1?limit=0", "limit"),
        ("/api/echo/1?limit=101", "limit"),
        ("/api/echo/1?limit=ten", "limit"),
        ("/api/echo/1?limit=-1", "limit"),
    ] {
        let response = harness.client.get(path).send().await;
        let body = problem(response, StatusCode::UNPROCESSABLE_ENTITY, "INVALID").await;
        assert_eq!(body["errors"][0]["field"], field, "{path}: {body}");
    }
}

#[tokio::test]
async fn bodies_that_cannot_be_read_are_problems() {
    let harness = harness(&with_token());
    let post = |body: &'static str, content_type: &'static str| {
        harness
            .client
            .post("/api/echo/1")
            .content_type(content_type)
            .body(body)
            .send()
    };
    let json = "application/json";
    let response = post("{\"count\":", json).await;
    problem(response, StatusCode::BAD_REQUEST, "MALFORMED").await;
    let response = post("{\"count\":1}", "text/plain").await;
    problem(
        response,
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "UNSUPPORTED_MEDIA_TYPE",
    )
    .await;
    for (body, field) in [
        (r#"{"count":0}"#, "count"),
        (r#"{"count":"1"}"#, "count"),
        (r#"{"count":null}"#, "count"),
        (r#"{"count":1,"more":2}"#, "more"),
        ("[]", "body"),
        ("1", "body"),
    ] {
        let response = post(body, json).await;
        let answer = problem(response, StatusCode::UNPROCESSABLE_ENTITY, "INVALID").await;
        assert_eq!(answer["errors"][0]["field"], field, "{body}: {answer}");
    }
    let response = post("{\"count\":7}", "application/json; charset=utf-8").await;
    response.assert_json(json!({"count": 7})).await;
    let response = harness.client.post("/api/echo/1").send().await;
    response.assert_json(json!({"count": 1})).await;
}

#[tokio::test]
async fn large_bodies_are_refused_with_and_without_a_length() {
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
    problem(announced, StatusCode::PAYLOAD_TOO_LARGE, "TOO_LARGE").await;
    let chunks = large
        .into_bytes()
        .into_iter()
        .map(|byte| Ok::<_, std::io::Error>(vec![byte]));
    let chunked = harness
        .client
        .post("/api/echo/1")
        .content_type("application/json")
        .body(Body::from_bytes_stream(futures_util::stream::iter(chunks)))
        .send()
        .await;
    problem(chunked, StatusCode::PAYLOAD_TOO_LARGE, "TOO_LARGE").await;
}

#[tokio::test]
async fn the_admin_is_asked_for_the_token_before_the_body_is_read() {
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
    problem(response, StatusCode::UNAUTHORIZED, "UNAUTHENTICATED").await;
    let response = post(Some("Bearer wrong")).await;
    problem(response, StatusCode::UNAUTHORIZED, "UNAUTHENTICATED").await;
    let response = post(Some("7")).await;
    problem(response, StatusCode::FORBIDDEN, "FORBIDDEN").await;
    let response = post(Some("Bearer s3cret")).await;
    problem(
        response,
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "UNSUPPORTED_MEDIA_TYPE",
    )
    .await;
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
    problem(response, StatusCode::FORBIDDEN, "ADMIN_CLOSED").await;
}

#[tokio::test]
async fn the_user_is_taken_from_the_header() {
    let harness = harness(&Settings::default());
    let get = |user: &'static str| {
        harness
            .client
            .get("/api/caller")
            .header("authorization", user)
            .send()
    };
    get("42").await.assert_json(json!({"count": 42})).await;
    problem(
        get("alice").await,
        StatusCode::UNAUTHORIZED,
        "UNAUTHENTICATED",
    )
    .await;
    let body = problem(get("0").await, StatusCode::UNPROCESSABLE_ENTITY, "INVALID").await;
    assert_eq!(body["errors"][0]["field"], "userId");
}
