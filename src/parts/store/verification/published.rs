//! Events about participations that were published, by segment and by id: to be compared with the records of
//! a topic.

use std::collections::BTreeMap;

use super::sums::{Ground, count, on};
use super::{SEGMENT_RANKS, Segment, Snapshot, digest};
use crate::domain::{CampaignId, EventId};
use crate::parts::store::StoreError;
use crate::parts::store::numbers::{to_signed, to_unsigned};
use crate::parts::store::sql::Sql;

/// Rows read by one statement.
const PAGE_ROWS_MAX: u32 = 10_000;

/// What some events sum up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventSums {
    /// How many there are.
    pub events: u64,
    /// Which changes they are about: the digest of verification.
    pub changes: i64,
    /// Which events they are: the checksums of their ids, added up.
    pub ids: i64,
}

impl EventSums {
    /// Adds an event about change `sequence` of the participation with this rank.
    pub fn add(&mut self, rank: u64, sequence: u32, id: EventId) {
        self.events += 1;
        let weight = digest::of_event(to_signed(rank), i64::from(sequence));
        self.changes = self.changes.wrapping_add(weight);
        self.ids += i64::from(crc32(id.0.as_bytes()));
    }

    fn without(self, other: Self) -> Self {
        Self {
            events: self.events.saturating_sub(other.events),
            changes: self.changes.wrapping_sub(other.changes),
            ids: self.ids - other.ids,
        }
    }
}

/// An event about a participation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventRow {
    /// Its id.
    pub id: EventId,
    /// Rank of the participation.
    pub rank: u64,
    /// Position among the changes of the participation, from 1.
    pub sequence: u32,
    /// Whether it is pending or parked.
    pub waits: bool,
}

/// Where an event waits.
const WAITING: [&str; 2] = ["outbox_pending", "outbox_parked"];

impl Snapshot {
    /// The sums of published events of a campaign that are not deleted, by number of segment.
    pub async fn published(
        &self,
        campaign: CampaignId,
    ) -> Result<BTreeMap<u64, EventSums>, StoreError> {
        if self.store.is_embedded() {
            return self.published_one_by_one(campaign).await;
        }
        let mut sql = self.store.sql("");
        sums(&mut sql).push(" FROM outbox_event e ");
        self.by(&mut sql, "event_change").push(" WHERE ");
        on(&mut sql, "e", Ground::Whole(&[campaign]));
        let mut published = self.grouped(&mut sql).await?;
        for table in WAITING {
            let mut sql = self.store.sql("");
            sums(&mut sql).push(" FROM ").push(table);
            sql.push(" w JOIN outbox_event e ON e.id = w.event_id WHERE w.campaign_id = ");
            sql.bind(campaign.0);
            for (segment, waiting) in self.grouped(&mut sql).await? {
                let sums = published.entry(segment).or_default();
                *sums = sums.without(waiting);
            }
        }
        Ok(published)
    }

    async fn grouped(&self, sql: &mut Sql) -> Result<BTreeMap<u64, EventSums>, StoreError> {
        sql.push(" AND e.`rank` IS NOT NULL GROUP BY segment");
        let rows = sql.rows(&self.tx).await?;
        rows.iter()
            .map(|row| {
                let sums = EventSums {
                    events: count(row, "events")?,
                    changes: row.try_get("", "digest")?,
                    ids: row.try_get("", "ids")?,
                };
                Ok((count(row, "segment")?, sums))
            })
            .collect()
    }

    /// `SQLite` has no checksums.
    async fn published_one_by_one(
        &self,
        campaign: CampaignId,
    ) -> Result<BTreeMap<u64, EventSums>, StoreError> {
        let mut published: BTreeMap<u64, EventSums> = BTreeMap::new();
        let mut after = None;
        loop {
            let page = self.told(Ground::Whole(&[campaign]), after).await?;
            let Some(last) = page.last() else {
                return Ok(published);
            };
            after = Some((last.rank, last.sequence));
            for told in page.iter().filter(|told| !told.waits) {
                let number = Segment::of(campaign, told.rank).number;
                let sums = published.entry(number).or_default();
                sums.add(told.rank, told.sequence, told.id);
            }
        }
    }

    /// The events of a segment.
    pub async fn events_within(&self, segment: Segment) -> Result<Vec<EventRow>, StoreError> {
        let mut events: Vec<EventRow> = Vec::new();
        loop {
            let after = events.last().map(|last| (last.rank, last.sequence));
            let page = self.told(Ground::Within(segment), after).await?;
            if page.is_empty() {
                return Ok(events);
            }
            events.extend(page);
        }
    }

    /// A page of events in order of rank and sequence, of one campaign.
    async fn told(
        &self,
        ground: Ground<'_>,
        after: Option<(u64, u32)>,
    ) -> Result<Vec<EventRow>, StoreError> {
        let mut sql = self.store.sql("SELECT e.id, e.`rank`, e.key_sequence, \
             CASE WHEN w.event_id IS NULL AND k.event_id IS NULL THEN 0 ELSE 1 END AS waits FROM outbox_event e ");
        self.by(&mut sql, "event_change").push(
            " LEFT JOIN outbox_pending w ON w.bucket = e.bucket AND w.event_id = e.id \
             LEFT JOIN outbox_parked k ON k.event_id = e.id WHERE ",
        );
        on(&mut sql, "e", ground).push(" AND e.`rank` IS NOT NULL");
        if let Some((rank, sequence)) = after {
            let rank = to_signed(rank);
            sql.push(" AND e.`rank` >= ").bind(rank);
            sql.push(" AND (e.`rank` > ").bind(rank);
            sql.push(" OR e.key_sequence > ").bind(sequence).push(")");
        }
        sql.push(" ORDER BY e.campaign_id, e.`rank`, e.key_sequence LIMIT ");
        let rows = sql.bind(PAGE_ROWS_MAX).rows(&self.tx).await?;
        rows.iter()
            .map(|row| {
                let sequence: i64 = row.try_get("", "key_sequence")?;
                Ok(EventRow {
                    id: EventId(row.try_get("", "id")?),
                    rank: to_unsigned(row.try_get("", "rank")?),
                    sequence: u32::try_from(sequence).unwrap_or_default(),
                    waits: row.try_get::<i64>("", "waits")? != 0,
                })
            })
            .collect()
    }
}

/// Appends what is summed up, by segment.
fn sums(sql: &mut Sql) -> &mut Sql {
    sql.push("SELECT CAST(GREATEST(e.`rank` - 1, 0) DIV ")
        .bind(to_signed(SEGMENT_RANKS))
        .push(" AS SIGNED) AS segment, COUNT(*) AS events, CAST(SUM(")
        .push(digest::OF_EVENT)
        .push(") AS SIGNED) AS digest, CAST(SUM(CRC32(e.id)) AS SIGNED) AS ids")
}

/// The checksum that `MySQL` takes, too.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            let feedback = if crc & 1 == 1 { 0xedb8_8320 } else { 0 };
            crc = (crc >> 1) ^ feedback;
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::crc32;

    #[test]
    fn the_checksum_is_the_one_of_mysql() {
        // The check value of CRC-32/ISO-HDLC, and what MySQL's manual has for CRC32('MySQL').
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(b"MySQL"), 3_259_397_556);
    }
}
