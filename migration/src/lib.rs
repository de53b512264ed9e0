//! The schema of firstcome, for `MySQL` 8.4 or newer and for `SQLite`: that of the sale below, that of the
//! rewards database in [`rewards`]. Each has a migration, which lists its tables in reading order, and each
//! table a function.
//!
//! The first release is 0.2.0. From it on an applied migration is never edited; a change is a new one, in a file of its
//! own, whose steps may run again where they have run before. The name of a migration that leaves earlier releases able
//! to run ends with [`ADDITIVE`]: it adds tables, indexes, and columns that may be null or have a default. A process
//! starts on a newer schema only if all its unknown migrations are of this kind.

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

/// End of the names of migrations that only add to the schema.
pub const ADDITIVE: &str = "_additive";

/// Whether a release that does not know this migration can run on a schema that has it.
#[must_use]
pub fn is_additive(name: &str) -> bool {
    name.ends_with(ADDITIVE)
}

/// The statements that create the sale's schema, in order.
#[must_use]
pub fn statements(backend: DbBackend) -> Vec<String> {
    first_schema::SCHEMA.statements(backend)
}
