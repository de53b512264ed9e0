//! The schema of the rewards database. It may share a database with the sale: it has a list of its own of
//! the migrations that were applied.

use sea_orm_migration::prelude::{DynIden, IntoIden, MigrationTrait, MigratorTrait, async_trait};
use sea_orm_migration::sea_orm::DbBackend;

mod first_schema;

const APPLIED: &str = "rewards_migrations";

/// All migrations of the rewards database, in order.
#[derive(Debug)]
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(first_schema::SCHEMA)]
    }

    fn migration_table_name() -> DynIden {
        APPLIED.into_iden()
    }
}

/// The statements that create the schema of the rewards database, in order.
#[must_use]
pub fn statements(backend: DbBackend) -> Vec<String> {
    first_schema::SCHEMA.statements(backend)
}
