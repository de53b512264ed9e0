//! Reads that decide something irrevocable: the server must take writes when the read ends, so that it was the
//! primary.

use sea_orm::TransactionOptions;

use super::bounded::Tx;
use super::{Store, StoreError};

impl Store {
    /// Begins such a read; end it with [`Store::end_current`].
    pub(super) async fn begin_current(&self) -> Result<Tx, StoreError> {
        let options = TransactionOptions::default();
        Ok(self.db.begin_with_options(options).await?)
    }

    /// Fails unless the read was current: a server that takes writes now was the primary when it answered.
    pub(super) async fn end_current(&self, tx: Tx) -> Result<(), StoreError> {
        let current = self.db.demotion().require_writable(&tx).await;
        tx.rollback().await?;
        current
    }
}
