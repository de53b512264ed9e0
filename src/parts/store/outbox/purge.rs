//! Deletes events whose time is over, a bounded range of a stream at once. An event may go when it is older
//! than asked for, its stream's position has passed it, it is not parked in any state, and its campaign is over for
//! good. Never deletes what is still to be published, what somebody may still ask about, or anything
//! without accounting for it: the campaign's row counts what is gone, and `purged_segment` where in the
//! campaign it was, in the same transaction.
//!
//! Nothing is locked while candidates are looked for, and the answer cannot get wrong: an event that is published
//! never waits again, and a campaign that is closed never opens again.

use std::collections::BTreeMap;
use std::time::Duration;

use super::place;
use crate::domain::{CampaignId, Instant, LogPlace, State};
use crate::parts::store::bounded::Tx;
use crate::parts::store::entity::purged_segment;
use crate::parts::store::numbers::{to_signed, to_unsigned};
use crate::parts::store::shapes::padded;
use crate::parts::store::verification::{Purged, Segment, weight_of_event};
use crate::parts::store::{Store, StoreError};

/// An event that may be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Purgeable {
    /// Where it is; its campaign is over.
    pub place: LogPlace,
    /// When the event was written.
    pub created_at: Instant,
    /// By when the campaign was over, at the latest.
    pub over_at: Instant,
}

/// A range of a stream, in order of sequence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PurgePage {
    /// What may be deleted of it.
    pub purgeable: Vec<Purgeable>,
    /// Number of events read.
    pub rows: u32,
    /// Where to go on; none: there are no more streams.
    pub last: Option<LogPlace>,
}

/// The stream of a campaign that is over.
struct StreamOver {
    campaign: CampaignId,
    published: i64,
    over_at: Instant,
}

/// The campaigns that can sell nothing any more.
const OVER: [&str; 2] = [State::Closed.as_str(), State::Archived.as_str()];

/// Where events are accounted for that are about a campaign and have no rank.
const OF_NO_SEGMENT: i64 = -1;

impl Store {
    /// Looks at the next `rows_max` published events of one stream after `after`, whether they may be deleted or not:
    /// so one call reads a bounded number of rows, and the caller need not look again at those that have to stay. A
    /// stream is in order of time, so what follows an event that is too young is left out. How old an event is, the
    /// database's clock says.
    pub async fn purgeable(
        &self,
        after: Option<LogPlace>,
        age: Duration,
        rows_max: u32,
    ) -> Result<PurgePage, StoreError> {
        let (campaign, from) = after.map_or((CampaignId(0), None), |after| {
            // Where the rest of a stream is too young, the next one is looked at.
            (
                after.campaign,
                (after.sequence < u64::MAX).then_some(after.sequence),
            )
        });
        if let Some(from) = from
            && let Some(stream) = self.stream_over(campaign, "=").await?
        {
            let page = self.purge_page(&stream, from, age, rows_max).await?;
            if page.rows > 0 {
                return Ok(page);
            }
        }
        match self.stream_over(campaign, ">").await? {
            Some(stream) => self.purge_page(&stream, 0, age, rows_max).await,
            None => Ok(PurgePage::default()),
        }
    }

    /// The first stream, in order of campaign, that is of a campaign that is over, has published events, and is this
    /// one or one behind it.
    async fn stream_over(
        &self,
        campaign: CampaignId,
        comparison: &str,
    ) -> Result<Option<StreamOver>, StoreError> {
        let mut sql = self.sql("SELECT c.id, o.published, c.updated_at FROM campaign c ");
        sql.push("JOIN outbox_position o ON o.campaign_id = c.id WHERE c.state IN ")
            .list(OVER)
            .push(" AND c.id ")
            .push(comparison)
            .push(" ")
            .bind(campaign.0)
            .push(" AND EXISTS (SELECT 1 FROM outbox_event e WHERE e.campaign_id = c.id ")
            .push("AND e.sequence <= o.published) ORDER BY c.id LIMIT 1");
        let rows = sql.rows(&self.db).await?;
        let stream = rows.first().map(|row| {
            Ok(StreamOver {
                campaign: CampaignId(row.try_get("", "id")?),
                published: row.try_get("", "published")?,
                over_at: row.try_get("", "updated_at")?,
            })
        });
        stream.transpose()
    }

