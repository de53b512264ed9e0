//! The final statuses of participations: read from a server that takes writes, without those that an open
//! transaction may still change.

use std::collections::HashMap;
use std::time::Duration;

use sea_orm::sea_query::{LockBehavior, LockType};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QuerySelect};
use uuid::Uuid;

use crate::domain::{ParticipationId, Status};
use crate::parts::store::entity::by_index;
use crate::parts::store::entity::participation::{Column, Entity};
use crate::parts::store::shapes::padded;
use crate::parts::store::unreadable::parse;
use crate::parts::store::{Store, StoreError};

impl Store {
    /// The statuses of these participations, without those that a transaction locks and those that are unreadable.
    /// The same transaction takes the lease of a task for this long, which a read-only server refuses; none:
    /// another owner has the lease.
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
        let mut rows = Entity::find()
            .select_only()
            .columns([Column::Id, Column::Status])
            .filter(Column::Id.is_in(padded(&ids)))
            .lock_with_behavior(LockType::Share, LockBehavior::SkipLocked);
        by_index(&mut rows, "PRIMARY");
        let mut statuses = HashMap::new();
        for (id, word) in rows.into_tuple::<(Uuid, String)>().all(&tx).await? {
            let id = ParticipationId(id);
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
