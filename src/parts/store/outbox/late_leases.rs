//! Leases of relays that end too late: they were taken before the database's clock was set back, and were not renewed
//! since. If their owner is dead, nobody else would get its buckets for the length of the step. This module does not
//! know who is dead: a caller that has seen a lease unchanged for long enough ends it.

use std::time::Duration;

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

/// A lease that ends later than any that is taken now. Each renewal changes it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LateLease {
    row: i32,
    owner: String,
    epoch: i64,
    ends_at: Timestamp,
}

#[cfg(test)]
impl LateLease {
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

impl From<Row> for LateLease {
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
    /// The leases, registrations included, that end later than the longest lease would that is taken now.
    pub async fn late_leases(&self, lease_max: Duration) -> Result<Vec<LateLease>, StoreError> {
        let rows: Vec<Row> = Entity::find()
            .select_only()
            .columns(COLUMNS)
            .filter(Column::Owner.is_not_null())
            .filter(Column::ExpiresAt.into_expr().gt(self.after(lease_max)))
            .into_tuple()
            .all(&self.db)
            .await?;
        Ok(rows.into_iter().map(LateLease::from).collect())
    }

    /// Ends those of these leases that are still the same. Returns their number. Rows locked by other transactions are
    /// skipped.
    pub async fn end_late_leases(&self, late: &[LateLease]) -> Result<u64, StoreError> {
        let rows: Vec<i32> = late.iter().map(|one| one.row).collect();
        let transaction = self.begin().await?;
        let mut found = Entity::find()
            .select_only()
            .columns(COLUMNS)
            .filter(Column::Bucket.is_in(padded(&rows)))
            .filter(Column::Owner.is_not_null())
            .lock_with_behavior(LockType::Update, LockBehavior::SkipLocked);
        by_index(&mut found, "PRIMARY");
        let found: Vec<Row> = found.into_tuple().all(&transaction).await?;
        let same = found.into_iter().map(LateLease::from);
        let same: Vec<i32> = same
            .filter(|one| late.contains(one))
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
