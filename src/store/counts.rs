//! Counts for verification and status. Each is one statement.

use sea_orm::{FromQueryResult, Statement};

use super::campaigns::to_unsigned;
use super::{Store, StoreError};
use crate::domain::CampaignId;

/// What stands in the tables for one campaign.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Participations, whatever their status.
    pub participations: u64,
    /// Changes of participations, each of which has an event.
    pub changes: u64,
    /// Units held by participations that stand.
    pub units: u64,
    /// Users holding more than they may.
    pub users_over_limit: u64,
    /// Events in the outbox.
    pub events: u64,
    /// Published events that were in the outbox and are deleted.
    pub purged: u64,
    /// Events waiting to be published.
    pub pending: u64,
    /// Events waiting outside the hot path, dead ones included.
    pub parked: u64,
    /// Entries of the hot index or of the parked ones that have no event.
    pub orphans: u64,
}

#[derive(FromQueryResult)]
struct Number {
    number: i64,
}

#[derive(FromQueryResult)]
struct Events {
    events: i64,
    purged: i64,
}

impl Store {
    /// Counts everything of one campaign. The tables may change between the statements: compare twice
    /// on a system under traffic.
    pub async fn counts(&self, campaign: CampaignId) -> Result<Counts, StoreError> {
        let of = |sql: &'static str| self.number(sql, campaign);
        let Events { events, purged } = self.events(campaign).await?;
        Ok(Counts {
            events: to_unsigned(events),
            purged: to_unsigned(purged),
            participations: of("SELECT COUNT(*) AS number FROM participation WHERE campaign_id = ?").await?,
            changes: of(
                "SELECT CAST(COALESCE(SUM(version), 0) AS SIGNED) AS number FROM participation WHERE campaign_id = ?",
            )
            .await?,
            units: of(
                "SELECT CAST(COALESCE(SUM(quantity), 0) AS SIGNED) AS number FROM participation \
                 WHERE campaign_id = ? AND status IN ('reserved', 'confirmed')",
            )
            .await?,
            users_over_limit: of(
                "SELECT COUNT(*) AS number FROM (SELECT p.user_id FROM participation p \
                 JOIN campaign c ON c.id = p.campaign_id \
                 WHERE p.campaign_id = ? AND p.status IN ('reserved', 'confirmed') \
                 GROUP BY p.user_id, c.per_user_limit HAVING SUM(p.quantity) > c.per_user_limit) AS over_limit",
            )
            .await?,
            pending: of("SELECT COUNT(*) AS number FROM outbox_pending WHERE campaign_id = ?").await?,
            parked: of("SELECT COUNT(*) AS number FROM outbox_parked WHERE campaign_id = ?").await?,
            orphans: of(
                "SELECT COUNT(*) AS number FROM (SELECT event_id, campaign_id FROM outbox_pending \
                 UNION ALL SELECT event_id, campaign_id FROM outbox_parked) AS waiting \
                 LEFT JOIN outbox_event e ON e.id = waiting.event_id \
                 WHERE waiting.campaign_id = ? AND e.id IS NULL",
            )
            .await?,
        })
    }

    /// Events of a campaign that the broker has not acknowledged.
    pub async fn unpublished_count(&self, campaign: CampaignId) -> Result<u64, StoreError> {
        let pending = "SELECT COUNT(*) AS number FROM outbox_pending WHERE campaign_id = ?";
        let parked = "SELECT COUNT(*) AS number FROM outbox_parked WHERE campaign_id = ?";
        Ok(self.number(pending, campaign).await? + self.number(parked, campaign).await?)
    }

    /// What is there and what is deleted, at one moment: a purge moves from the one to the other.
    async fn events(&self, campaign: CampaignId) -> Result<Events, StoreError> {
        let sql = "SELECT (SELECT COUNT(*) FROM outbox_event WHERE campaign_id = ?) AS events, \
             COALESCE((SELECT purged_events FROM campaign WHERE id = ?), 0) AS purged";
        let statement = Statement::from_sql_and_values(
            self.db.get_database_backend(),
            sql,
            [campaign.0.into(), campaign.0.into()],
        );
        let found = Events::find_by_statement(statement).one(&self.db).await?;
        Ok(found.unwrap_or(Events {
            events: 0,
            purged: 0,
        }))
    }

    async fn number(&self, sql: &'static str, campaign: CampaignId) -> Result<u64, StoreError> {
        let statement = Statement::from_sql_and_values(
            self.db.get_database_backend(),
            sql,
            [campaign.0.into()],
        );
        let row = Number::find_by_statement(statement).one(&self.db).await?;
        Ok(row.map_or(0, |row| to_unsigned(row.number)))
    }
}
