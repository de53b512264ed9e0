//! Reads that decide something irrevocable: the server must take writes when the read ends, so that it was the
//! primary.

use super::bounded::Tx;
use super::{Store, StoreError, connection};

impl Store {
    /// Fails if the database takes no writes; the error names the server settings that say so.
    pub async fn check_writable(&self) -> Result<(), StoreError> {
        self.db.demotion().require_writable(&self.db).await
    }

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
