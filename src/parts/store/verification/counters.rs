//! A campaign's row for verification: its counters and its highest rank.

use sea_orm::{ConnectionTrait, QueryResult};

use super::{Segment, Snapshot};
use crate::domain::{CampaignId, State, Timestamp};
use crate::parts::store::numbers::to_unsigned;
use crate::parts::store::sql::Sql;
use crate::parts::store::statement_lengths::padded;
use crate::parts::store::unreadable::parse;
use crate::parts::store::{Store, StoreError};

/// The counters of a campaign's row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CampaignCounters {
    /// The campaign.
    pub id: CampaignId,
    /// Its state.
    pub state: State,
    /// Its stock; none: unlimited.
    pub total_stock: Option<u64>,
    /// The counter of units held by its participations.
    pub committed_units: u64,
    /// The counter of its participations.
    pub participation_count: u64,
    /// The counter of events about its participations.
    pub event_sequence: u64,
    /// The position of their stream.
    pub published: u64,
    /// The counter of events about the campaign itself.
    pub campaign_events: u64,
    /// The position of their stream.
    pub campaign_published: u64,
    /// The counter of events about orders in its stream.
    pub order_events: u64,
    /// The position of that stream.
    pub order_published: u64,
    /// The counter of deleted events about its participations.
    pub purged_events: u64,
    /// Units one user may hold.
    pub per_user_limit: u32,
    /// Units one request may ask for.
    pub max_quantity: u32,
    /// The number of returns.
    pub returns: u64,
    /// Generation of the gate's state.
    pub gate_epoch: u64,
    /// Its version, raised by every change of its settings.
    pub version: u64,
    /// First moment of the window.
    pub opens_at: Option<Timestamp>,
    /// End of the window, exclusive.
    pub closes_at: Option<Timestamp>,
    /// The highest rank of its participations; 0: it has none.
    pub last_rank: u64,
}

/// As text, which is a quarter as long. The highest rank is one step in the index in this order: MySQL would read the
/// whole campaign to find a `MAX`, or to sort by the rank alone.
const COUNTERS: &str = "SELECT c.id, c.state, c.total_stock, c.committed_units, c.participation_count, \
     c.event_sequence, (SELECT o.published FROM outbox_position o WHERE o.campaign_id = c.id) AS published, \
     c.campaign_events, \
     (SELECT o.campaign_published FROM outbox_position o WHERE o.campaign_id = c.id) AS campaign_published, \
     c.order_events, \
     (SELECT o.order_published FROM outbox_position o WHERE o.campaign_id = c.id) AS order_published, \
     c.purged_events, c.per_user_limit, c.max_quantity, c.`returns` AS given_back, c.gate_epoch, \
     c.version, c.opens_at, c.closes_at, \
     (SELECT p.`rank` FROM participation p WHERE p.campaign_id = c.id \
     ORDER BY p.campaign_id DESC, p.`rank` DESC LIMIT 1) AS last_rank FROM campaign c";

impl CampaignCounters {
    /// Whether the campaign has ended: only earlier admissions can still be committed.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        matches!(self.state, State::Closed | State::Archived)
    }

    /// The segment of the highest rank.
    #[must_use]
    pub const fn last_segment(&self) -> Segment {
        Segment::of(self.id, self.last_rank)
    }
}

impl Store {
    /// A page of campaigns in order of id, in any state.
    pub async fn counters(
        &self,
        after: Option<CampaignId>,
        limit: u32,
    ) -> Result<Vec<CampaignCounters>, StoreError> {
        let mut sql = self.sql(COUNTERS);
        sql.push(" WHERE c.id > ")
            .bind(after.map_or(i64::MIN, |after| after.0));
        sql.push(" ORDER BY c.id LIMIT ").bind(limit);
        read(&mut sql, &self.db).await
    }

    /// One campaign now.
    pub async fn counters_of(
        &self,
        id: CampaignId,
    ) -> Result<Option<CampaignCounters>, StoreError> {
        let mut sql = self.sql(COUNTERS);
        sql.push(" WHERE c.id = ").bind(id.0);
        Ok(read(&mut sql, &self.db).await?.pop())
    }
}

impl Snapshot {
    /// These campaigns, in order of id, without missing ones.
    pub async fn counters(&self, ids: &[CampaignId]) -> Result<Vec<CampaignCounters>, StoreError> {
        let mut sql = self.store.sql(COUNTERS);
        sql.push(" WHERE c.id IN ")
            .list(padded(ids).map(|id| id.0))
            .push(" ORDER BY c.id");
        read(&mut sql, &self.tx).await
    }
}

async fn read(
    sql: &mut Sql,
    on: &impl ConnectionTrait,
) -> Result<Vec<CampaignCounters>, StoreError> {
    sql.rows(on).await?.iter().map(counters).collect()
}

fn counters(row: &QueryResult) -> Result<CampaignCounters, StoreError> {
    let count = |column: &str| row.try_get("", column).map(to_unsigned);
    let units = |column: &str| row.try_get("", column).map(i32::unsigned_abs);
    let state: String = row.try_get("", "state")?;
    let total: Option<i64> = row.try_get("", "total_stock")?;
    let position = |column: &str| -> Result<u64, StoreError> {
        let published: Option<i64> = row.try_get("", column)?;
        Ok(published.map_or(0, to_unsigned))
    };
    let last_rank: Option<i64> = row.try_get("", "last_rank")?;
    Ok(CampaignCounters {
        id: CampaignId(row.try_get("", "id")?),
        state: parse("a campaign's state", &state, State::parse)?,
        total_stock: total.map(to_unsigned),
        committed_units: count("committed_units")?,
        participation_count: count("participation_count")?,
        event_sequence: count("event_sequence")?,
        published: position("published")?,
        campaign_events: count("campaign_events")?,
        campaign_published: position("campaign_published")?,
        order_events: count("order_events")?,
        order_published: position("order_published")?,
        purged_events: count("purged_events")?,
        per_user_limit: units("per_user_limit")?,
        max_quantity: units("max_quantity")?,
        returns: count("given_back")?,
        gate_epoch: count("gate_epoch")?,
        version: count("version")?,
        opens_at: row.try_get("", "opens_at")?,
        closes_at: row.try_get("", "closes_at")?,
        last_rank: last_rank.map_or(0, to_unsigned),
    })
}
