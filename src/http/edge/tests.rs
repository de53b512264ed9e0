//! The edge as clients see it, for any operation; `bounds` tests its bounds, `requests` what it reads.

mod bounds;
mod requests;

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
