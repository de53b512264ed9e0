//! Leases of relays that the database's clock has not ended yet. After a step back of this clock they last for longer by
//! the length of the step, even if their owner is dead. This module does not know who is dead: a caller that has seen a
//! lease unchanged for long enough ends it.

use sea_orm::sea_query::{ExprTrait, LockBehavior, LockType};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QuerySelect};

use crate::domain::Timestamp;
use crate::parts::store::entity::by_index;
use crate::parts::store::entity::outbox_lease::{Column, Entity};
use crate::parts::store::statement_lengths::padded;
use crate::parts::store::{Store, StoreError};

const COLUMNS: [Column; 4] = [
    Column::Bucket,
    Column::Owner,
    Column::Epoch,
    Column::ExpiresAt,
];

/// A lease as it was read. Each renewal changes it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UnexpiredLease {
    row: i32,
    owner: String,
    epoch: i64,
    ends_at: Timestamp,
}

#[cfg(test)]
impl UnexpiredLease {
    /// A lease of a bucket after this number of renewals.
    #[must_use]
    pub fn example(row: i32, renewals: i64) -> Self {
        Self {
            row,
            owner: "a relay".to_owned(),
            epoch: 1,
            ends_at: Timestamp::UNIX_EPOCH + chrono::TimeDelta::seconds(renewals),
        }
    }
}

type Row = (i32, String, i64, Timestamp);

impl From<Row> for UnexpiredLease {
    fn from((row, owner, epoch, ends_at): Row) -> Self {
        Self {
            row,
            owner,
            epoch,
            ends_at,
        }
    }
}

impl Store {
    /// All leases that have not ended, registrations included.
    pub async fn unexpired_leases(&self) -> Result<Vec<UnexpiredLease>, StoreError> {
        let rows: Vec<Row> = Entity::find()
            .select_only()
            .columns(COLUMNS)
            .filter(Column::Owner.is_not_null())
            .filter(Column::ExpiresAt.into_expr().gt(self.now_expr()))
            .into_tuple()
            .all(&self.db)
            .await?;
        Ok(rows.into_iter().map(UnexpiredLease::from).collect())
    }

    /// Ends those of these leases that are still the same. Returns their number. Rows locked by other transactions are
    /// skipped.
    pub async fn end_leases(&self, leases: &[UnexpiredLease]) -> Result<u64, StoreError> {
        let rows: Vec<i32> = leases.iter().map(|one| one.row).collect();
        let transaction = self.begin().await?;
        let mut found = Entity::find()
            .select_only()
            .columns(COLUMNS)
            .filter(Column::Bucket.is_in(padded(&rows)))
            .filter(Column::Owner.is_not_null())
            .lock_with_behavior(LockType::Update, LockBehavior::SkipLocked);
        by_index(&mut found, "PRIMARY");
        let found: Vec<Row> = found.into_tuple().all(&transaction).await?;
        let same = found.into_iter().map(UnexpiredLease::from);
        let same: Vec<i32> = same
            .filter(|one| leases.contains(one))
            .map(|one| one.row)
            .collect();
        let mut ended = 0;
        if !same.is_empty() {
            let end = Entity::update_many()
                .col_expr(Column::ExpiresAt, self.now_expr())
                .filter(Column::Bucket.is_in(same));
            ended = end.exec(&transaction).await?.rows_affected;
        }
        transaction.commit().await?;
        Ok(ended)
    }
}
