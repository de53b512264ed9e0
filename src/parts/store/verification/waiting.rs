//! Waiting events, and whether their entries are correct.

use std::collections::BTreeMap;

use super::sums::{campaign, count};
use super::{CampaignCounters, Snapshot};
use crate::domain::{CampaignId, Topic};
use crate::parts::store::{Store, StoreError};

/// The unpublished events of a campaign.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Events about participations after the position that are not parked, and held ones.
    pub pending: u64,
    /// Parked and unpublished events, in any other state.
    pub parked: u64,
    /// Unpublished events about the campaign itself, parked or not.
    pub of_campaign: u64,
    /// Unpublished events about orders, parked or not.
    pub of_orders: u64,
    /// Parked rows without an event, or with a different one.
    pub astray: u64,
}

const PARKED: &str = "SELECT w.campaign_id, w.topic, \
     COUNT(CASE WHEN w.state = 'held' THEN 1 END) AS held, \
     COUNT(CASE WHEN w.state NOT IN ('held', 'acknowledged') THEN 1 END) AS parked, \
     COUNT(CASE WHEN w.sequence > COALESCE(CASE w.topic WHEN 'campaign' THEN o.campaign_published \
     WHEN 'order' THEN o.order_published ELSE o.published END, 0) THEN 1 END) AS behind, \
     COUNT(CASE WHEN e.id IS NULL OR e.id <> w.event_id THEN 1 END) AS astray \
     FROM outbox_parked w LEFT JOIN outbox_event e ON e.campaign_id = w.campaign_id \
     AND e.aggregatetype = w.topic AND e.sequence = w.sequence \
     LEFT JOIN outbox_position o ON o.campaign_id = w.campaign_id";

/// The parked rows of a campaign.
#[derive(Clone, Copy, Debug, Default)]
struct ParkedRows {
    held: u64,
    parked: u64,
    behind: u64,
    of_campaign: u64,
    of_campaign_behind: u64,
    of_orders: u64,
    of_orders_behind: u64,
    astray: u64,
}

/// A published later event, `l`, of the participation of a waiting one, `e`.
pub(super) const OVERTAKING: &str = "FROM outbox_parked w \
     JOIN outbox_event e ON e.campaign_id = w.campaign_id AND e.aggregatetype = w.topic AND e.sequence = w.sequence \
     JOIN participation p ON p.campaign_id = e.campaign_id AND p.`rank` = e.`rank` AND p.version > e.key_sequence \
     JOIN outbox_position o ON o.campaign_id = w.campaign_id \
     JOIN outbox_event l ON l.campaign_id = e.campaign_id AND l.aggregatetype = e.aggregatetype \
     AND l.sequence > e.sequence AND l.sequence <= o.published AND l.`rank` = e.`rank` AND l.key_sequence > e.key_sequence \
     LEFT JOIN outbox_parked k ON k.campaign_id = l.campaign_id AND k.topic = l.aggregatetype \
     AND k.sequence = l.sequence AND k.state <> 'acknowledged' \
     WHERE w.topic = 'participation' AND w.state IN ('retry', 'waiting', 'blocked', 'held') AND k.sequence IS NULL";

impl Snapshot {
    /// The parked rows of the campaigns with numbers from `first` to `last`.
    async fn parked(
        &self,
        first: CampaignId,
        last: CampaignId,
    ) -> Result<BTreeMap<CampaignId, ParkedRows>, StoreError> {
        let mut sql = self.store.sql(PARKED);
        sql.push(" WHERE w.campaign_id BETWEEN ").bind(first.0);
        sql.push(" AND ").bind(last.0);
        sql.push(" GROUP BY w.campaign_id, w.topic");
        let mut parked: BTreeMap<CampaignId, ParkedRows> = BTreeMap::new();
        for row in &sql.rows(&self.tx).await? {
            let of = parked.entry(campaign(row)?).or_default();
            of.astray += count(row, "astray")?;
            let topic: String = row.try_get("", "topic")?;
            if topic == Topic::Campaign.as_str() {
                of.of_campaign = count(row, "parked")?;
                of.of_campaign_behind = count(row, "behind")?;
            } else if topic == Topic::Order.as_str() {
                of.of_orders = count(row, "parked")?;
                of.of_orders_behind = count(row, "behind")?;
            } else {
                of.held += count(row, "held")?;
                of.parked += count(row, "parked")?;
                of.behind += count(row, "behind")?;
            }
        }
        Ok(parked)
    }

    /// The unpublished events of these campaigns, from their positions and parked rows.
    pub async fn waiting(
        &self,
        counters: &[CampaignCounters],
    ) -> Result<BTreeMap<CampaignId, Waiting>, StoreError> {
        let ids = || counters.iter().map(|counters| counters.id);
        let (Some(first), Some(last)) = (ids().min(), ids().max()) else {
            return Ok(BTreeMap::new());
        };
        let mut parked = self.parked(first, last).await?;
        let waiting = counters.iter().map(|counters| {
            let parked = parked.remove(&counters.id).unwrap_or_default();
            let behind = counters.event_sequence.saturating_sub(counters.published);
            let of_campaign = counters
                .campaign_events
                .saturating_sub(counters.campaign_published);
            let of_orders = counters
                .order_events
                .saturating_sub(counters.order_published);
            let waiting = Waiting {
                pending: parked.held + behind.saturating_sub(parked.behind),
                parked: parked.parked,
                of_campaign: parked.of_campaign
                    + of_campaign.saturating_sub(parked.of_campaign_behind),
                of_orders: parked.of_orders + of_orders.saturating_sub(parked.of_orders_behind),
                astray: parked.astray,
            };
            (counters.id, waiting)
        });
        Ok(waiting.collect())
    }

    /// The number of events of these campaigns that were published while an earlier one of their participation waits
    /// and should block them.
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
    /// Ids of missing campaigns that rows refer to, with the kind of row. A campaign is written before its rows, so a
    /// new campaign is not among them.
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
