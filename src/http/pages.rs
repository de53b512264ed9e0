//! Pages beside the API: the dashboard, Swagger UI, the OpenAPI document and the metrics. They are self-contained and
//! load nothing from other hosts.

use std::sync::Arc;

use poem::endpoint::make_sync;
use poem::http::{StatusCode, header};
use poem::web::Redirect;
use poem::{Endpoint, Request, Response, Route, get, handler};

use super::dashboard::{self, About};
use super::files::{File, REVALIDATE};
use super::problem::Problem;
use crate::runtime::telemetry::{Telemetry, cause};

/// The paths of the pages.
pub const PAGES: [&str; 6] = [
    "/",
    "/dashboard",
    "/dashboard/assets/{file}",
    "/metrics",
    "/openapi.json",
    "/swagger-ui",
];

/// A page uses only its own content and this service.
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
    // An empty icon, so that browsers request none.
    let swagger_ui = swagger_ui.replace(
        "<title>Swagger UI</title>",
        r#"<title>firstcome API</title><link rel="icon" href="data:,">"#,
    );
    Route::new()
        .at("/", get(home))
        .at("/dashboard", get(dashboard::page(about)))
        .at("/dashboard/assets/:file", get(dashboard::assets()))
        .at("/metrics", get(make_sync(move |_| metrics(&telemetry))))
        .at("/openapi.json", get(page("application/json", document)))
        .at(
            "/swagger-ui",
            get(page("text/html; charset=utf-8", swagger_ui)),
        )
}

/// A page that is the same for all clients.
fn page(content_type: &'static str, text: String) -> impl Endpoint<Output = Response> + 'static {
    let file = File::new(content_type, REVALIDATE, text.into());
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
        tracing::error!(error = cause(&error), "encode the metrics");
        Problem::internal()
    })?;
    Ok(Response::builder()
        .status(StatusCode::OK)
        .content_type("application/openmetrics-text; version=1.0.0; charset=utf-8")
        .body(text))
}
