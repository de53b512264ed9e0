//! Rows of partitions that took nothing lately: a few of them go out to find out whether they take records
//! again. They are read by themselves, because however many there are, others are not to wait behind them.

use std::time::Duration;

use tokio::time::Instant;

use super::{Dispatcher, PROBE_ROWS_MAX};
use crate::parts::store::StoreError;

/// How long to wait before looking again for rows to probe with, where there were none.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// The least time until a poll that probes: rows of the last one may not have asked yet.
const PAUSE: Duration = Duration::from_millis(10);

impl Dispatcher {
    /// Sends some rows of the partitions that may be probed now, if there are any.
    pub(super) async fn send_probes(&mut self, owned: &[u16]) -> Result<(), StoreError> {
        let partitions = self.context.probe_partitions();
        if partitions.is_empty() || Instant::now() < self.next_probe {
            return Ok(());
        }
        let rows_max = u32::try_from(PROBE_ROWS_MAX).unwrap_or(u32::MAX);
        let mut taken = 0;
        for partitions in partitions {
            let store = self.context.store.clone();
            let found = store.pending_for(owned, &partitions, rows_max).await?;
            taken += self.take_new(found, PROBE_ROWS_MAX).await?;
        }
        if taken == 0 {
            self.next_probe = Instant::now() + LOOK_AGAIN;
        }
        Ok(())
    }

    /// Polls no later than when a partition may be probed again.
    pub(super) fn poll_for_probe(&mut self) {
        if let Some(wait) = self.context.breakers.next_probe() {
            let at = Instant::now() + wait.max(PAUSE);
            self.next_poll = self.next_poll.min(at.max(self.next_probe));
        }
    }
}
