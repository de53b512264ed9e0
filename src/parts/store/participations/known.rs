//! What the database has of participations that others name: their changes and statuses.

use std::collections::HashMap;

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QuerySelect};
use uuid::Uuid;

use crate::domain::ParticipationId;
use crate::parts::store::entity::by_index;
use crate::parts::store::entity::participation::{Column, Entity};
use crate::parts::store::statement_lengths::padded;
use crate::parts::store::{Store, StoreError};

impl Store {
    /// The number of changes and the status of those of these participations that exist.
    pub async fn changes_of(
        &self,
        ids: &[ParticipationId],
    ) -> Result<HashMap<ParticipationId, (u32, String)>, StoreError> {
        let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
        let mut rows = Entity::find()
            .select_only()
            .columns([Column::Id, Column::Version, Column::Status])
            .filter(Column::Id.is_in(padded(&ids)));
        by_index(&mut rows, "participation_id");
        let rows: Vec<(Uuid, i32, String)> = rows.into_tuple().all(&self.db).await?;
        let known = |(id, version, status): (Uuid, i32, String)| {
            (ParticipationId(id), (version.unsigned_abs(), status))
        };
        Ok(rows.into_iter().map(known).collect())
    }
}
