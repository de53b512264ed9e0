//! Which replicas are alive: each renews a lease of its own, and the database's clock says whose has ended.

use std::time::Duration;

use sea_orm::sea_query::ExprTrait;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use super::entity::duty::{Column, Entity};
use super::{Store, StoreError};

/// Begins the names of these leases, in the table of task leases.
const PREFIX: &str = "replica/";

fn name_of(replica: &str) -> String {
    format!("{PREFIX}{replica}")
}

impl Store {
    /// Says that this replica is alive for this long. False: another one has its name.
    pub async fn renew_replica(&self, replica: &str, term: Duration) -> Result<bool, StoreError> {
        self.take_task_lease(&name_of(replica), replica, term).await
    }

    /// At most `limit` replicas that have not renewed their leases in time, the longest dead first.
    pub async fn dead_replicas(&self, limit: u64) -> Result<Vec<String>, StoreError> {
        Ok(Entity::find()
            .select_only()
            .column(Column::Owner)
            .filter(Column::Name.starts_with(PREFIX))
            .filter(Column::ExpiresAt.into_expr().lte(self.now_expr()))
            .order_by_asc(Column::ExpiresAt)
            .limit(limit)
            .into_tuple()
            .all(&self.db)
            .await?)
    }

    /// Forgets a dead replica. One that has renewed its lease meanwhile stays.
    pub async fn forget_replica(&self, replica: &str) -> Result<(), StoreError> {
        Entity::delete_many()
            .filter(Column::Name.eq(name_of(replica)))
            .filter(Column::ExpiresAt.into_expr().lte(self.now_expr()))
            .exec(&self.db)
            .await?;
        Ok(())
    }
}
