//! The probes and metrics of a process without the API.

use std::sync::Arc;

use tokio::net::TcpListener;

use super::process::Process;
use super::{edge, monitors};
use crate::domain::Topic;
use crate::http::{self, Probes};
use crate::operate::health::{Health, Need};
use crate::runtime::supervisor::Stage;

/// The health of such a process: without the broker it does nothing.
pub(super) fn health(process: &Process) -> Health {
    let publisher = Arc::clone(&process.broker.publisher);
    let topic = Topic::Participation.name(&process.config.kafka.topic_prefix);
    Health::new(
        process.store.clone(),
        None,
        (publisher, Need::Needed),
        topic,
    )
    .with_clock(monitors::skew(process))
}

pub(super) async fn serve(
    process: &Process,
    listener: TcpListener,
    health: Health,
) -> anyhow::Result<()> {
    let probes = Probes {
        health,
        telemetry: Arc::clone(&process.telemetry),
        tls: edge::tls(process).await?,
        stop: process.spawner.token(Stage::Http),
    };
    super::serve_once(&process.spawner, "http.serve", async move {
        http::serve_probes(listener, probes).await
    });
    Ok(())
}
