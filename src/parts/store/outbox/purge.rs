//! Deletes events whose time is over, a bounded number at once. An event may go when it is older
//! than asked for, is neither pending nor parked in any state, and its campaign is over for good.
//! Never deletes what is still to be published, what somebody may still ask about, or anything
//! without accounting for it: the campaign's row counts what is gone, and `purged_segment` where in the
//! campaign it was, in the same transaction.
//!
//! Nothing is locked while candidates are looked for, and the answer cannot get wrong: an event that
//! is neither pending nor parked never is again, and a campaign that is closed never opens again.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::TimeDelta;
use sea_orm::QueryResult;
use uuid::Uuid;

use crate::domain::{CampaignId, EventId, Instant, State};
use crate::parts::store::bounded::Tx;
use crate::parts::store::entity::purged_segment;
use crate::parts::store::numbers::{to_signed, to_unsigned};
use crate::parts::store::shapes::padded;
use crate::parts::store::verification::{Purged, Segment, weight_of_event};
use crate::parts::store::{Store, StoreError};

/// An event that may be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Purgeable {
    /// The event.
    pub event_id: EventId,
    /// Its campaign, which is over.
    pub campaign_id: CampaignId,
    /// When the event was written.
    pub created_at: Instant,
    /// By when the campaign was over, at the latest.
    pub over_at: Instant,
}

/// A stretch of the outbox, in order of event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PurgePage {
    /// What may be deleted of it.
    pub purgeable: Vec<Purgeable>,
    /// Number of events read.
    pub rows: u32,
    /// The last of them; none: there are no more.
    pub last: Option<EventId>,
}

/// The campaigns that can sell nothing any more.
const OVER: [&str; 2] = [State::Closed.as_str(), State::Archived.as_str()];

/// Where events are accounted for that are about a campaign and have no rank.
const OF_NO_SEGMENT: i64 = -1;

impl Store {
    /// Looks at the next `rows_max` events after `after` whose ids were made longer ago than `age`, whether
    /// they may be deleted or not: so one call reads a bounded number of rows, and the caller need
    /// not look again at those that have to stay. Ids are in order of time. How old an event is, the
    /// database's clock says.
    pub async fn purgeable(
        &self,
        after: Option<EventId>,
        age: Duration,
        rows_max: u32,
    ) -> Result<PurgePage, StoreError> {
        let span = TimeDelta::from_std(age).unwrap_or(TimeDelta::MAX);
        let before = self.time().await?.checked_sub_signed(span);
        let before = before.unwrap_or_default();
        let mut sql = self.sql(
            "SELECT e.id, e.campaign_id, e.created_at, c.updated_at AS over_at, \
             p.event_id IS NULL AND k.event_id IS NULL AND c.id IS NOT NULL AND e.created_at < ",
        );
        sql.before(age).push(
            " AS may_go FROM (\
             SELECT id, bucket, campaign_id, created_at FROM outbox_event WHERE id > ",
        );
        sql.bind(after.map_or(Uuid::nil(), |after| after.0));
        sql.push(" AND id < ").bind(first_id_at(before));
        sql.push(" ORDER BY id LIMIT ").bind(rows_max);
        sql.push(") e LEFT JOIN campaign c ON c.id = e.campaign_id AND c.state IN ");
        sql.list(OVER);
        sql.push(" LEFT JOIN outbox_pending p ON p.bucket = e.bucket AND p.event_id = e.id");
        sql.push(" LEFT JOIN outbox_parked k ON k.event_id = e.id ORDER BY e.id");
        let rows = sql.rows(&self.db).await?;
        let mut page = PurgePage {
            rows: u32::try_from(rows.len()).unwrap_or(rows_max),
            ..PurgePage::default()
        };
        for row in &rows {
            page.last = Some(EventId(row.try_get("", "id")?));
            if row.try_get::<i64>("", "may_go")? != 0 {
                page.purgeable.push(purgeable(row)?);
            }
        }
        Ok(page)
    }

    /// Deletes these events and counts them at their campaigns, in one transaction: how many there
    /// were. Those that somebody else deleted first are counted by them alone. When one of the
    /// campaigns turns out not to be over, nothing is deleted.
    pub async fn purge(&self, events: &[Purgeable]) -> Result<u64, StoreError> {
        let mut by_campaign: BTreeMap<CampaignId, Vec<EventId>> = BTreeMap::new();
        for event in events {
            let ids = by_campaign.entry(event.campaign_id).or_default();
            ids.push(event.event_id);
        }
        let transaction = self.begin().await?;
        let mut purged = 0;
        // Always in this order, so that concurrent callers cannot deadlock.
        for (campaign, ids) in by_campaign {
            let gone = self.segments_of(&transaction, campaign, &ids).await?;
            let mut sql = self.sql(&self.db.delete_by_key("outbox_event"));
            let deleted = sql
                .push(" WHERE id IN ")
                .list(padded(&ids).map(|id| id.0))
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
        ids: &[EventId],
    ) -> Result<BTreeMap<(CampaignId, i64), Purged>, StoreError> {
        let events = self.db.by_index("outbox_event", "PRIMARY");
        let mut sql = self.sql("SELECT `rank`, key_sequence FROM ");
        sql.push(&events)
            .push(" WHERE id IN ")
            .list(padded(ids).map(|id| id.0));
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

/// The smallest id an event written at this time can have: ids are UUIDs of version 7, which begin
/// with the milliseconds since the Unix epoch in 48 bits.
fn first_id_at(time: Instant) -> Uuid {
    let millis = u128::try_from(time.timestamp_millis()).unwrap_or_default();
    Uuid::from_u128(millis.min((1 << 48) - 1) << 80)
}

fn purgeable(row: &QueryResult) -> Result<Purgeable, StoreError> {
    Ok(Purgeable {
        event_id: EventId(row.try_get("", "id")?),
        campaign_id: CampaignId(row.try_get("", "campaign_id")?),
        created_at: row.try_get("", "created_at")?,
        over_at: row.try_get("", "over_at")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::clock::Clock;

    #[test]
    fn ids_made_later_are_larger_and_ids_made_before_are_smaller() {
        let before = EventId::generate().0;
        let bound = Clock::System.now() + chrono::TimeDelta::milliseconds(2);
        assert!(before < first_id_at(bound));
        assert!(before > first_id_at(bound - chrono::TimeDelta::seconds(1)));
        assert_eq!(first_id_at(Instant::default()), Uuid::nil());
    }
}
