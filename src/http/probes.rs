//! Probes and metrics of a process without the API.

use std::io;
use std::sync::Arc;

use bounded_http::{InvalidHost, OverLimit, Tls};
use poem::endpoint::make;
use poem::http::StatusCode;
use poem::{EndpointExt, Response, Route, get};
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::health::ClockView;
use super::pages::metrics;
use super::problem::{busy, unclear_host};
use super::settings::Settings;
use super::views::PartView;
use super::{is_probe, listener};
use crate::operate::health::{Condition, Health};
use crate::runtime::telemetry::Telemetry;

/// The dependencies of the probes.
pub struct Probes {
    /// Health of the parts.
    pub health: Health,
    /// Metrics.
    pub telemetry: Arc<Telemetry>,
    /// Certificate and key; none: connections are not encrypted.
    pub tls: Option<Tls>,
    /// Cancelled when the process stops.
    pub stop: CancellationToken,
}

/// Serves `/livez`, `/readyz` and `/metrics` until the process stops.
pub async fn serve_probes(listener: TcpListener, probes: Probes) -> io::Result<()> {
    let health = probes.health;
    let readiness = make(move |_| {
        let health = health.clone();
        async move { Ok::<_, poem::Error>(ready(&health).await) }
    });
    let alive = make(|_| async {
        Ok::<_, poem::Error>(answer(StatusCode::OK, &json!({ "status": "up" })))
    });
    let routes = Route::new()
        .at("/livez", get(alive))
        .at("/readyz", get(readiness))
        .at("/metrics", get(metrics(probes.telemetry)))
        .before(|request| async move {
            if request.data::<InvalidHost>().is_some() {
                return Err(unclear_host().into());
            }
            if request.data::<OverLimit>().is_some() && !is_probe(request.uri().path()) {
                return Err(busy().into());
            }
            Ok(request)
        })
        .map_to_response();
    let settings = Settings {
        tls: probes.tls,
        stop: probes.stop,
        ..Settings::default()
    };
    listener::serve(listener, routes, &settings).await
}

async fn ready(health: &Health) -> Response {
    let parts = health.check().await;
    let views: Vec<PartView> = parts.iter().map(PartView::from).collect();
    let (status, word) = match Condition::of(&parts) {
        Condition::Ready => (StatusCode::OK, "ready"),
        Condition::Degraded => (StatusCode::OK, "degraded"),
        Condition::NotReady => (StatusCode::SERVICE_UNAVAILABLE, "not ready"),
    };
    let clock = ClockView::of(health.clock_ahead());
    answer(
        status,
        &json!({ "status": word, "parts": views, "clock": clock }),
    )
}

fn answer(status: StatusCode, body: &serde_json::Value) -> Response {
    Response::builder()
        .status(status)
        .content_type("application/json")
        .body(body.to_string())
}
