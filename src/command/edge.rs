//! The HTTP edge, by the configuration.

use std::sync::Arc;

use anyhow::Context;
use tokio::net::TcpListener;

use super::parts;
use crate::access::security_events::SecurityEvents;
use crate::config::{Config, Mode};
use crate::http::{self, App, BoundMetrics, CertificateFiles, Hosts, PaymentMode, Surface, Tls};
use crate::runtime::supervisor::{Policy, Spawner, Stage};
use crate::runtime::telemetry::Telemetry;

/// Threads of the management listener, which has few requests.
const MANAGEMENT_THREADS: usize = 1;

/// The settings of the edge of `serve`.
pub(super) fn settings(
    config: &Config,
    spawner: &Spawner,
    telemetry: &Telemetry,
) -> anyhow::Result<http::Settings> {
    let bound_metrics = BoundMetrics::default();
    telemetry.register(|registry| bound_metrics.register(registry));
    Ok(http::Settings {
        http: config.http.clone(),
        bound_metrics,
        challenge: config.challenge.settings()?,
        admin_token: parts::admin_token(config)?,
        admin_token_previous: config.admin.token_previous.clone(),
        guesses: config.admin.guesses(),
        security: security(config, spawner, telemetry),
        import_timeout: config.allowlist.import_timeout,
        embedded_parts: config.embedded_parts(),
        redeemers: config.rewards.redeemers,
        payments: if config.sells_for_money() {
            PaymentMode::Simulated
        } else {
            PaymentMode::Refused
        },
        hosts: match config.auth.mode {
            Mode::Trusted => Hosts::of_believing(&config.http.allowed_hosts.0),
            // A foreign page has neither their tokens nor the cookies of this host.
            Mode::Jwt | Mode::Sessions => Hosts::Any,
        },
        stop: spawner.token(Stage::Http),
        ..http::Settings::default()
    })
}

/// Where security events are written.
fn security(config: &Config, spawner: &Spawner, telemetry: &Telemetry) -> SecurityEvents {
    let events = SecurityEvents::new(config.log.security_events_per_minute);
    events.start(spawner);
    telemetry.register(|registry| events.register(registry));
    events
}

/// Serves the API on `listener`, and the endpoints for operators on `management`, if that is configured. Both have
/// threads of their own, apart from those of participations: a flood of rejected requests then competes only with
/// itself, and the scheduler gives admitted requests their share.
pub(super) fn serve(
    config: &Config,
    spawner: &Spawner,
    app: App,
    listener: TcpListener,
    management: Option<TcpListener>,
) -> anyhow::Result<()> {
    let app = Arc::new(app);
    let surface = match management {
        Some(_) => Surface::Public,
        None => Surface::Everything,
    };
    if let Some(management) = management {
        let threads = spawner.on(super::threads("management", MANAGEMENT_THREADS)?);
        let serving = http::serve(management, Arc::clone(&app), Surface::Everything);
        super::serve_once(&threads, "http.manage", serving);
    }
    let threads = spawner.on(super::threads("edge", config.http.threads)?);
    super::serve_once(&threads, "http.serve", http::serve(listener, app, surface));
    Ok(())
}

/// What connections to the service are encrypted with, where that is asked for; kept up with its files.
pub(super) async fn tls(config: &Config, spawner: &Spawner) -> anyhow::Result<Option<Tls>> {
    let http = &config.http;
    let (Some(certificate), Some(key)) = (&http.tls_certificate, &http.tls_key) else {
        return Ok(None);
    };
    let files = CertificateFiles {
        certificate: certificate.clone(),
        key: key.clone(),
    };
    let tls = Tls::open(files).await;
    let tls = tls.context("cannot use http.tls_certificate and http.tls_key")?;
    let (shown, every) = (tls.clone(), http.tls_reload_interval);
    spawner.start(
        "http.certificate",
        Stage::Background,
        Policy::restart(),
        move |stop| {
            let shown = shown.clone();
            async move {
                shown.reload(every, &stop).await;
                Ok(())
            }
        },
    );
    Ok(Some(tls))
}
