//! Which relay owns which buckets: lease rows on the database's clock. A change of owner raises the
//! bucket's epoch. Rows with a negative bucket are seats: they say that a relay is alive though it
//! may own nothing yet, so that the others know to share.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Sql, bucket};
use crate::domain::Instant;
use crate::domain::event::BUCKETS;
use crate::store::{Store, StoreError};

/// A bucket somebody owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Share of the outbox.
    pub bucket: u16,
    /// How many owners it has had.
    pub epoch: u64,
}

/// A relay that is alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelaySeat {
    /// Its name.
    pub owner: String,
    /// Buckets it owns, in order.
    pub buckets: Vec<u16>,
    /// For how long its leases still hold.
    pub lease_left: Duration,
}

/// What the lease rows say to one relay.
#[derive(Debug, Default)]
struct Table {
    mine: Vec<Held>,
    free: Vec<u16>,
    owners: BTreeSet<String>,
    /// Whether the relay itself has a seat.
    seated: bool,
}

impl Table {
    /// Buckets one of so many owners may hold.
    fn share(&self) -> usize {
        usize::from(BUCKETS).div_ceil(self.owners.len().max(1))
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
    ) -> Result<(Vec<Held>, Vec<u16>), StoreError> {
        let mut renew = Sql::new(self, "UPDATE outbox_lease SET expires_at = ");
        renew.after(lease).push(" WHERE owner = ");
        renew.bind(owner).run(self.connection()).await?;

        let mut table = self.lease_table(owner).await?;
        if !table.seated {
            self.take_seat(owner, lease).await?;
        }
        let share = table.share();
        if table.mine.len() < share && !table.free.is_empty() {
            let wanted = share - table.mine.len();
            table.free.truncate(wanted);
            self.take_free(owner, lease, &table.free).await?;
            table = self.lease_table(owner).await?;
        }
        let surplus = table.mine.iter().skip(share).map(|held| held.bucket);
        let surplus = surplus.collect();
        Ok((table.mine, surplus))
    }

    /// Gives buckets back, so that another relay need not wait for the lease to end.
    pub async fn release_buckets(&self, owner: &str, buckets: &[u16]) -> Result<u64, StoreError> {
        let mut sql = Sql::new(self, "UPDATE outbox_lease SET owner = NULL, expires_at = ");
        sql.now().push(" WHERE owner = ").bind(owner);
        sql.push(" AND bucket IN ").list(buckets.iter().copied());
        sql.run(self.connection()).await
    }

    /// Gives back all that `owner` has, its seat too.
    pub async fn leave_buckets(&self, owner: &str) -> Result<(), StoreError> {
        let mut sql = Sql::new(
            self,
            "DELETE FROM outbox_lease WHERE bucket < 0 AND owner = ",
        );
        sql.bind(owner).run(self.connection()).await?;
        let mut sql = Sql::new(self, "UPDATE outbox_lease SET owner = NULL, expires_at = ");
        sql.now().push(" WHERE owner = ").bind(owner);
        sql.run(self.connection()).await?;
        Ok(())
    }

    /// The relays that are alive, by name.
    pub async fn relay_seats(&self) -> Result<Vec<RelaySeat>, StoreError> {
        let mut sql = Sql::new(self, "SELECT owner, bucket, expires_at AS ends_at, ");
        sql.now().push(" AS now_at FROM outbox_lease");
        sql.push(" WHERE owner IS NOT NULL AND expires_at > ");
        sql.now().push(" ORDER BY owner, bucket");
        let mut seats: Vec<RelaySeat> = Vec::new();
        for row in sql.rows(self.connection()).await? {
            let owner: String = row.try_get("", "owner")?;
            let (ends_at, now_at): (Instant, Instant) =
                (row.try_get("", "ends_at")?, row.try_get("", "now_at")?);
            let left = (ends_at - now_at).to_std().unwrap_or_default();
            // Its seat alone, a row without a bucket, says that it is alive.
            let held = (row.try_get::<i64>("", "bucket")? >= 0)
                .then(|| bucket(&row, "bucket"))
                .transpose()?;
            match seats.last_mut() {
                Some(seat) if seat.owner == owner => {
                    seat.buckets.extend(held);
                    seat.lease_left = seat.lease_left.max(left);
                }
                _ => seats.push(RelaySeat {
                    owner,
                    buckets: held.into_iter().collect(),
                    lease_left: left,
                }),
            }
        }
        Ok(seats)
    }

