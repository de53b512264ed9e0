//! Events that their writer publishes itself: parked as `held` in the transaction of the change. If the writer's
//! process dies, the row becomes an ordinary retry when its time has come.

use super::parked::ParkedRow;
use crate::parts::store::{Store, StoreError};

impl Store {
    /// Notes that a held event was acknowledged, and has those behind it tried.
    pub async fn acknowledge_held(&self, row: &ParkedRow) -> Result<(), StoreError> {
        self.unpark(&[row.place]).await?;
        self.release_keys(&[row.stream_key()]).await?;
        Ok(())
    }
}
