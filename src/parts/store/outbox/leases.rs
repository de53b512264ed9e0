//! Which relay owns which buckets: lease rows on the database's clock. A change of owner raises the bucket's epoch. A
//! row with a negative bucket registers a relay: it is alive but may own no bucket yet, so the others know that they
//! must share.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sea_orm::sea_query::{Expr, ExprTrait, Func, LockBehavior, LockType, Query};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
};

use crate::domain::{BUCKETS, Timestamp};
use crate::parts::store::bounded::Tx;
use crate::parts::store::entity::by_index;
use crate::parts::store::entity::outbox_lease::{Column, Entity};
use crate::parts::store::numbers::to_unsigned;
use crate::parts::store::statement_lengths::padded;
use crate::parts::store::{Store, StoreError};

/// A bucket that a relay owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeasedBucket {
    /// The bucket.
    pub bucket: u16,
    /// The number of owners so far.
    pub epoch: u64,
    /// Whether its lease was renewed now; not if another transaction locks its row.
    pub is_renewed: bool,
}

/// A relay that is alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayLease {
    /// Its name.
    pub owner: String,
    /// Buckets it owns, in order.
    pub buckets: Vec<u16>,
    /// How long its leases are still valid.
    pub lease_left: Duration,
}

/// The lease rows from the view of one relay.
#[derive(Debug, Default)]
struct Table {
    mine: Vec<LeasedBucket>,
    free: Vec<u16>,
    owners: BTreeSet<String>,
    /// The row that registers the relay.
    registration: Option<i32>,
}

impl Table {
    /// The fair share of buckets of one owner.
    fn share(&self) -> usize {
        usize::from(BUCKETS).div_ceil(self.owners.len().max(1))
    }

    /// The relay's own rows.
    fn rows(&self) -> impl Iterator<Item = i32> {
        let buckets = self.mine.iter().map(|held| i32::from(held.bucket));
        buckets.chain(self.registration)
    }
}

/// How often rows that another transaction locks are tried in one round, and the pause between.
const RENEWALS_MAX: u32 = 8;
const RENEWAL_PAUSE: Duration = Duration::from_millis(20);

impl Store {
    /// Renews the buckets of `owner`, and takes free buckets up to its fair share among the live relays. Returns all
    /// its buckets, and those above its share: the caller releases them with [`Store::release_buckets`] once none of
    /// their events is in flight.
    pub async fn hold_buckets(
        &self,
        owner: &str,
        lease: Duration,
    ) -> Result<(Vec<LeasedBucket>, Vec<u16>), StoreError> {
        let mut table = self.lease_table(owner).await?;
        let mut renewed = self.renew(owner, lease, &table).await?;
        if table.registration.is_none() {
            self.register_relay(owner, lease).await?;
        }
        let share = table.share();
        if table.mine.len() < share && !table.free.is_empty() {
            let wanted = share - table.mine.len();
            table.free.truncate(wanted);
            renewed.extend(self.take_free(owner, lease, &table.free).await?);
        }
        // A bucket whose lease had ended may now belong to another relay.
        table = self.lease_table(owner).await?;
        for held in &mut table.mine {
            held.is_renewed = renewed.contains(&i32::from(held.bucket));
        }
        let surplus = table.mine.iter().skip(share).map(|held| held.bucket);
        let surplus = surplus.collect();
        Ok((table.mine, surplus))
    }

    /// Renews the rows that no other transaction locks. A row may be locked by a short transaction of this relay that
    /// parks events, so locked rows are tried again a few times.
    async fn renew(
        &self,
        owner: &str,
        lease: Duration,
        table: &Table,
    ) -> Result<BTreeSet<i32>, StoreError> {
        let mut left: Vec<i32> = table.rows().collect();
        let mut renewed = BTreeSet::new();
        for attempt in 0..RENEWALS_MAX {
            if attempt > 0 {
                tokio::time::sleep(RENEWAL_PAUSE).await;
            }
            renewed.extend(self.renew_free(owner, lease, &left).await?);
            left.retain(|row| !renewed.contains(row));
            if left.is_empty() {
                break;
            }
        }
        Ok(renewed)
    }

