//! Tasks that one replica does at a time: leases by the database's clock.

use std::time::Duration;

use sea_orm::sea_query::ExprTrait;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter};

use super::entity::duty::{Column, Entity};
use super::entity::insert;
use super::{Store, StoreError};

impl Store {
    /// Takes or renews the lease of a task for this long, by the database's clock. False: another owner has it.
    pub async fn take_task_lease(
        &self,
        name: &str,
        owner: &str,
        term: Duration,
    ) -> Result<bool, StoreError> {
        self.take_task_lease_on(&self.db, name, owner, term).await
    }

    /// The same, within a transaction.
    pub(super) async fn take_task_lease_on(
        &self,
        on: &impl ConnectionTrait,
        name: &str,
        owner: &str,
        term: Duration,
    ) -> Result<bool, StoreError> {
        let is_over = Column::ExpiresAt.into_expr().lte(self.now_expr());
        let taken = Entity::update_many()
            .col_expr(Column::Owner, owner.into())
            .col_expr(Column::ExpiresAt, self.after(term))
            .filter(Column::Name.eq(name))
            .filter(Column::Owner.eq(owner).or(is_over))
            .exec(on)
            .await?;
        if taken.rows_affected == 1 {
            return Ok(true);
        }
        let first = insert::<Entity, _>([
            (Column::Name, name.into()),
            (Column::Owner, owner.into()),
            (Column::ExpiresAt, self.after(term)),
        ]);
        match on.execute(&first).await.map_err(StoreError::from) {
            Ok(_) => Ok(true),
            Err(StoreError::Constraint(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
