//! Published events about participations, by segment and by id: for the comparison with the records of a topic.

use std::collections::BTreeMap;

use super::sums::{RowSelection, count, on};
use super::{SEGMENT_RANKS, Segment, Snapshot, digest};
use crate::domain::{CampaignId, EventId};
use crate::parts::store::StoreError;
use crate::parts::store::numbers::{to_signed, to_unsigned};
use crate::parts::store::sql::Sql;

/// Rows read by one statement.
const PAGE_ROWS_MAX: u32 = 10_000;

/// The sums of a set of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventSums {
    /// Their number.
    pub events: u64,
    /// The digest of their changes.
    pub changes: i64,
    /// The sum of the checksums of their ids.
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
}

/// An event about a participation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventRow {
    /// Its id.
    pub id: EventId,
    /// Its number in the stream of the campaign, from 1.
    pub position: u64,
    /// Rank of the participation.
    pub rank: u64,
    /// Position among the changes of the participation, from 1.
    pub sequence: u32,
    /// Whether it is pending or parked.
    pub waits: bool,
}

/// Events of a stream, `e`, with the position, `o`, and the parked row, `k`, if there is one.
const EVENTS: &str = " FROM outbox_event e LEFT JOIN outbox_position o ON o.campaign_id = e.campaign_id \
     LEFT JOIN outbox_parked k ON k.campaign_id = e.campaign_id AND k.topic = e.aggregatetype \
     AND k.sequence = e.sequence AND k.state <> 'acknowledged' WHERE e.aggregatetype = 'participation' \
     AND e.`rank` IS NOT NULL AND ";
/// Whether an event was published.
const IS_PUBLISHED: &str = "(e.sequence <= COALESCE(o.published, 0) AND k.sequence IS NULL)";

impl Snapshot {
    /// The sums of existing published events of a campaign, by number of segment.
    pub async fn published(
        &self,
        campaign: CampaignId,
    ) -> Result<BTreeMap<u64, EventSums>, StoreError> {
        if self.store.is_embedded() {
            return self.published_one_by_one(campaign).await;
        }
        let mut sql = self.store.sql("");
        sums(&mut sql).push(EVENTS).push(IS_PUBLISHED).push(" AND ");
        on(&mut sql, "e", RowSelection::Whole(&[campaign])).push(" GROUP BY segment");
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
        for event in self.events(RowSelection::Whole(&[campaign])).await? {
            if !event.waits {
                let number = Segment::of(campaign, event.rank).number;
                let sums = published.entry(number).or_default();
                sums.add(event.rank, event.sequence, event.id);
            }
        }
        Ok(published)
    }

    /// The events of a segment, in order of rank and change.
    pub async fn events_within(&self, segment: Segment) -> Result<Vec<EventRow>, StoreError> {
        self.events(RowSelection::Within(segment)).await
    }

    /// The events of one campaign, in order of rank and change. They are read in the order of the stream, page by page.
    async fn events(&self, selection: RowSelection<'_>) -> Result<Vec<EventRow>, StoreError> {
        let mut events: Vec<EventRow> = Vec::new();
        let mut after = 0;
        loop {
            let mut sql = self
                .store
                .sql("SELECT e.sequence, e.id, e.`rank`, e.key_sequence, CASE WHEN ");
            sql.push(IS_PUBLISHED)
                .push(" THEN 0 ELSE 1 END AS waits")
                .push(EVENTS);
            on(&mut sql, "e", selection)
                .push(" AND e.sequence > ")
                .bind(after);
            sql.push(" ORDER BY e.sequence LIMIT ").bind(PAGE_ROWS_MAX);
            let rows = sql.rows(&self.tx).await?;
            for row in &rows {
                after = row.try_get::<i64>("", "sequence")?;
                let change: i64 = row.try_get("", "key_sequence")?;
                events.push(EventRow {
                    id: EventId(row.try_get("", "id")?),
                    position: to_unsigned(after),
                    rank: to_unsigned(row.try_get("", "rank")?),
                    sequence: u32::try_from(change).unwrap_or_default(),
                    waits: row.try_get::<i64>("", "waits")? != 0,
                });
            }
            if u32::try_from(rows.len()).unwrap_or(u32::MAX) < PAGE_ROWS_MAX {
                events.sort_unstable_by_key(|event| (event.rank, event.sequence));
                return Ok(events);
            }
        }
    }
}

/// Appends the sums by segment.
fn sums(sql: &mut Sql) -> &mut Sql {
    sql.push("SELECT CAST(GREATEST(e.`rank` - 1, 0) DIV ")
        .bind(to_signed(SEGMENT_RANKS))
        .push(" AS SIGNED) AS segment, COUNT(*) AS events, CAST(SUM(")
        .push(digest::OF_EVENT)
        .push(") AS SIGNED) AS digest, CAST(SUM(CRC32(e.id)) AS SIGNED) AS ids")
}

/// The same checksum as in `MySQL`.
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
        // The check value of CRC-32/ISO-HDLC, and the value of CRC32('MySQL') in MySQL's manual.
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(b"MySQL"), 3_259_397_556);
    }
}