    async fn renew_free(
        &self,
        owner: &str,
        lease: Duration,
        rows: &[i32],
    ) -> Result<Vec<i32>, StoreError> {
        let transaction = self.begin().await?;
        let free = self.owned_and_free(&transaction, owner, rows).await?;
        if !free.is_empty() {
            let renewed = Entity::update_many()
                .col_expr(Column::ExpiresAt, self.after(lease))
                .filter(Column::Bucket.is_in(free.iter().copied()));
            renewed.exec(&transaction).await?;
        }
        transaction.commit().await?;
        Ok(free)
    }

    /// Locks those of these rows that belong to `owner` and that no other transaction locks. By their keys, so that
    /// no other row is locked, which others would then skip.
    async fn owned_and_free(
        &self,
        transaction: &Tx,
        owner: &str,
        rows: &[i32],
    ) -> Result<Vec<i32>, StoreError> {
        let mut found = Entity::find()
            .select_only()
            .column(Column::Bucket)
            .filter(Column::Bucket.is_in(padded(rows)))
            .filter(Column::Owner.eq(owner))
            .lock_with_behavior(LockType::Update, LockBehavior::SkipLocked);
        by_index(&mut found, "PRIMARY");
        Ok(found.into_tuple().all(transaction).await?)
    }

    /// Releases buckets, so that another relay need not wait for the end of the lease. Returns their number. Rows
    /// locked by other transactions are skipped.
    pub async fn release_buckets(&self, owner: &str, buckets: &[u16]) -> Result<u64, StoreError> {
        let rows: Vec<i32> = buckets.iter().map(|bucket| i32::from(*bucket)).collect();
        let transaction = self.begin().await?;
        let free = self.owned_and_free(&transaction, owner, &rows).await?;
        let mut released = 0;
        if !free.is_empty() {
            let rows = Entity::update_many()
                .col_expr(Column::Owner, Expr::null())
                .col_expr(Column::ExpiresAt, self.now_expr())
                .filter(Column::Bucket.is_in(free));
            released = rows.exec(&transaction).await?.rows_affected;
        }
        transaction.commit().await?;
        Ok(released)
    }

    /// The epochs of those of these buckets that `owner` leases. They cannot change until the transaction ends, and
    /// the next owner reads what the transaction wrote.
    pub(super) async fn leased(
        &self,
        tx: &Tx,
        owner: &str,
        buckets: &BTreeSet<u16>,
    ) -> Result<BTreeMap<u16, u64>, StoreError> {
        let buckets: Vec<u16> = buckets.iter().copied().collect();
        let mut rows = Entity::find()
            .select_only()
            .columns([Column::Bucket, Column::Epoch])
            .filter(Column::Bucket.is_in(padded(&buckets)))
            .filter(Column::Owner.eq(owner))
            .lock_shared();
        by_index(&mut rows, "PRIMARY");
        let rows: Vec<(i32, i64)> = rows.into_tuple().all(tx).await?;
        let leased = |(bucket, epoch): (i32, i64)| {
            let bucket = u16::try_from(bucket).unwrap_or(u16::MAX);
            (bucket, epoch.unsigned_abs())
        };
        Ok(rows.into_iter().map(leased).collect())
    }

    /// Releases all buckets of `owner`, and its registration.
    pub async fn leave_buckets(&self, owner: &str) -> Result<(), StoreError> {
        let table = self.lease_table(owner).await?;
        let buckets: Vec<u16> = table.mine.iter().map(|held| held.bucket).collect();
        self.release_buckets(owner, &buckets).await?;
        let registration = Entity::delete_many()
            .filter(Column::Bucket.lt(0))
            .filter(Column::Owner.eq(owner));
        registration.exec(&self.db).await?;
        Ok(())
    }

    /// The live relays, by name.
    pub async fn relay_leases(&self) -> Result<Vec<RelayLease>, StoreError> {
        let rows: Vec<(String, i32, Timestamp, Timestamp)> = Entity::find()
            .select_only()
            .columns([Column::Owner, Column::Bucket, Column::ExpiresAt])
            .expr_as(self.now_expr(), "now_at")
            .filter(Column::Owner.is_not_null())
            .filter(Expr::col(Column::ExpiresAt).gt(self.now_expr()))
            .order_by_asc(Column::Owner)
            .order_by_asc(Column::Bucket)
            .into_tuple()
            .all(&self.db)
            .await?;
        let mut leases: Vec<RelayLease> = Vec::new();
        for (owner, bucket, ends_at, now_at) in rows {
            let left = (ends_at - now_at).to_std().unwrap_or_default();
            // A row with a negative bucket only registers a relay.
            let held = u16::try_from(bucket).ok();
            match leases.last_mut() {
                Some(lease) if lease.owner == owner => {
                    lease.buckets.extend(held);
                    lease.lease_left = lease.lease_left.max(left);
                }
                _ => leases.push(RelayLease {
                    owner,
                    buckets: held.into_iter().collect(),
                    lease_left: left,
                }),
            }
        }
        Ok(leases)
    }

