//! A database that was set back: numbers that were given out after that moment are not given out again.

use sea_orm::ConnectionTrait;

use super::{Store, StoreError};
use crate::domain::{CampaignId, UserId};

impl Store {
    /// New campaigns get higher numbers than this one. MySQL only: an embedded database is in use by one process,
    /// together with the records about it.
    pub async fn skip_campaigns(&self, up_to: CampaignId) -> Result<(), StoreError> {
        self.skip("campaign", up_to.0).await
    }

    /// New accounts get higher numbers than this one.
    pub async fn skip_accounts(&self, up_to: UserId) -> Result<(), StoreError> {
        self.skip("account", up_to.0).await
    }

    /// MySQL ignores a number below the next one, so this never sets a counter back.
    async fn skip(&self, table: &str, up_to: i64) -> Result<(), StoreError> {
        let next = up_to.saturating_add(1);
        let sql = format!("ALTER TABLE {table} AUTO_INCREMENT = {next}");
        self.db.execute_unprepared(&sql).await?;
        Ok(())
    }
}
