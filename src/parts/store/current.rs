//! Reads that decide something irrevocable: the server must take writes when the read ends, so that it was the
//! primary.

use super::bounded::Tx;
use super::{Store, StoreError, connection};

impl Store {
    /// Begins such a read; end it with [`Store::end_current`].
    pub(super) async fn begin_current(&self) -> Result<Tx, StoreError> {
        connection::begin_to_read(&self.db).await
    }

    /// Fails unless the read was current: a server that takes writes now was the primary when it answered.
    pub(super) async fn end_current(&self, tx: Tx) -> Result<(), StoreError> {
        let current = self.db.demotion().require_writable(&tx).await;
        tx.rollback().await?;
        current
    }
}