    /// Registers `owner` as alive, and deletes expired registrations.
    async fn register_relay(&self, owner: &str, lease: Duration) -> Result<(), StoreError> {
        let expired = Entity::delete_many()
            .filter(Column::Bucket.lt(0))
            .filter(Column::ExpiresAt.into_expr().lte(self.now_expr()));
        expired.exec(&self.db).await?;
        // Two relays that start at once may choose the same number; the slower one registers in the next round.
        let lowest = Func::coalesce([Column::Bucket.min(), Expr::Constant(0.into())]);
        let row = Query::select()
            .expr(Expr::from(lowest).sub(Expr::Constant(1.into())))
            .exprs([owner.into(), 1.into(), self.after(lease)])
            .from(Entity)
            .and_where(Column::Bucket.lt(0))
            .to_owned();
        let mut insert = Query::insert();
        let columns = [
            Column::Bucket,
            Column::Owner,
            Column::Epoch,
            Column::ExpiresAt,
        ];
        insert
            .into_table(Entity)
            .columns(columns)
            .select_from(row)
            .map_err(|error| DbErr::Custom(error.to_string()))?;
        self.db.execute(&insert).await?;
        Ok(())
    }

    async fn take_free(
        &self,
        owner: &str,
        lease: Duration,
        free: &[u16],
    ) -> Result<Vec<i32>, StoreError> {
        let transaction = self.begin().await?;
        // A stopped relay may still lock the row of a bucket in an unfinished transaction: only that bucket waits.
        let is_free = Column::Owner.is_null();
        let is_free = is_free.or(Column::ExpiresAt.into_expr().lte(self.now_expr()));
        let mut rows = Entity::find()
            .select_only()
            .column(Column::Bucket)
            .filter(Column::Bucket.is_in(free.iter().copied()))
            .filter(is_free)
            .lock_with_behavior(LockType::Update, LockBehavior::SkipLocked);
        by_index(&mut rows, "PRIMARY");
        let taken: Vec<i32> = rows.into_tuple().all(&transaction).await?;
        if !taken.is_empty() {
            let rows = Entity::update_many()
                .col_expr(Column::Epoch, Column::Epoch.into_expr().add(1))
                .col_expr(Column::Owner, owner.into())
                .col_expr(Column::ExpiresAt, self.after(lease))
                .filter(Column::Bucket.is_in(taken.iter().copied()));
            rows.exec(&transaction).await?;
        }
        transaction.commit().await?;
        Ok(taken)
    }

    async fn lease_table(&self, owner: &str) -> Result<Table, StoreError> {
        let rows: Vec<(i32, Option<String>, i64, i64)> = Entity::find()
            .select_only()
            .columns([Column::Bucket, Column::Owner, Column::Epoch])
            .expr(Column::ExpiresAt.into_expr().gt(self.now_expr()))
            .order_by_asc(Column::Bucket)
            .into_tuple()
            .all(&self.db)
            .await?;
        let mut table = Table::default();
        table.owners.insert(owner.to_owned());
        for (number, holder, epoch, live) in rows {
            let is_registration = number < 0;
            match holder {
                Some(holder) if holder == owner => {
                    if is_registration {
                        table.registration = Some(number);
                    } else {
                        table.mine.push(LeasedBucket {
                            bucket: bucket(number)?,
                            epoch: to_unsigned(epoch),
                            is_renewed: false,
                        });
                    }
                }
                Some(holder) if live != 0 => {
                    table.owners.insert(holder);
                }
                _ if is_registration => {}
                _ => table.free.push(bucket(number)?),
            }
        }
        Ok(table)
    }
}

fn bucket(number: i32) -> Result<u16, StoreError> {
    u16::try_from(number).map_err(|_| super::unknown("bucket", &number.to_string()))
}
