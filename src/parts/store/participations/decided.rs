//! The final statuses of participations: read from a server that accepts writes, without those that an open
//! transaction may still change.

use std::collections::HashMap;
use std::time::Duration;

use uuid::Uuid;

use crate::domain::{ParticipationId, Status};
use crate::parts::store::statement_lengths::padded;
use crate::parts::store::unreadable::parse;
use crate::parts::store::{Store, StoreError, Term};

impl Store {
    /// The statuses of these participations, without locked and unreadable ones. The same transaction takes the lease
    /// of a task for this long, which a read-only server rejects; none: another owner has the lease.
    pub async fn decided(
        &self,
        (task, owner, term): (&str, &str, Duration),
        participations: &[ParticipationId],
    ) -> Result<Option<HashMap<ParticipationId, Status>>, StoreError> {
        let tx = self.begin().await?;
        if !self
            .take_task_lease_on(&tx, task, owner, Term::Fixed(term))
            .await?
        {
            tx.rollback().await?;
            return Ok(None);
        }
        let ids: Vec<Uuid> = participations.iter().map(|id| id.0).collect();
        let mut sql = self.sql("SELECT id, status FROM ");
        sql.push(&self.db.by_index("participation", "participation_id"));
        sql.push(" WHERE id IN ").list(padded(&ids));
        // As text: for MySQL the query builder writes LOCK IN SHARE MODE, which cannot skip locked rows. SQLite has one
        // writer at a time, and that is this transaction.
        if !self.is_embedded() {
            sql.push(" FOR SHARE SKIP LOCKED");
        }
        let mut statuses = HashMap::new();
        for row in sql.rows(&tx).await? {
            let word: String = row.try_get_by_index(1)?;
            let id = ParticipationId(row.try_get_by_index(0)?);
            match parse("a participation's status", &word, Status::parse) {
                Ok(status) => {
                    statuses.insert(id, status);
                }
                Err(error) => self.unreadable.set_aside("participation", &id, &error),
            }
        }
        tx.commit().await?;
        Ok(Some(statuses))
    }
}
