//! The schema of firstcome, for `MySQL` 8.4 or newer and for `SQLite`: that of the sale below, that of the
//! rewards database in [`rewards`]. Each has a migration, which lists its tables in reading order, and each
//! table a function.
//!
//! Nothing has been released: until then the first schema itself is changed. From the first release on an
//! applied migration is never edited; a change is a new one, in a file of its own, whose steps may run again
//! where they have run before, and which leaves the release before it able to run.

use sea_orm_migration::prelude::{MigrationTrait, async_trait};
pub use sea_orm_migration::prelude::{MigratorTrait, SchemaManager};
use sea_orm_migration::sea_orm::DbBackend;

pub mod diagram;
mod first_schema;
pub mod rewards;
mod schema;
mod table;

/// All migrations of the sale's schema, in order.
#[derive(Debug)]
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(first_schema::SCHEMA)]
    }
}

/// The statements that create the sale's schema, in order.
#[must_use]
pub fn statements(backend: DbBackend) -> Vec<String> {
    first_schema::SCHEMA.statements(backend)
}
