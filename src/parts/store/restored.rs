//! A database that was set back: numbers that were given out after that moment are not given out again.

use sea_orm::ConnectionTrait;

use super::{Store, StoreError};
use crate::domain::{CampaignId, Timestamp, UserId};

impl Store {
    /// When the newest event was made; none: there is no event.
    pub async fn newest_event_at(&self) -> Result<Option<Timestamp>, StoreError> {
        let mut newest = self.sql("SELECT MAX(created_at) AS newest FROM outbox_event");
        let rows = newest.rows(&self.db).await?;
        let newest = rows
            .first()
            .map(|row| row.try_get::<Option<Timestamp>>("", "newest"));
        Ok(newest.transpose()?.flatten())
    }

    /// New campaigns get higher numbers than this one. MySQL only: an embedded database is in use by one process,
    /// together with the records about it.
    pub async fn skip_campaigns(&self, up_to: CampaignId) -> Result<(), StoreError> {
        self.skip("campaign", up_to.0).await
    }

    /// New accounts get higher numbers than this one.
    pub async fn skip_accounts(&self, up_to: UserId) -> Result<(), StoreError> {
        self.skip("account", up_to.0).await
    }

    /// Never sets a counter back: MySQL would, down to the highest number of the table.
    async fn skip(&self, table: &str, up_to: i64) -> Result<(), StoreError> {
        let next = up_to.saturating_add(1);
        // Current, unlike the cached statistics of information_schema, and SELECT is enough.
        let mut created = self.sql(&format!("SHOW CREATE TABLE {table}"));
        let rows = created.rows(&self.db).await?;
        let created: String = rows
            .first()
            .map_or(Ok(String::new()), |row| row.try_get_by_index(1))?;
        let now = next_number(&created);
        if now < next {
            let sql = format!("ALTER TABLE {table} AUTO_INCREMENT = {next}");
            self.db.execute_unprepared(&sql).await?;
        }
        Ok(())
    }
}

/// The next number of a table, from the statement that creates it; 1 if it has had no row.
fn next_number(created: &str) -> i64 {
    let options = created
        .rsplit_once(" AUTO_INCREMENT=")
        .map_or("", |(_, rest)| rest);
    let digits = options.split(' ').next().unwrap_or_default();
    digits.parse().unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::next_number;

    #[test]
    fn the_next_number_is_read_from_the_statement() {
        let table = "CREATE TABLE `c` (`id` bigint NOT NULL AUTO_INCREMENT) ENGINE=InnoDB";
        assert_eq!(next_number(table), 1);
        assert_eq!(
            next_number(&format!(
                "{table} AUTO_INCREMENT=42 DEFAULT CHARSET=utf8mb4"
            )),
            42
        );
    }
}
