//! Refusals, counted per campaign, minute and reason. A refusal is never a row of its own.

use std::collections::BTreeMap;

use sea_orm::{ConnectionTrait, DbBackend, FromQueryResult, Statement};

use super::campaigns::{to_signed, to_unsigned};
use super::{Store, StoreError};
use crate::domain::{CampaignId, Instant};

/// So many refusals of one campaign for one reason within one minute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TallyRow {
    /// Which campaign.
    pub campaign: CampaignId,
    /// Start of the minute.
    pub minute: Instant,
    /// Code of the refusal.
    pub reason: &'static str,
    /// How many more.
    pub count: u64,
}

#[derive(FromQueryResult)]
struct ReasonCount {
    reason: String,
    total: i64,
}

impl Store {
    /// Adds to the tallies; one statement however many rows.
    pub async fn add_tallies(&self, rows: &[TallyRow]) -> Result<(), StoreError> {
        if rows.is_empty() {
            return Ok(());
        }
        let backend = self.db.get_database_backend();
        let places = vec!["(?, ?, ?, ?)"; rows.len()].join(", ");
        let merge = match backend {
            DbBackend::Sqlite => {
                "ON CONFLICT (campaign_id, minute, reason) DO UPDATE SET count = count + excluded.count"
            }
            _ => "AS added ON DUPLICATE KEY UPDATE count = rejection_tally.count + added.count",
        };
        let sql = format!(
            "INSERT INTO rejection_tally (campaign_id, minute, reason, count) VALUES {places} {merge}"
        );
        let values = rows.iter().flat_map(|row| {
            [
                row.campaign.0.into(),
                row.minute.into(),
                row.reason.into(),
                to_signed(row.count).into(),
            ]
        });
        self.db
            .execute_raw(Statement::from_sql_and_values(backend, sql, values))
            .await?;
        Ok(())
    }

    /// All refusals of a campaign by reason.
    pub async fn tallies(&self, campaign: CampaignId) -> Result<BTreeMap<String, u64>, StoreError> {
        let statement = Statement::from_sql_and_values(
            self.db.get_database_backend(),
            "SELECT reason, CAST(SUM(count) AS SIGNED) AS total FROM rejection_tally WHERE campaign_id = ? GROUP BY reason",
            [campaign.0.into()],
        );
        let rows = ReasonCount::find_by_statement(statement)
            .all(&self.db)
            .await?;
        Ok(rows
            .into_iter()
            .map(|row| (row.reason, to_unsigned(row.total)))
            .collect())
    }
}
