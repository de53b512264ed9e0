//! Pages beside the API: the dashboard, Swagger UI, the OpenAPI and AsyncAPI documents and the metrics. They are self-contained and
//! load nothing from other hosts.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use poem::endpoint::{make, make_sync};
use poem::http::header;
use poem::web::Redirect;
use poem::{Endpoint, Request, Response, Route, get, handler};

use super::dashboard::{self, About};
use super::files::{File, REVALIDATE};
use super::problem::Problem;
use crate::events::asyncapi;
use crate::runtime::cache::ReadThrough;
use crate::runtime::telemetry::{Telemetry, cause};

/// The paths of the pages.
pub const PAGES: [&str; 7] = [
    "/",
    "/asyncapi.json",
    "/dashboard",
    "/dashboard/assets/{file}",
    "/metrics",
    "/openapi.json",
    "/swagger-ui",
];

/// How old the text of the metrics may be.
const METRICS_AGE_MAX: Duration = Duration::from_secs(1);

/// A page uses only its own content and this service.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; connect-src 'self'; img-src 'self' data:; \
     script-src 'unsafe-inline'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";

/// The documents are data, and use nothing.
const DOCUMENT_POLICY: &str = "default-src 'none'; frame-ancestors 'none'";

/// The pages, each made once.
pub fn pages(
    document: String,
    swagger_ui: &str,
    about: &About,
    telemetry: Arc<Telemetry>,
) -> impl Endpoint<Output = Response> + 'static + use<> {
    let metrics = metrics(telemetry);
    // An empty icon, so that browsers request none.
    let swagger_ui = swagger_ui.replace(
        "<title>Swagger UI</title>",
        r#"<title>firstcome API</title><link rel="icon" href="data:,">"#,
    );
    Route::new()
        .at("/", get(home))
        .at("/dashboard", get(dashboard::page(about)))
        .at("/dashboard/assets/:file", get(dashboard::assets()))
        .at("/metrics", get(metrics))
        .at(
            "/asyncapi.json",
            get(document_page(asyncapi::document().to_owned())),
        )
        .at("/openapi.json", get(document_page(document)))
        .at(
            "/swagger-ui",
            get(page(
                "text/html; charset=utf-8",
                CONTENT_SECURITY_POLICY,
                swagger_ui,
            )),
        )
}

fn document_page(document: String) -> impl Endpoint<Output = Response> + 'static {
    page("application/json", DOCUMENT_POLICY, document)
}

/// A page that is the same for all clients.
fn page(
    content_type: &'static str,
    policy: &'static str,
    text: String,
) -> impl Endpoint<Output = Response> + 'static {
    let file = File::new(content_type, REVALIDATE, text.into());
    let file = file.with_header(header::CONTENT_SECURITY_POLICY, policy);
    make_sync(move |request: Request| file.answer(&request))
}

#[handler]
fn home() -> Redirect {
    Redirect::temporary("/dashboard")
}

/// The metrics: all clients share one text a second, so that many clients do not make the encoding the work.
pub(super) fn metrics(
    telemetry: Arc<Telemetry>,
) -> impl Endpoint<Output = Response> + 'static + use<> {
    let texts = ReadThrough::new(1, METRICS_AGE_MAX..=METRICS_AGE_MAX);
    make(move |_| {
        let (telemetry, texts) = (Arc::clone(&telemetry), texts.clone());
        async move {
            let encode = || async { telemetry.encode().map(Bytes::from) };
            let text = texts.get((), encode).await.map_err(|error| {
                tracing::error!(error = cause(&error), "cannot encode the metrics");
                Problem::internal()
            })?;
            Ok::<_, poem::Error>(
                Response::builder()
                    .content_type("application/openmetrics-text; version=1.0.0; charset=utf-8")
                    .body(text),
            )
        }
    })
}

#[cfg(test)]
mod tests {
    use poem::test::TestClient;
    use prometheus_client::metrics::counter::Counter;

    use super::*;
    use crate::domain::metric;
    use crate::runtime::metrics::RegisterMetric;

    #[tokio::test]
    async fn all_scrapes_of_a_second_share_one_text() {
        let telemetry = Arc::new(Telemetry::new());
        let rows = Counter::<u64>::default();
        telemetry.register(|registry| registry.add(&metric::EXPORT_ROWS, rows.clone()));
        let scraped = async |client: &TestClient<_>| {
            let response = client.get("/").send().await;
            response.0.into_body().into_string().await.unwrap()
        };
        let client = TestClient::new(metrics(Arc::clone(&telemetry)));
        let before = scraped(&client).await;
        rows.inc();
        for _ in 0..100 {
            assert_eq!(scraped(&client).await, before);
        }
        let other = TestClient::new(metrics(telemetry));
        assert!(
            scraped(&other)
                .await
                .contains("firstcome_export_rows_total 1")
        );
    }
}
