//! The rewards database: applied events and granted rewards. It is separate from the events' database: no transaction
//! spans both.

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

use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{ConnectionTrait, EntityTrait};

use super::bounded::Tx;
use super::entity::insert_rows;
use super::statement_lengths::slices;
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

    /// Inserts rows, as many per statement as fit; `row_bytes` is the size of a row in a statement.
    async fn insert<E: EntityTrait, T, const COLUMNS: usize>(
        &self,
        tx: &Tx,
        row_bytes: usize,
        rows: &[T],
        row: impl Fn(&T) -> [(E::Column, Expr); COLUMNS],
        existing: Option<OnConflict>,
    ) -> Result<(), StoreError> {
        for slice in slices(rows, self.statement_bytes_max / row_bytes) {
            let mut insert = insert_rows::<E, COLUMNS>(slice.iter().map(&row));
            if let Some(existing) = existing.clone() {
                insert.on_conflict(existing);
            }
            tx.execute(&insert).await?;
        }
        Ok(())
    }
}
