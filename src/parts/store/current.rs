//! Reads for irrevocable decisions: the server must be the primary when it answers. It must accept writes when the read
//! ends; and after a lost statement it must first have answered a COMMIT, which with semi-synchronous or group
//! replication only the primary does.

use std::time::Instant;

use sea_orm::{ConnectionTrait, DbBackend, Statement, TransactionOptions};

use super::bounded::Tx;
use super::demotion::ServerName;
use super::entity::{duty, insert};
use super::query::or_replace;
use super::{Store, StoreError};

/// The number of rows that proofs write, so that they rarely wait for each other.
const PROOF_ROWS: u8 = 64;

impl Store {
    /// Begins such a read; it ends with [`Store::end_current`].
    pub(super) async fn begin_current(&self) -> Result<Tx, StoreError> {
        self.prove_primary().await?;
        let options = TransactionOptions::default();
        Ok(self.db.begin_with_options(options).await?)
    }

    /// Fails unless the read was current: a server that accepts writes now was the primary when it answered, unless
    /// statements were lost meanwhile.
    pub(super) async fn end_current(&self, tx: Tx) -> Result<(), StoreError> {
        let current = self.db.demotion().require_writable(&tx).await;
        let is_in_doubt = tx.is_in_doubt() && !tx.is_embedded();
        tx.rollback().await?;
        current?;
        if is_in_doubt {
            return Err(StoreError::lost("statements got no answer during the read"));
        }
        Ok(())
    }

    /// Fails if the database accepts no writes, or does not answer them; an error names the responsible settings.
    pub async fn check_primary(&self) -> Result<(), StoreError> {
        self.check_writable().await?;
        self.prove_primary().await
    }

    /// Commits a write, if statements were lost or rejected since the last proof.
    pub async fn prove_primary(&self) -> Result<(), StoreError> {
        let demotion = self.db.demotion();
        if self.db.is_embedded() || !demotion.is_in_doubt() {
            return Ok(());
        }
        // Rare, and large.
        Box::pin(demotion.prove(self.commit_proof())).await
    }

    /// When another server than before became the primary: what was read earlier may be missing in it. Known once
    /// [`Store::prove_primary`] has succeeded.
    #[must_use]
    pub fn replaced_at(&self) -> Option<Instant> {
        self.db.demotion().replaced_at()
    }

    /// The name of the server; none: it has none, or does not tell.
    pub(super) async fn server_name(&self, on: &impl ConnectionTrait) -> ServerName {
        if self.db.is_embedded() {
            return None;
        }
        let ask = Statement::from_string(DbBackend::MySql, "SELECT @@global.server_uuid");
        let row = on.query_one_raw(ask).await.ok().flatten();
        row.and_then(|row| row.try_get_by_index(0).ok())
    }

    /// The owner makes each proof a change: MySQL would answer a transaction without one at once.
    async fn commit_proof(&self) -> Result<ServerName, StoreError> {
        self.check_writable().await?;
        let name = format!("proof.{}", rand::random::<u8>() % PROOF_ROWS);
        let owner = format!("{:016x}", rand::random::<u64>());
        let tx = self.begin().await?;
        let server = self.server_name(&tx).await;
        let mut proof = insert::<duty::Entity, _>([
            (duty::Column::Name, name.into()),
            (duty::Column::Owner, owner.into()),
            (duty::Column::ExpiresAt, self.now_expr()),
        ]);
        // Whatever the row says: its time may be of a clock that was ahead.
        let proof = proof.on_conflict(or_replace::<duty::Entity>());
        tx.execute(proof).await?;
        tx.commit().await?;
        Ok(server)
    }
}