    /// Says that `owner` is alive, and forgets those who no longer are.
    async fn take_seat(&self, owner: &str, lease: Duration) -> Result<(), StoreError> {
        let mut sweep = Sql::new(self, "DELETE FROM outbox_lease WHERE bucket < 0");
        sweep.push(" AND expires_at <= ").now();
        sweep.run(self.connection()).await?;
        // Two relays that start at once may draw one seat; the slower takes its in the next round.
        let mut insert = Sql::new(self, "INSERT INTO outbox_lease");
        insert.push(" (bucket, owner, epoch, expires_at) SELECT COALESCE(MIN(bucket), 0) - 1, ");
        insert.bind(owner).push(", 1, ").after(lease);
        insert.push(" FROM outbox_lease WHERE bucket < 0");
        insert.run(self.connection()).await?;
        Ok(())
    }

    async fn take_free(
        &self,
        owner: &str,
        lease: Duration,
        free: &[u16],
    ) -> Result<(), StoreError> {
        let transaction = self.begin().await?;
        // A relay that stopped in the middle of writing about a bucket holds its row still: that bucket waits,
        // and the others do not wait with it.
        let mut sql = Sql::new(self, "SELECT bucket FROM outbox_lease WHERE bucket IN ");
        sql.list(free.iter().copied());
        sql.push(" AND (owner IS NULL OR expires_at <= ")
            .now()
            .push(")");
        if !self.is_embedded() {
            sql.push(" FOR UPDATE SKIP LOCKED");
        }
        let rows = sql.rows(&transaction).await?;
        let taken: Result<Vec<u16>, StoreError> =
            rows.iter().map(|row| bucket(row, "bucket")).collect();
        let taken = taken?;
        if !taken.is_empty() {
            // MySQL assigns from left to right: nothing here reads a column already assigned.
            let mut sql = Sql::new(self, "UPDATE outbox_lease SET epoch = epoch + 1, owner = ");
            sql.bind(owner).push(", expires_at = ").after(lease);
            sql.push(" WHERE bucket IN ").list(taken);
            sql.run(&transaction).await?;
        }
        Ok(transaction.commit().await?)
    }

    async fn lease_table(&self, owner: &str) -> Result<Table, StoreError> {
        let mut sql = Sql::new(self, "SELECT bucket, owner, epoch, expires_at > ");
        sql.now().push(" AS live FROM outbox_lease ORDER BY bucket");
        let mut table = Table::default();
        table.owners.insert(owner.to_owned());
        for row in sql.rows(self.connection()).await? {
            let holder: Option<String> = row.try_get("", "owner")?;
            let live = row.try_get::<i64>("", "live")? != 0;
            let is_seat = row.try_get::<i64>("", "bucket")? < 0;
            match holder {
                Some(holder) if holder == owner => {
                    if is_seat {
                        table.seated = true;
                    } else {
                        let epoch: i64 = row.try_get("", "epoch")?;
                        table.mine.push(Held {
                            bucket: bucket(&row, "bucket")?,
                            epoch: u64::try_from(epoch).unwrap_or_default(),
                        });
                    }
                }
                Some(holder) if live => {
                    table.owners.insert(holder);
                }
                _ if is_seat => {}
                _ => table.free.push(bucket(&row, "bucket")?),
            }
        }
        Ok(table)
    }
}
