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

use sea_orm::{ConnectionTrait, Value};

use super::bounded::{Db, Tx};
use super::shapes::slices;
use super::sql::Sql;
use super::{StoreConfig, StoreError, connection, schema};
use crate::runtime::clock::Clock;

/// Which process may change the schema; not the lock of the sale's schema, which may be beside it.
const SCHEMA_LOCK: &str = "LEFT(CONCAT('firstcome.rewards.', DATABASE()), 64)";

/// A pool of connections to the rewards database.
#[derive(Clone, Debug)]
pub struct Rewards {
    db: Db,
    clock: Clock,
    statement_bytes_max: usize,
    schema_lock: schema::Lock,
}

impl Rewards {
    /// Connects and checks that the database answers.
    pub async fn connect(config: &StoreConfig, clock: Clock) -> Result<Self, StoreError> {
        let (db, statement_bytes_max) = connection::open(config).await?;
        let rewards = Self {
            db,
            clock,
            statement_bytes_max,
            schema_lock: schema::Lock {
                name: SCHEMA_LOCK,
                wait_max: config.migration_wait,
            },
        };
        rewards.ping().await?;
        Ok(rewards)
    }

    /// Brings the schema up to date; replicas take turns.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        schema::up::<migration::rewards::Migrator>(&self.db, self.schema_lock).await
    }

    /// Takes the whole schema down, with everything in it.
    pub async fn migrate_down(&self) -> Result<(), StoreError> {
        schema::down::<migration::rewards::Migrator>(&self.db, self.schema_lock).await
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.db.execute_unprepared("SELECT 1").await?;
        Ok(())
    }

    /// Whether the database takes writes; if not, the error names the settings that say so.
    pub async fn check_writable(&self) -> Result<(), StoreError> {
        self.db.demotion().require_writable(&self.db).await
    }

    /// Closes the pool, though it does not wait long for it.
    pub async fn close(&self) -> Result<(), StoreError> {
        connection::close(&self.db).await
    }

    async fn begin(&self) -> Result<Tx, StoreError> {
        connection::begin(&self.db).await
    }

    fn sql(&self, text: &str) -> Sql {
        Sql::on(&self.db, &self.clock, text)
    }

    fn is_embedded(&self) -> bool {
        self.db.is_embedded()
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
