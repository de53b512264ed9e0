//! Samples how much history the database holds for old snapshots: a forgotten transaction makes
//! every read of the outbox slower the longer it lasts, and shows here long before it hurts.

use tokio_util::sync::CancellationToken;

use super::Context;
use super::metrics::UNKNOWN;
use super::purger::CHORES;
use crate::parts::store::History;
use crate::runtime::supervisor::BoxError;

/// Runs until told to stop.
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
                    "the database does not tell this user about open transactions (PROCESS, and SELECT on \
                     performance_schema): the oldest snapshot's age and the history's length stay unknown"
                );
            }
            None
        }
        Err(failure) => {
            tracing::warn!(%failure, "the history of the database not sampled");
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
