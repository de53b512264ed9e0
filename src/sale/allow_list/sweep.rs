//! Clears lists away that are over: a bounded piece at a time, with a rest after each. Every replica may do
//! it, at the same time too; they only share the work. It must not touch a list that holds, or one that is
//! being filled.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::parts::store::{Store, StoreError};
use crate::runtime::supervisor::{Policy, Spawner, Stage};

/// How often lists are looked for that are over.
const INTERVAL: Duration = Duration::from_secs(60);
/// An import that has added nobody for so long is over.
const SILENCE: Duration = Duration::from_secs(10 * 60);
/// Users deleted by one statement, and the rest after it.
const ROWS_MAX: u32 = 1_000;
const REST: Duration = Duration::from_millis(50);

pub(super) fn start(spawner: &Spawner, store: Store, grace: Duration, over: Arc<Notify>) {
    spawner.start(
        "allow_list.sweep",
        Stage::Background,
        Policy::restart(),
        move |stop| {
            let (store, over) = (store.clone(), Arc::clone(&over));
            async move {
                sweep(&store, grace, &over, &stop).await;
                Ok(())
            }
        },
    );
}

async fn sweep(store: &Store, grace: Duration, over: &Notify, stop: &CancellationToken) {
    loop {
        let is_more = match sweep_some(store, grace).await {
            Ok(is_more) => is_more,
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "lists that are over wait to be cleared away"
                );
                false
            }
        };
        let rest = async {
            if is_more {
                tokio::time::sleep(REST).await;
            } else if tokio::time::timeout(INTERVAL, over.notified())
                .await
                .is_ok()
            {
                // Until then a replica may still go by it.
                tokio::time::sleep(grace).await;
            }
        };
        if stop.run_until_cancelled(rest).await.is_none() {
            return;
        }
    }
}

/// One piece; whether there may be more.
async fn sweep_some(store: &Store, grace: Duration) -> Result<bool, StoreError> {
    let ended = store.end_silent_imports(SILENCE).await?;
    if ended > 0 {
        tracing::warn!(imports = ended, "imports of lists broke off");
    }
    store.clear_ended_list(grace, ROWS_MAX).await
}
