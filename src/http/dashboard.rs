//! Pages for people and machines beside the API: dashboard, Swagger UI, the OpenAPI document and the
//! metrics. All are self-contained and work without a network.

use std::sync::Arc;

use poem::endpoint::make_sync;
use poem::http::{HeaderValue, StatusCode, header};
use poem::web::Redirect;
use poem::{Endpoint, Response, Route, get, handler};

use super::problem::Problem;
use super::settings::Settings;
use crate::telemetry::Telemetry;

/// The addresses of the pages.
pub const PAGES: [&str; 5] = [
    "/",
    "/dashboard",
    "/metrics",
    "/openapi.json",
    "/swagger-ui",
];

const DASHBOARD: &str = include_str!("dashboard.html");

/// Lets a page use what is in it and this service, and nothing else.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; connect-src 'self'; img-src 'self' data:; \
     script-src 'unsafe-inline'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";

/// The pages, each made once.
pub fn pages(
    document: String,
    swagger_ui: &str,
    settings: &Settings,
    telemetry: Arc<Telemetry>,
) -> impl Endpoint<Output = Response> + 'static + use<> {
    // An icon of nothing: browsers ask for one otherwise.
    let swagger_ui = swagger_ui.replace(
        "<title>Swagger UI</title>",
        r#"<title>firstcome API</title><link rel="icon" href="data:,">"#,
    );
    Route::new()
        .at("/", get(home))
        .at(
            "/dashboard",
            get(fixed("text/html; charset=utf-8", dashboard(settings))),
        )
        .at("/metrics", get(make_sync(move |_| metrics(&telemetry))))
        .at("/openapi.json", get(fixed("application/json", document)))
        .at(
            "/swagger-ui",
            get(fixed("text/html; charset=utf-8", swagger_ui)),
        )
}

/// The dashboard, saying which parts are embedded.
fn dashboard(settings: &Settings) -> String {
    let parts = settings.embedded_parts.join(", ");
    let notice = if parts.is_empty() {
        String::new()
    } else {
        format!(
            "<p class=\"notice\">Running on embedded parts ({parts}): made for trying out. What is \
             held in memory is lost on restart; configure MySQL, Redis and Kafka for production.</p>"
        )
    };
    DASHBOARD.replace("<!-- notice -->", &notice)
}

/// An endpoint that always answers the same text.
fn fixed(content_type: &'static str, text: String) -> impl Endpoint<Output = Response> + 'static {
    let body = HeaderValue::from_static(content_type);
    make_sync(move |_| {
        let mut response = Response::builder().body(text.clone());
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, body.clone());
        headers.insert(
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static(CONTENT_SECURITY_POLICY),
        );
        headers.insert(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        );
        response
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dashboard_says_when_parts_are_embedded() {
        let mut settings = Settings::default();
        assert!(!dashboard(&settings).contains("class=\"notice\""));
        settings.embedded_parts = vec!["SQLite", "in-process gate"];
        assert!(dashboard(&settings).contains("embedded parts (SQLite, in-process gate)"));
    }

    #[test]
    fn pages_load_nothing_from_elsewhere() {
        for foreign in ["src=\"http", "href=\"http", "url(http", "@import"] {
            assert!(!DASHBOARD.contains(foreign), "{foreign}");
        }
    }
}
