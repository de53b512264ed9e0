//! Waiting events, and whether their entries are correct.

use std::collections::BTreeMap;

use super::sums::{campaign, count};
use super::{Books, Snapshot};
use crate::domain::CampaignId;
use crate::parts::store::{Store, StoreError};

/// The parked rows of a campaign.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Events behind the position that are not parked, and held ones.
    pub pending: u64,
    /// Parked, and not published: in whatever other state.
    pub parked: u64,
    /// Of the parked ones, events about the campaign itself and not about a participation.
    pub of_campaign: u64,
    /// Rows without an event, or with another one.
    pub astray: u64,
}

const PARKED: &str = "SELECT w.campaign_id, \
     COUNT(CASE WHEN w.state = 'held' THEN 1 END) AS held, \
     COUNT(CASE WHEN w.state NOT IN ('held', 'acknowledged') THEN 1 END) AS parked, \
     COUNT(CASE WHEN w.sequence > COALESCE(o.published, 0) THEN 1 END) AS behind, \
     COUNT(CASE WHEN e.id IS NULL OR e.id <> w.event_id THEN 1 END) AS astray, \
     COUNT(CASE WHEN e.id IS NOT NULL AND e.`rank` IS NULL THEN 1 END) AS of_campaign \
     FROM outbox_parked w LEFT JOIN outbox_event e ON e.campaign_id = w.campaign_id AND e.sequence = w.sequence \
     LEFT JOIN outbox_position o ON o.campaign_id = w.campaign_id";

/// A later event, `l`, of the participation of one that waits, `e`, that is published.
pub(super) const OVERTAKING: &str = "FROM outbox_parked w \
     JOIN outbox_event e ON e.campaign_id = w.campaign_id AND e.sequence = w.sequence \
     JOIN participation p ON p.campaign_id = e.campaign_id AND p.`rank` = e.`rank` AND p.version > e.key_sequence \
     JOIN outbox_position o ON o.campaign_id = w.campaign_id \
     JOIN outbox_event l ON l.campaign_id = e.campaign_id AND l.sequence > e.sequence \
     AND l.sequence <= o.published AND l.`rank` = e.`rank` AND l.key_sequence > e.key_sequence \
     LEFT JOIN outbox_parked k ON k.campaign_id = l.campaign_id AND k.sequence = l.sequence \
     AND k.state <> 'acknowledged' \
     WHERE w.state IN ('retry', 'waiting', 'blocked', 'held') AND k.sequence IS NULL";

impl Snapshot {
    /// What waits of the campaigns numbered from `first` to `last`; pending events without those behind the position.
    async fn parked(
        &self,
        first: CampaignId,
        last: CampaignId,
    ) -> Result<BTreeMap<CampaignId, (Waiting, u64)>, StoreError> {
        let mut sql = self.store.sql(PARKED);
        sql.push(" WHERE w.campaign_id BETWEEN ").bind(first.0);
        sql.push(" AND ").bind(last.0);
        sql.push(" GROUP BY w.campaign_id");
        let rows = sql.rows(&self.tx).await?;
        rows.iter()
            .map(|row| {
                let waiting = Waiting {
                    pending: count(row, "held")?,
                    parked: count(row, "parked")?,
                    of_campaign: count(row, "of_campaign")?,
                    astray: count(row, "astray")?,
                };
                Ok((campaign(row)?, (waiting, count(row, "behind")?)))
            })
            .collect()
    }

    /// What waits of these campaigns, by their positions and parked rows.
    pub async fn waiting(
        &self,
        books: &[Books],
    ) -> Result<BTreeMap<CampaignId, Waiting>, StoreError> {
        let ids = || books.iter().map(|books| books.id);
        let (Some(first), Some(last)) = (ids().min(), ids().max()) else {
            return Ok(BTreeMap::new());
        };
        let mut parked = self.parked(first, last).await?;
        let waiting = books.iter().map(|books| {
            let (mut waiting, parked_behind) = parked.remove(&books.id).unwrap_or_default();
            let behind = books.event_sequence.saturating_sub(books.published);
            waiting.pending += behind.saturating_sub(parked_behind);
            (books.id, waiting)
        });
        Ok(waiting.collect())
    }

    /// How many events of these campaigns were published while an earlier one of their participation
    /// waits and should hold them back.
    pub async fn overtaking(
        &self,
        first: CampaignId,
        last: CampaignId,
    ) -> Result<BTreeMap<CampaignId, u64>, StoreError> {
        let mut sql = self
            .store
            .sql("SELECT e.campaign_id, COUNT(DISTINCT l.sequence) AS events ");
        sql.push(OVERTAKING);
        sql.push(" AND w.campaign_id BETWEEN ").bind(first.0);
        sql.push(" AND ").bind(last.0);
        sql.push(" GROUP BY e.campaign_id");
        let rows = sql.rows(&self.tx).await?;
        rows.iter()
            .map(|row| Ok((campaign(row)?, count(row, "events")?)))
            .collect()
    }
}

impl Store {
    /// Numbers of missing campaigns that rows refer to, with the kind of rows. A campaign is written before its
    /// rows, so a new one is not among them.
    pub async fn rows_without_campaign(
        &self,
    ) -> Result<Vec<(CampaignId, &'static str)>, StoreError> {
        let mut found = Vec::new();
        for (table, what) in [
            ("participation", "participations"),
            ("outbox_event", "events"),
            ("outbox_position", "positions"),
            ("outbox_parked", "parked events"),
        ] {
            let mut sql = self.sql("SELECT d.campaign_id FROM (SELECT DISTINCT ");
            sql.push("campaign_id FROM ").push(table);
            sql.push(") d LEFT JOIN campaign c ON c.id = d.campaign_id WHERE c.id IS NULL");
            for row in sql.rows(&self.db).await? {
                found.push((campaign(&row)?, what));
            }
        }
        Ok(found)
    }
}
