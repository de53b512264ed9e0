//! The rewards database: applied events and granted rewards. A separate database: no transaction spans it and the
//! events.

mod applying;
mod coupons;
mod due;
mod effects;
mod plan;
mod points;
mod reading;
mod revocation;
mod verifying;

pub use self::applying::Applied;
pub use self::coupons::{Order, UseOutcome, Voucher};
pub use self::due::Due;
pub use self::effects::Effects;
pub use self::revocation::{Revocation, Suspension};
pub use self::verifying::Rewarded;

use std::time::Duration;

use sea_orm::Value;

use super::bounded::Tx;
use super::shapes::slices;
use super::sql::Sql;
use super::{Database, Schema, StoreConfig, StoreError};
use crate::runtime::clock::Clock;

/// The schema of applied events and granted rewards.
#[derive(Clone, Copy, Debug)]
pub struct Granting;

impl Schema for Granting {
    type Migrations = migration::rewards::Migrator;
    const LOCK: &'static str = "LEFT(CONCAT('firstcome.rewards.', DATABASE()), 64)";
    const PATIENCE: Duration = Duration::from_secs(600);
}

/// The rewards database.
pub type Rewards = Database<Granting>;

impl Rewards {
    /// Connects and checks that the database answers.
    pub async fn connect(config: &StoreConfig, clock: Clock) -> Result<Self, StoreError> {
        let rewards = Self::open(config, clock).await?;
        rewards.ping().await?;
        Ok(rewards)
    }

    /// Inserts rows, as many with each statement as it has room for; a row takes `row_bytes` on the wire.
    async fn insert<T, const COLUMNS: usize>(
        &self,
        tx: &Tx,
        insert: Insert,
        rows: &[T],
        row: impl Fn(&T) -> [Value; COLUMNS],
    ) -> Result<(), StoreError> {
        for slice in slices(rows, self.statement_bytes_max / insert.row_bytes) {
            let mut sql = self.sql(insert.into);
            sql.rows_of(slice.iter().map(&row));
            if let Some(or_add) = insert.or_add {
                or_add(&mut sql);
            }
            sql.run(tx).await?;
        }
        Ok(())
    }
}

/// A statement that inserts rows.
#[derive(Clone, Copy)]
struct Insert {
    into: &'static str,
    row_bytes: usize,
    /// What to add to where a row is there already; none: that is an error.
    or_add: Option<fn(&mut Sql) -> &mut Sql>,
}
