//! How participations stand for certain: asked of a database that takes writes, and left out where a
//! transaction under way may yet decide otherwise.

use std::collections::HashMap;
use std::time::Duration;

use uuid::Uuid;

use crate::domain::{ParticipationId, Status};
use crate::parts::store::shapes::padded;
use crate::parts::store::sql::Sql;
use crate::parts::store::{Store, StoreError};

impl Store {
    /// How these participations stand. Left out are those that a transaction holds, and those that cannot be
    /// read. Whoever asks takes a
    /// duty for so long in the same transaction, which a server that has become read-only refuses; none: the
    /// duty is another's.
    pub async fn decided(
        &self,
        (duty, owner, term): (&str, &str, Duration),
        participations: &[ParticipationId],
    ) -> Result<Option<HashMap<ParticipationId, Status>>, StoreError> {
        let tx = self.begin().await?;
        if !self.take_duty_on(&tx, duty, owner, term).await? {
            tx.rollback().await?;
            return Ok(None);
        }
        let ids: Vec<Uuid> = participations.iter().map(|id| id.0).collect();
        let mut sql = Sql::new(self, "SELECT id, status FROM ");
        sql.push(&self.db.by_index("participation", "PRIMARY"));
        sql.push(" WHERE id IN ").list(padded(&ids));
        // SQLite knows one writer at a time, and that is this transaction.
        if !self.is_embedded() {
            sql.push(" FOR SHARE SKIP LOCKED");
        }
        let mut statuses = HashMap::new();
        for row in sql.rows(&tx).await? {
            let word: String = row.try_get_by_index(1)?;
            let id = ParticipationId(row.try_get_by_index(0)?);
            match Status::parse(&word) {
                Some(status) => {
                    statuses.insert(id, status);
                }
                None => self.set_aside_status(id, word),
            }
        }
        tx.commit().await?;
        Ok(Some(statuses))
    }

    fn set_aside_status(&self, id: ParticipationId, value: String) {
        let what = "a participation's status";
        let why = StoreError::unreadable(what, value);
        self.unreadable.set_aside("participation", &id, &why);
    }
}
