//! Which relay owns which buckets: lease rows on the database's clock. A change of owner raises the
//! bucket's epoch. A row with a negative bucket registers a relay: it is alive though it may own nothing
//! yet, so that the others know to share.

use std::collections::BTreeSet;
use std::time::Duration;

use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QueryResult, QuerySelect};

use crate::domain::{BUCKETS, Instant};
use crate::parts::store::bounded::Tx;
use crate::parts::store::entity::outbox_lease::{Column, Entity};
use crate::parts::store::shapes::padded;
use crate::parts::store::{Store, StoreError};

/// A bucket that a relay owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeasedBucket {
    /// Share of the outbox.
    pub bucket: u16,
    /// How many owners it has had.
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
    /// For how long its leases still hold.
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

impl Store {
    /// Renews what `owner` holds and takes free buckets up to its fair share among the relays that
    /// are alive. Answers all it holds now and which of these are more than its share: the caller
    /// gives those back with [`Store::release_buckets`] once nothing of theirs is in flight.
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
        // What another relay took when a lease had ended is not held any more.
        table = self.lease_table(owner).await?;
        for held in &mut table.mine {
            held.is_renewed = renewed.contains(&i32::from(held.bucket));
        }
        let surplus = table.mine.iter().skip(share).map(|held| held.bucket);
        let surplus = surplus.collect();
        Ok((table.mine, surplus))
    }

    /// Renews the rows that no other transaction locks.
    async fn renew(
        &self,
        owner: &str,
        lease: Duration,
        table: &Table,
    ) -> Result<BTreeSet<i32>, StoreError> {
        let rows: Vec<i32> = table.rows().collect();
        let transaction = self.begin().await?;
        let free = self.owned_and_free(&transaction, owner, &rows).await?;
        if !free.is_empty() {
            let mut sql = self.sql("UPDATE outbox_lease SET expires_at = ");
            sql.after(lease)
                .push(" WHERE bucket IN ")
                .list(free.clone());
            sql.run(&transaction).await?;
        }
        transaction.commit().await?;
        Ok(free.into_iter().collect())
    }

    /// Locks those of these rows that `owner` has and nobody else holds. By their keys, so that no other row is
    /// touched, which others would have to leave out.
    async fn owned_and_free(
        &self,
        transaction: &Tx,
        owner: &str,
        rows: &[i32],
    ) -> Result<Vec<i32>, StoreError> {
        let mut sql = self.sql("SELECT bucket FROM ");
        sql.push(&self.db.by_index("outbox_lease", "PRIMARY"));
        sql.push(" WHERE bucket IN ").list(padded(rows));
        sql.push(" AND owner = ").bind(owner);
        if !self.is_embedded() {
            sql.push(" FOR UPDATE SKIP LOCKED");
        }
        let found = sql.rows(transaction).await?;
        let number = |row: &QueryResult| {
            let bucket: i64 = row.try_get("", "bucket")?;
            Ok(i32::try_from(bucket).unwrap_or(i32::MAX))
        };
        found.iter().map(number).collect()
    }

    /// Gives buckets back, so that another relay need not wait for the lease to end: how many. A row that
    /// somebody else holds is left out.
    pub async fn release_buckets(&self, owner: &str, buckets: &[u16]) -> Result<u64, StoreError> {
        let rows: Vec<i32> = buckets.iter().map(|bucket| i32::from(*bucket)).collect();
        let transaction = self.begin().await?;
        let free = self.owned_and_free(&transaction, owner, &rows).await?;
        let mut released = 0;
        if !free.is_empty() {
            let mut sql = self.sql("UPDATE outbox_lease SET owner = NULL, expires_at = ");
            sql.now().push(" WHERE bucket IN ").list(free);
            released = sql.run(&transaction).await?;
        }
        transaction.commit().await?;
        Ok(released)
    }

    /// Gives back all that `owner` has, its registration too.
    pub async fn leave_buckets(&self, owner: &str) -> Result<(), StoreError> {
        let table = self.lease_table(owner).await?;
        let buckets: Vec<u16> = table.mine.iter().map(|held| held.bucket).collect();
        self.release_buckets(owner, &buckets).await?;
        let mut sql = self.sql("DELETE FROM outbox_lease WHERE bucket < 0 AND owner = ");
        sql.bind(owner).run(&self.db).await?;
        Ok(())
    }

    /// The relays that are alive, by name.
    pub async fn relay_leases(&self) -> Result<Vec<RelayLease>, StoreError> {
        let rows: Vec<(String, i32, Instant, Instant)> = Entity::find()
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
            // A row with a negative bucket only says that the relay is alive.
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
        let mut sweep = self.sql("DELETE FROM outbox_lease WHERE bucket < 0");
        sweep.push(" AND expires_at <= ").now();
        sweep.run(&self.db).await?;
        // Two relays that start at once may draw one number; the slower registers in the next round.
        let mut insert = self.sql("INSERT INTO outbox_lease");
        insert.push(" (bucket, owner, epoch, expires_at) SELECT COALESCE(MIN(bucket), 0) - 1, ");
        insert.bind(owner).push(", 1, ").after(lease);
        insert.push(" FROM outbox_lease WHERE bucket < 0");
        insert.run(&self.db).await?;
        Ok(())
    }

    async fn take_free(
        &self,
        owner: &str,
        lease: Duration,
        free: &[u16],
    ) -> Result<Vec<i32>, StoreError> {
        let transaction = self.begin().await?;
        // A relay that stopped in the middle of writing about a bucket holds its row still: that bucket waits,
        // and the others do not wait with it.
        let mut sql = self.sql("SELECT bucket FROM outbox_lease WHERE bucket IN ");
        sql.list(free.iter().copied());
        sql.push(" AND (owner IS NULL OR expires_at <= ")
            .now()
            .push(")");
        if !self.is_embedded() {
            sql.push(" FOR UPDATE SKIP LOCKED");
        }
        let rows = sql.rows(&transaction).await?;
        let taken = rows.iter().map(|row| Ok(i32::from(bucket(row, "bucket")?)));
        let taken: Vec<i32> = taken.collect::<Result<_, StoreError>>()?;
        if !taken.is_empty() {
            // MySQL assigns from left to right: nothing here reads a column already assigned.
            let mut sql = self.sql("UPDATE outbox_lease SET epoch = epoch + 1, owner = ");
            sql.bind(owner).push(", expires_at = ").after(lease);
            sql.push(" WHERE bucket IN ").list(taken.clone());
            sql.run(&transaction).await?;
        }
        transaction.commit().await?;
        Ok(taken)
    }

    async fn lease_table(&self, owner: &str) -> Result<Table, StoreError> {
        let mut sql = self.sql("SELECT bucket, owner, epoch, expires_at > ");
        sql.now().push(" AS live FROM outbox_lease ORDER BY bucket");
        let mut table = Table::default();
        table.owners.insert(owner.to_owned());
        for row in sql.rows(&self.db).await? {
            let holder: Option<String> = row.try_get("", "owner")?;
            let live = row.try_get::<i64>("", "live")? != 0;
            let is_registration = row.try_get::<i64>("", "bucket")? < 0;
            match holder {
                Some(holder) if holder == owner => {
                    if is_registration {
                        let number: i64 = row.try_get("", "bucket")?;
                        table.registration = i32::try_from(number).ok();
                    } else {
                        let epoch: i64 = row.try_get("", "epoch")?;
                        table.mine.push(LeasedBucket {
                            bucket: bucket(&row, "bucket")?,
                            epoch: u64::try_from(epoch).unwrap_or_default(),
                            is_renewed: false,
                        });
                    }
                }
                Some(holder) if live => {
                    table.owners.insert(holder);
                }
                _ if is_registration => {}
                _ => table.free.push(bucket(&row, "bucket")?),
            }
        }
        Ok(table)
    }
}

fn bucket(row: &QueryResult, column: &str) -> Result<u16, StoreError> {
    let number: i64 = row.try_get("", column)?;
    u16::try_from(number).map_err(|_| super::unknown(column, &number.to_string()))
}