    async fn purge_page(
        &self,
        stream: &StreamOver,
        from: u64,
        age: Duration,
        rows_max: u32,
    ) -> Result<PurgePage, StoreError> {
        let mut sql = self.sql("SELECT e.campaign_id, e.sequence, e.created_at, ");
        sql.push(
            "CASE WHEN p.sequence IS NULL THEN 1 ELSE 0 END AS may_go, CASE WHEN e.created_at < ",
        )
        .before(age)
        .push(" THEN 1 ELSE 0 END AS is_old FROM outbox_event e LEFT JOIN outbox_parked p ")
        .push("ON p.campaign_id = e.campaign_id AND p.sequence = e.sequence ")
        .push("WHERE e.campaign_id = ")
        .bind(stream.campaign.0)
        .push(" AND e.sequence > ")
        .bind(to_signed(from))
        .push(" AND e.sequence <= ")
        .bind(stream.published)
        .push(" ORDER BY e.sequence LIMIT ")
        .bind(rows_max);
        let rows = sql.rows(&self.db).await?;
        let mut page = PurgePage {
            rows: u32::try_from(rows.len()).unwrap_or(rows_max),
            ..PurgePage::default()
        };
        for row in &rows {
            let place = place(row)?;
            page.last = Some(place);
            if row.try_get::<i64>("", "is_old")? == 0 {
                // So are those behind it: on to the next stream.
                page.last = Some(LogPlace {
                    sequence: u64::MAX,
                    ..place
                });
                break;
            }
            if row.try_get::<i64>("", "may_go")? != 0 {
                page.purgeable.push(Purgeable {
                    place,
                    created_at: row.try_get("", "created_at")?,
                    over_at: stream.over_at,
                });
            }
        }
        Ok(page)
    }

    /// Deletes these events and counts them at their campaigns, in one transaction: how many there
    /// were. Those that somebody else deleted first are counted by them alone. When one of the
    /// campaigns turns out not to be over, nothing is deleted.
    pub async fn purge(&self, events: &[Purgeable]) -> Result<u64, StoreError> {
        let mut by_campaign: BTreeMap<CampaignId, Vec<i64>> = BTreeMap::new();
        for event in events {
            let sequences = by_campaign.entry(event.place.campaign).or_default();
            sequences.push(to_signed(event.place.sequence));
        }
        let transaction = self.begin().await?;
        let mut purged = 0;
        // Always in this order, so that concurrent callers cannot deadlock.
        for (campaign, sequences) in by_campaign {
            let gone = self.segments_of(&transaction, campaign, &sequences).await?;
            let mut sql = self.sql(&self.db.delete_by_key("outbox_event"));
            let deleted = sql
                .push(" WHERE campaign_id = ")
                .bind(campaign.0)
                .push(" AND sequence IN ")
                .list(padded(&sequences))
                .run(&transaction)
                .await?;
            if deleted == 0 {
                continue;
            }
            let mut sql = self.sql("UPDATE campaign SET purged_events = purged_events + ");
            sql.bind(i64::try_from(deleted).unwrap_or(i64::MAX));
            sql.push(" WHERE id = ").bind(campaign.0);
            sql.push(" AND state IN ").list(OVER);
            if sql.run(&transaction).await? != 1 {
                transaction.rollback().await?;
                return Ok(0);
            }
            self.account(&transaction, &gone).await?;
            purged += deleted;
        }
        transaction.commit().await?;
        Ok(purged)
    }

    /// Where in the campaign those of `ids` are that are still there, locked, so that nobody else
    /// deletes and accounts for them.
    async fn segments_of(
        &self,
        transaction: &Tx,
        campaign: CampaignId,
        sequences: &[i64],
    ) -> Result<BTreeMap<(CampaignId, i64), Purged>, StoreError> {
        let events = self.db.by_index("outbox_event", "PRIMARY");
        let mut sql = self.sql("SELECT `rank`, key_sequence FROM ");
        sql.push(&events)
            .push(" WHERE campaign_id = ")
            .bind(campaign.0)
            .push(" AND sequence IN ")
            .list(padded(sequences));
        // SQLite has one writer, and this is it.
        if !self.is_embedded() {
            sql.push(" FOR UPDATE");
        }
        let mut gone: BTreeMap<_, Purged> = BTreeMap::new();
        for row in sql.rows(transaction).await? {
            let (mut segment, mut digest) = (OF_NO_SEGMENT, 0);
            if let Some(rank) = row.try_get::<Option<i64>>("", "rank")? {
                let number = Segment::of(campaign, to_unsigned(rank)).number;
                segment = to_signed(number);
                digest = weight_of_event(rank, row.try_get("", "key_sequence")?);
            }
            let of = gone.entry((campaign, segment)).or_default();
            of.events += 1;
            of.digest += digest;
        }
        Ok(gone)
    }

    /// Adds to what each segment is known to have lost: verification sets it against the changes.
    async fn account(
        &self,
        transaction: &Tx,
        gone: &BTreeMap<(CampaignId, i64), Purged>,
    ) -> Result<(), StoreError> {
        for ((campaign, segment), purged) in gone {
            let mut sql = self.sql("INSERT INTO purged_segment VALUES (");
            let numbers = [
                *segment,
                i64::try_from(purged.events).unwrap_or(i64::MAX),
                purged.digest,
            ];
            sql.bind(campaign.0);
            for number in numbers {
                sql.push(",").bind(number);
            }
            sql.push(")").or_add::<purged_segment::Entity>();
            sql.run(transaction).await?;
        }
        Ok(())
    }
}
