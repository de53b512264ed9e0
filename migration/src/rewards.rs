//! The schema of the rewards database. It may share a database with the events: it keeps a list of its
//! own of what was applied.

use sea_orm_migration::prelude::{DynIden, IntoIden, MigrationTrait, MigratorTrait, async_trait};

mod m20261122_000001_first_schema;

/// All migrations of the rewards database, in order.
#[derive(Debug)]
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(m20261122_000001_first_schema::Migration)]
    }

    fn migration_table_name() -> DynIden {
        "rewards_migrations".into_iden()
    }
}
