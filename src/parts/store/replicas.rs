//! Which replicas are alive: each renews a lease of its own, and the database's clock says whose has ended.

use std::time::Duration;

use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use super::entity::duty::{Column, Entity};
use super::{Store, StoreError, Term};
use crate::domain::Timestamp;

/// Begins the names of these leases, in the table of task leases.
const PREFIX: &str = "replica/";

fn name_of(replica: &str) -> String {
    format!("{PREFIX}{replica}")
}

/// The lease of another replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherReplica {
    /// Its name.
    pub name: String,
    /// Changes with each renewal.
    pub renewed_until: Timestamp,
    /// Whether the lease has ended, by the database's clock.
    pub is_over: bool,
}

impl Store {
    /// Says that this replica is alive for this long. False: another one has its name.
    pub async fn renew_replica(&self, replica: &str, term: Duration) -> Result<bool, StoreError> {
        self.take_task_lease(&name_of(replica), replica, Term::Varying(term))
            .await
    }

    /// The leases of all other replicas, at most `limit`, those that ended first coming first.
    pub async fn other_replicas(
        &self,
        own: &str,
        limit: u64,
    ) -> Result<Vec<OtherReplica>, StoreError> {
        let is_over = Column::ExpiresAt.into_expr().lte(self.now_expr());
        let rows: Vec<(String, Timestamp, i64)> = Entity::find()
            .select_only()
            .columns([Column::Owner, Column::ExpiresAt])
            .expr(Expr::case(is_over, 1).finally(0))
            .filter(Column::Name.starts_with(PREFIX))
            .filter(Column::Owner.ne(own))
            .order_by_asc(Column::ExpiresAt)
            .limit(limit)
            .into_tuple()
            .all(&self.db)
            .await?;
        let replica = |(name, renewed_until, is_over)| OtherReplica {
            name,
            renewed_until,
            is_over: is_over != 0,
        };
        Ok(rows.into_iter().map(replica).collect())
    }

    /// Forgets a dead replica. One that has renewed its lease meanwhile stays.
    pub async fn forget_replica(&self, replica: &OtherReplica) -> Result<(), StoreError> {
        Entity::delete_many()
            .filter(Column::Name.eq(name_of(&replica.name)))
            .filter(Column::ExpiresAt.lte(replica.renewed_until))
            .exec(&self.db)
            .await?;
        Ok(())
    }
}
