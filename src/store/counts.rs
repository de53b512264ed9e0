//! Counts of one campaign, for tests, the status and whoever wants to know.

use sea_orm::{ConnectionTrait, FromQueryResult, Statement};

use super::campaigns::to_unsigned;
use super::verification::Ground;
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
    /// Events about participations in the outbox.
    pub events: u64,
    /// Published events that were in the outbox and are deleted.
    pub purged: u64,
    /// Events waiting to be published.
    pub pending: u64,
    /// Events waiting outside the hot path, dead ones included.
    pub parked: u64,
    /// Waiting entries that have no event, or not where they say.
    pub orphans: u64,
}

#[derive(FromQueryResult)]
struct Number {
    number: i64,
}

impl Store {
    /// Counts everything of one campaign, at one moment. Reads all its rows.
    pub async fn counts(&self, campaign: CampaignId) -> Result<Counts, StoreError> {
        let snapshot = self.snapshot().await?;
        let ids = &[campaign];
        let sums = snapshot.sums(Ground::Whole(ids)).await?;
        let sums = sums.get(&campaign).copied().unwrap_or_default();
        let waiting = snapshot.waiting(campaign, campaign).await?;
        let waiting = waiting.get(&campaign).copied().unwrap_or_default();
        let books = snapshot.books(ids).await?;
        let (users_over_limit, _) = snapshot.users_over_limit(campaign).await?;
        snapshot.end().await?;
        Ok(Counts {
            participations: sums.participations,
            changes: sums.changes,
            units: sums.units,
            users_over_limit,
            events: sums.events,
            purged: books.first().map_or(0, |books| books.purged_events),
            pending: waiting.pending,
            parked: waiting.parked,
            orphans: waiting.astray,
        })
    }

    /// Events of a campaign that the broker has not acknowledged.
    pub async fn unpublished_count(&self, campaign: CampaignId) -> Result<u64, StoreError> {
        let sql = "SELECT (SELECT COUNT(*) FROM outbox_pending WHERE campaign_id = ?) \
             + (SELECT COUNT(*) FROM outbox_parked WHERE campaign_id = ?) AS number";
        let statement = Statement::from_sql_and_values(
            self.db.get_database_backend(),
            sql,
            [campaign.0.into(), campaign.0.into()],
        );
        let row = Number::find_by_statement(statement).one(&self.db).await?;
        Ok(row.map_or(0, |row| to_unsigned(row.number)))
    }
}
