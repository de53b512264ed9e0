//! Deletes replaced lists and abandoned imports in bounded batches, with a pause after each. All replicas may do this
//! at the same time. It must not touch an enforced list, or a running import.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::parts::store::{Store, StoreError};
use crate::runtime::supervisor::{Policy, Spawner, Stage};
use crate::runtime::telemetry::cause;

/// Interval between searches for such lists.
const INTERVAL: Duration = Duration::from_secs(60);
/// An import that has added no user for this long is abandoned.
const SILENCE: Duration = Duration::from_secs(10 * 60);
/// Users deleted by one statement, and the pause after it.
const ROWS_MAX: u32 = 1_000;
const PAUSE: Duration = Duration::from_millis(50);

pub(super) fn start(spawner: &Spawner, store: Store, grace: Duration, ended: Arc<Notify>) {
    spawner.start(
        "allow_list.sweep",
        Stage::Background,
        Policy::restart(),
        move |stop| {
            let (store, ended) = (store.clone(), Arc::clone(&ended));
            async move {
                sweep(&store, grace, &ended, &stop).await;
                Ok(())
            }
        },
    );
}

async fn sweep(store: &Store, grace: Duration, ended: &Notify, stop: &CancellationToken) {
    loop {
        let is_more = match sweep_some(store, grace).await {
            Ok(is_more) => is_more,
            Err(error) => {
                tracing::warn!(
                    error = cause(&error),
                    "replaced allow lists were not deleted; it will be retried"
                );
                false
            }
        };
        let pause = async {
            if is_more {
                tokio::time::sleep(PAUSE).await;
            } else if tokio::time::timeout(INTERVAL, ended.notified())
                .await
                .is_ok()
            {
                // Replicas may still use the list for this long.
                tokio::time::sleep(grace).await;
            }
        };
        if stop.run_until_cancelled(pause).await.is_none() {
            return;
        }
    }
}

/// One batch. Returns whether there may be more.
async fn sweep_some(store: &Store, grace: Duration) -> Result<bool, StoreError> {
    let ended = store.end_silent_imports(SILENCE).await?;
    if ended > 0 {
        tracing::warn!(imports = ended, "imports of allow lists were abandoned");
    }
    store.clear_ended_list(grace, ROWS_MAX).await
}
