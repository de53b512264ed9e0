//! A migration that creates tables.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

use crate::table::{Dialect, Table, removal};

/// A schema as it is first.
#[derive(Debug)]
pub(crate) struct FirstSchema {
    /// The table that lists which migrations were applied.
    pub(crate) applied: &'static str,
    /// All tables, in reading order.
    pub(crate) tables: fn(&Dialect) -> Vec<Table>,
}

impl FirstSchema {
    pub(crate) fn statements(&self, backend: DbBackend) -> Vec<String> {
        let dialect = Dialect::of(backend);
        (self.tables)(&dialect)
            .iter()
            .flat_map(|table| table.statements(&dialect))
            .collect()
    }
}

impl MigrationName for FirstSchema {
    fn name(&self) -> &'static str {
        "0001_first_schema"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for FirstSchema {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        for statement in self.statements(manager.get_database_backend()) {
            connection.execute_unprepared(&statement).await?;
        }
        Ok(())
    }

    /// Whoever dies half-way must not leave a schema that says it is there and is not: that it was applied
    /// is taken back first.
    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        let dialect = Dialect::of(manager.get_database_backend());
        let (applied, name) = (self.applied, self.name());
        let forget = format!("DELETE FROM {applied} WHERE version = '{name}'");
        let tables = removal(&(self.tables)(&dialect), &dialect);
        for statement in std::iter::once(forget).chain(tables) {
            connection.execute_unprepared(&statement).await?;
        }
        Ok(())
    }
}
