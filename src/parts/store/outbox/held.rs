//! Events that their writer publishes itself: parked as `held` in the transaction of the change. If the writer's
//! process dies, the row becomes an ordinary retry when its time has come.

use super::parked::ParkedRow;
use crate::parts::store::{Store, StoreError};

impl Store {
    /// Notes that a held event was acknowledged, and has those behind it tried. The row stays until the relay's sweep
    /// finds that the position has passed it.
    pub async fn acknowledge_held(&self, row: &ParkedRow) -> Result<(), StoreError> {
        self.note_acknowledged(&[row.place]).await?;
        // Almost never: the request has not answered yet.
        let mut blocked = self.sql("SELECT 1 FROM outbox_parked WHERE message_key = ");
        blocked.bind(row.key.to_string());
        blocked.push(" AND state = 'blocked' LIMIT 1");
        if !blocked.rows(&self.db).await?.is_empty() {
            self.release_keys(&[row.stream_key()]).await?;
        }
        Ok(())
    }
}
