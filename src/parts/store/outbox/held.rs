//! Events that their request publishes: parked as `held` in the transaction of the change. If the process dies, the
//! row becomes an ordinary retry when its time has come.

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QuerySelect};

use super::parked::{ParkedRow, ParkedState};
use crate::parts::store::entity::outbox_parked::{Column, Entity};
use crate::parts::store::{Store, StoreError};

impl Store {
    /// Records that a held event was acknowledged, and retries the events behind it. The row stays until the relay's
    /// sweep finds that the position has passed it.
    pub async fn acknowledge_held(&self, row: &ParkedRow) -> Result<(), StoreError> {
        self.note_acknowledged(&[row.place]).await?;
        // Rare, because the request has not answered yet.
        let blocked: Option<i64> = Entity::find()
            .select_only()
            .column(Column::CampaignId)
            .filter(Column::MessageKey.eq(&*row.key))
            .filter(Column::State.eq(ParkedState::Blocked.as_str()))
            .into_tuple()
            .one(&self.db)
            .await?;
        if blocked.is_some() {
            self.release_keys(&[row.stream_key()]).await?;
        }
        Ok(())
    }
}
