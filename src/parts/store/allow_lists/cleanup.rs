//! Ends abandoned imports, and deletes ended lists.

use std::time::Duration;

use sea_orm::sea_query::{Condition, Expr, ExprTrait};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use super::{ENDED, IMPORTING};
use crate::parts::store::entity::allow_list::{Column, Entity};
use crate::parts::store::entity::allow_list_user as user;
use crate::parts::store::{Store, StoreError};

impl Store {
    /// Ends imports that have added no user for this long. Returns their number.
    pub async fn end_silent_imports(&self, silence: Duration) -> Result<u64, StoreError> {
        let is_silent = Expr::col(Column::ChangedAt).lt(self.before(silence));
        let imports = Condition::all().add(Column::State.eq(IMPORTING));
        self.end(imports.add(is_silent), &self.db).await
    }

    /// Deletes users of a list that ended this long ago, at most `rows_max`, and the list itself with the last of
    /// them. False: there is no such list.
    pub async fn clear_ended_list(
        &self,
        grace: Duration,
        rows_max: u32,
    ) -> Result<bool, StoreError> {
        let ended = Entity::find()
            .filter(Column::State.eq(ENDED))
            .filter(Expr::col(Column::ChangedAt).lte(self.before(grace)));
        let Some(list) = ended.one(&self.db).await? else {
            return Ok(false);
        };
        let boundary = user::Entity::find()
            .filter(user::Column::ListId.eq(list.id))
            .order_by_asc(user::Column::UserId)
            .offset(u64::from(rows_max.saturating_sub(1)))
            .one(&self.db)
            .await?;
        let is_whole = boundary.is_none();
        let upto = boundary.map(|boundary| user::Column::UserId.lte(boundary.user_id));
        user::Entity::delete_many()
            .filter(user::Column::ListId.eq(list.id))
            .filter(Condition::all().add_option(upto))
            .exec(&self.db)
            .await?;
        if is_whole {
            Entity::delete_many()
                .filter(Column::Id.eq(list.id))
                .filter(Column::State.eq(ENDED))
                .exec(&self.db)
                .await?;
        }
        Ok(true)
    }
}
