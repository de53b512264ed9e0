//! The schema of firstcome, for `MySQL` 8.4 or newer and for `SQLite`. An applied migration is never
//! edited; a change is a new one.

use sea_orm_migration::prelude::{MigrationTrait, async_trait};
pub use sea_orm_migration::prelude::{MigratorTrait, SchemaManager};

mod m20261121_000001_first_schema;
mod m20261121_000002_discarded;
mod m20261121_000003_outbox_order;
mod m20261121_000004_retention;
mod m20261121_000005_gate_closed;
mod m20261121_000006_verification;
mod m20261122_000007_orders;
mod m20261122_000020_rewarded;
mod m20261122_000025_rejection_total;
mod m20261122_000030_daily;
mod m20261122_000050_audit;
mod m20261122_000060_account;
mod m20261122_000070_allow_list;
pub mod rewards;

/// All migrations, in order.
#[derive(Debug)]
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261121_000001_first_schema::Migration),
            Box::new(m20261121_000002_discarded::Migration),
            Box::new(m20261121_000003_outbox_order::Migration),
            Box::new(m20261121_000004_retention::Migration),
            Box::new(m20261121_000005_gate_closed::Migration),
            Box::new(m20261121_000006_verification::Migration),
            Box::new(m20261122_000007_orders::Migration),
            Box::new(m20261122_000020_rewarded::Migration),
            Box::new(m20261122_000050_audit::Migration),
            Box::new(m20261122_000025_rejection_total::Migration),
            Box::new(m20261122_000030_daily::Migration),
            Box::new(m20261122_000060_account::Migration),
            Box::new(m20261122_000070_allow_list::Migration),
        ]
    }
}
