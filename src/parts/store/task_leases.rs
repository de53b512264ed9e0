//! Tasks that one replica does at a time: leases by the database's clock.

use std::time::Duration;

use sea_orm::sea_query::ExprTrait;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter};

use super::entity::duty::{Column, Entity};
use super::entity::insert;
use super::{Store, StoreError};

/// How far a valid lease of a fixed term may seem to end after its term: a statement compares it with the time of its own
/// start, and may then wait for the row, up to 2 s, until another replica has taken the lease.
const STATEMENT_MAX: Duration = Duration::from_secs(5);

/// How long a lease of a task lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Term {
    /// As long as every other lease of the task. One that ends later was taken before the database's clock was set back: it
    /// counts as over, or the task would stop for the length of the step.
    Fixed(Duration),
    /// Others may last longer.
    Varying(Duration),
}

impl Store {
    /// Takes or renews the lease of a task, by the database's clock. False: another owner has it.
    pub async fn take_task_lease(
        &self,
        name: &str,
        owner: &str,
        term: Term,
    ) -> Result<bool, StoreError> {
        self.take_task_lease_on(&self.db, name, owner, term).await
    }

    /// The same, within a transaction.
    pub(super) async fn take_task_lease_on(
        &self,
        on: &impl ConnectionTrait,
        name: &str,
        owner: &str,
        term: Term,
    ) -> Result<bool, StoreError> {
        let expires_at = || Column::ExpiresAt.into_expr();
        let is_over = expires_at().lte(self.now_expr());
        let (term, is_over) = match term {
            Term::Varying(term) => (term, is_over),
            Term::Fixed(term) => {
                let believed_max = self.after(term.saturating_add(STATEMENT_MAX));
                (term, is_over.or(expires_at().gt(believed_max)))
            }
        };
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
