//! Waiting events, and whether their entries are correct.

use std::collections::BTreeMap;

use super::Snapshot;
use super::sums::{campaign, count};
use crate::domain::CampaignId;
use crate::parts::store::{Store, StoreError};

/// Waiting entries of a campaign.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// To be published.
    pub pending: u64,
    /// Outside the hot path, in whatever state.
    pub parked: u64,
    /// Of those two, entries about the campaign itself and not about a participation.
    pub of_campaign: u64,
    /// Entries without an event, with one of another campaign, or in another bucket than its event's.
    pub astray: u64,
    /// Events that are pending and parked at once.
    pub twice: u64,
}

const PENDING: &str = "SELECT w.campaign_id, COUNT(*) AS entries, 0 AS twice, \
     COUNT(CASE WHEN e.id IS NULL OR e.campaign_id <> w.campaign_id OR e.bucket <> w.bucket THEN 1 END) AS astray, \
     COUNT(CASE WHEN e.id IS NOT NULL AND e.`rank` IS NULL THEN 1 END) AS of_campaign \
     FROM outbox_pending w LEFT JOIN outbox_event e ON e.id = w.event_id";
const PARKED: &str = "SELECT w.campaign_id, COUNT(*) AS entries, COUNT(o.event_id) AS twice, \
     COUNT(CASE WHEN e.id IS NULL OR e.campaign_id <> w.campaign_id OR e.bucket <> w.bucket THEN 1 END) AS astray, \
     COUNT(CASE WHEN e.id IS NOT NULL AND e.`rank` IS NULL THEN 1 END) AS of_campaign \
     FROM outbox_parked w LEFT JOIN outbox_event e ON e.id = w.event_id \
     LEFT JOIN outbox_pending o ON o.bucket = w.bucket AND o.event_id = w.event_id";

/// A later event, `l`, of the participation of one that waits, `e`, and that does not wait itself.
pub(super) const OVERTAKING: &str = "JOIN outbox_event e ON e.id = w.event_id \
     JOIN outbox_event l ON l.campaign_id = e.campaign_id AND l.`rank` = e.`rank` \
     AND l.key_sequence > e.key_sequence \
     LEFT JOIN outbox_pending lp ON lp.bucket = l.bucket AND lp.event_id = l.id \
     LEFT JOIN outbox_parked lk ON lk.event_id = l.id \
     WHERE lp.event_id IS NULL AND lk.event_id IS NULL";
/// Where an event can wait that holds later ones back.
pub(super) const HOLDING_BACK: [(&str, &str); 2] = [
    ("outbox_pending", ""),
    ("outbox_parked", " AND w.state IN ('retry', 'blocked')"),
];

impl Snapshot {
    /// What waits of the campaigns numbered from `first` to `last`.
    pub async fn waiting(
        &self,
        first: CampaignId,
        last: CampaignId,
    ) -> Result<BTreeMap<CampaignId, Waiting>, StoreError> {
        let mut waiting: BTreeMap<CampaignId, Waiting> = BTreeMap::new();
        for (select, is_pending) in [(PENDING, true), (PARKED, false)] {
            let mut sql = self.store.sql(select);
            sql.push(" WHERE w.campaign_id BETWEEN ").bind(first.0);
            sql.push(" AND ").bind(last.0);
            sql.push(" GROUP BY w.campaign_id");
            for row in sql.rows(&self.tx).await? {
                let of = waiting.entry(campaign(&row)?).or_default();
                let entries = count(&row, "entries")?;
                if is_pending {
                    of.pending = entries;
                } else {
                    of.parked = entries;
                }
                of.of_campaign += count(&row, "of_campaign")?;
                of.astray += count(&row, "astray")?;
                of.twice += count(&row, "twice")?;
            }
        }
        Ok(waiting)
    }

    /// How many events of these campaigns were published while an earlier one of their participation
    /// waits and should hold them back.
    pub async fn overtaking(
        &self,
        first: CampaignId,
        last: CampaignId,
    ) -> Result<BTreeMap<CampaignId, u64>, StoreError> {
        let mut found: BTreeMap<CampaignId, u64> = BTreeMap::new();
        for (table, which) in HOLDING_BACK {
            let mut sql = self
                .store
                .sql("SELECT e.campaign_id, COUNT(DISTINCT l.id) AS events FROM ");
            sql.push(table).push(" w ").push(OVERTAKING).push(which);
            sql.push(" AND w.campaign_id BETWEEN ").bind(first.0);
            sql.push(" AND ").bind(last.0);
            sql.push(" GROUP BY e.campaign_id");
            for row in sql.rows(&self.tx).await? {
                *found.entry(campaign(&row)?).or_default() += count(&row, "events")?;
            }
        }
        Ok(found)
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
            ("outbox_pending", "pending entries"),
            ("outbox_parked", "parked entries"),
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
