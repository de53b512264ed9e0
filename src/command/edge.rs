//! The HTTP edge, by the configuration.

use std::sync::Arc;

use anyhow::Context;
use tokio::net::TcpListener;

use super::process::Process;
use super::{parts, payments};
use crate::access::security_events::SecurityEvents;
use crate::config::Mode;
use crate::http::{self, App, BoundMetrics, CertificateFiles, Hosts, Surface, Tls};
use crate::runtime::supervisor::{Policy, Stage};

/// Threads of the management listener, which has few requests.
const MANAGEMENT_THREADS: usize = 1;

/// The settings of the edge of `serve`.
pub(super) fn settings(process: &Process) -> anyhow::Result<http::Settings> {
    let config = &process.config;
    let bound_metrics = BoundMetrics::default();
    process
        .telemetry
        .register(|registry| bound_metrics.register(registry));
    Ok(http::Settings {
        http: config.http.clone(),
        bound_metrics,
        challenge: config.challenge.settings()?,
        admin_token: parts::admin_token(config)?,
        admin_token_previous: config.admin.token_previous.clone(),
        guesses: config.admin.guesses(),
        security: security(process),
        import_timeout: config.allowlist.import_timeout,
        embedded_parts: config.embedded_parts(),
        keeps_offsets: config.relay.keep_offsets,
        redeemers: config.rewards.redeemers,
        payments: payments::pricing(config),
        hosts: match config.auth.mode {
            Mode::Trusted => Hosts::of_trusting(&config.http.allowed_hosts.0),
            // Pages of other sites have neither tokens nor the cookies of this host.
            Mode::Jwt | Mode::Sessions => Hosts::Any,
        },
        stop: process.spawner.token(Stage::Http),
        ..http::Settings::default()
    })
}

/// Where security events are written.
fn security(process: &Process) -> SecurityEvents {
    let events = SecurityEvents::new(process.config.log.security_events_per_minute);
    events.start(&process.spawner);
    process
        .telemetry
        .register(|registry| events.register(registry));
    events
}

/// Serves the API on `listener`, and the endpoints for operators on `management`, if that is configured. Both have
/// threads of their own, apart from those of participations: a flood of rejected requests then competes only with
/// itself, and the scheduler gives admitted requests their share.
pub(super) fn serve(
    process: &Process,
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
        let threads = super::threads("management", MANAGEMENT_THREADS)?;
        let threads = process.spawner.on(threads);
        let serving = http::serve(management, Arc::clone(&app), Surface::Everything);
        super::serve_once(&threads, "http.manage", serving);
    }
    let threads = super::threads("edge", process.config.http.threads)?;
    let threads = process.spawner.on(threads);
    super::serve_once(&threads, "http.serve", http::serve(listener, app, surface));
    Ok(())
}

/// The certificate and key, if TLS is configured. They are reloaded when their files change.
pub(super) async fn tls(process: &Process) -> anyhow::Result<Option<Tls>> {
    let http = &process.config.http;
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
    process.spawner.start(
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
