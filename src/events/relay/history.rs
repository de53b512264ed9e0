//! Measures how much history the database stores for old snapshots. A forgotten transaction makes every read of the
//! outbox slower the longer it is open; this metric shows it early.

use tokio_util::sync::CancellationToken;

use super::Context;
use super::metrics::UNKNOWN;
use super::purger::CHORES;
use crate::parts::store::History;
use crate::runtime::supervisor::BoxError;

/// Runs until it is stopped.
pub(super) async fn sample(context: Context, stop: CancellationToken) -> Result<(), BoxError> {
    let mut told = false;
    loop {
        let history = if context.ownership.may_send(CHORES) {
            read(&context, &mut told).await
        } else {
            None
        };
        show(&context, history);
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(context.config.retention.sample_interval) => {}
        }
    }
}

async fn read(context: &Context, told: &mut bool) -> Option<History> {
    match context.store.history().await {
        Ok(Some(history)) => Some(history),
        Ok(None) => {
            if !std::mem::replace(told, true) {
                tracing::info!(
                    "the database user may not read open transactions (it needs PROCESS, and SELECT on \
                     performance_schema): the oldest snapshot's age and the history's length stay unknown"
                );
            }
            None
        }
        Err(failure) => {
            tracing::warn!(%failure, "the history of the database was not read");
            None
        }
    }
}

fn show(context: &Context, history: Option<History>) {
    let of = |value: Option<u64>| {
        value.map_or(UNKNOWN, |value| i64::try_from(value).unwrap_or(i64::MAX))
    };
    let age = history.map(|history| history.oldest_snapshot_age.as_secs());
    let metrics = &context.metrics.retention;
    metrics.oldest_snapshot_age_seconds.set(of(age));
    let length = history.map(|history| history.length);
    metrics.history_length.set(of(length));
}
