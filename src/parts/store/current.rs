//! Reads for irrevocable decisions: the server must accept writes when the read ends, which proves that it was the
//! primary.

use sea_orm::TransactionOptions;

use super::bounded::Tx;
use super::{Store, StoreError};

impl Store {
    /// Begins such a read; it ends with [`Store::end_current`].
    pub(super) async fn begin_current(&self) -> Result<Tx, StoreError> {
        let options = TransactionOptions::default();
        Ok(self.db.begin_with_options(options).await?)
    }

    /// Fails unless the read was current: a server that accepts writes now was the primary when it answered.
    pub(super) async fn end_current(&self, tx: Tx) -> Result<(), StoreError> {
        let current = self.db.demotion().require_writable(&tx).await;
        tx.rollback().await?;
        current
    }
}
