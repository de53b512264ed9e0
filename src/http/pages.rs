//! Pages for people and machines beside the API: dashboard, Swagger UI, the OpenAPI document and the
//! metrics. All are self-contained and work without a network.

use std::sync::Arc;

use poem::endpoint::make_sync;
use poem::http::{StatusCode, header};
use poem::web::Redirect;
use poem::{Endpoint, Request, Response, Route, get, handler};

use super::dashboard::{self, About};
use super::files::{ASK_AGAIN, File};
use super::problem::Problem;
use crate::runtime::telemetry::Telemetry;

/// The addresses of the pages.
pub const PAGES: [&str; 6] = [
    "/",
    "/dashboard",
    "/dashboard/assets/{file}",
    "/metrics",
    "/openapi.json",
    "/swagger-ui",
];

/// Lets a page use what is in it and this service, and nothing else.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; connect-src 'self'; img-src 'self' data:; \
     script-src 'unsafe-inline'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";

/// The pages, each made once.
pub fn pages(
    document: String,
    swagger_ui: &str,
    about: &About,
    telemetry: Arc<Telemetry>,
) -> impl Endpoint<Output = Response> + 'static + use<> {
    // An icon of nothing: browsers ask for one otherwise.
    let swagger_ui = swagger_ui.replace(
        "<title>Swagger UI</title>",
        r#"<title>firstcome API</title><link rel="icon" href="data:,">"#,
    );
    Route::new()
        .at("/", get(home))
        .at("/dashboard", get(dashboard::page(about)))
        .at("/dashboard/assets/:param0", get(dashboard::assets()))
        .at("/metrics", get(make_sync(move |_| metrics(&telemetry))))
        .at("/openapi.json", get(page("application/json", document)))
        .at(
            "/swagger-ui",
            get(page("text/html; charset=utf-8", swagger_ui)),
        )
}

/// A page that is the same for everybody.
fn page(content_type: &'static str, text: String) -> impl Endpoint<Output = Response> + 'static {
    let file = File::new(content_type, ASK_AGAIN, text.into());
    let file = file.with_header(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY);
    make_sync(move |request: Request| file.answer(&request))
}

#[handler]
fn home() -> Redirect {
    Redirect::temporary("/dashboard")
}

/// The metrics as they are now.
pub(super) fn metrics(telemetry: &Telemetry) -> poem::Result<Response> {
    let text = telemetry.encode().map_err(|error| {
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "answer with metrics"
        );
        Problem::internal()
    })?;
    Ok(Response::builder()
        .status(StatusCode::OK)
        .content_type("application/openmetrics-text; version=1.0.0; charset=utf-8")
        .body(text))
}
