//! Rows of partitions that took nothing lately: a few of them go out to find out whether they take records
//! again. They are read by themselves, because however many there are, others are not to wait behind them.

use tokio::time::Instant;

use super::{Dispatcher, TRIAL_ROWS_MAX};
use crate::store::StoreError;

impl Dispatcher {
    /// Sends some rows of the partitions that may be probed now, if there are any.
    pub(super) async fn send_on_trial(&mut self, owned: &[u16]) -> Result<(), StoreError> {
        let partitions = self.parts.on_trial();
        if partitions.is_empty() || Instant::now() < self.next_trial {
            return Ok(());
        }
        let rows_max = u32::try_from(TRIAL_ROWS_MAX).unwrap_or(u32::MAX);
        let mut taken = 0;
        for partitions in partitions {
            let store = self.parts.store.clone();
            let found = store.pending_for(owned, &partitions, rows_max).await?;
            taken += self.take_new(found, TRIAL_ROWS_MAX).await?;
        }
        if taken == 0 {
            self.next_trial = Instant::now() + self.parts.config.poll_max;
        }
        Ok(())
    }
}
