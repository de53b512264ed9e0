//! Deletes events whose time is over, a bounded range of a stream at once. An event may go when it is older
//! than asked for, its stream's position has passed it, it is not parked in any state, and its campaign is over for
//! good. Never deletes what is still to be published, what somebody may still ask about, or anything
//! without accounting for it: the campaign's row counts the events about participations that are gone, and
//! `purged_segment` where in the campaign they were, and how many about the campaign itself, in the same transaction.
//!
//! Nothing is locked while candidates are looked for, and the answer cannot get wrong: an event that is published
//! never waits again, and a campaign that is closed never opens again.

use std::collections::BTreeMap;
use std::time::Duration;

use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, JoinType, QueryFilter, QueryOrder, QuerySelect,
    QueryTrait,
};

use super::position;
use crate::domain::{CampaignId, LogPlace, State, StreamId, Timestamp, Topic};
use crate::parts::store::bounded::Tx;
use crate::parts::store::entity::outbox_event::{self, Column, Entity};
use crate::parts::store::entity::{
    by_index, campaign, event_of_parked, events_of_campaign, insert, outbox_parked,
    position_of_campaign, purged_segment,
};
use crate::parts::store::numbers::{to_signed, to_unsigned};
use crate::parts::store::query::delete_by_key;
use crate::parts::store::shapes::padded;
use crate::parts::store::verification::{Purged, Segment, weight_of_event};
use crate::parts::store::{Store, StoreError};

/// An event that may be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Purgeable {
    /// Where it is; its campaign is over.
    pub place: LogPlace,
    /// When the event was written.
    pub created_at: Timestamp,
    /// By when the campaign was over, at the latest.
    pub over_at: Timestamp,
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
    stream: StreamId,
    published: i64,
    over_at: Timestamp,
}

/// The campaigns that can sell nothing any more.
const OVER: [&str; 2] = [State::Closed.as_str(), State::Archived.as_str()];

/// Where events are accounted for that have no rank: those about a campaign, and those about orders.
const OF_CAMPAIGN: i64 = -1;
const OF_ORDERS: i64 = -2;

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
        // Where the rest of a stream is too young, the next one is looked at.
        if let Some(after) = after.filter(|after| after.sequence < u64::MAX) {
            let this = campaign::Column::Id.eq(after.stream.campaign.0);
            if let Some(stream) = self.stream_over(after.stream.topic, this).await? {
                let page = self
                    .purge_page(&stream, after.sequence, age, rows_max)
                    .await?;
                if page.rows > 0 {
                    return Ok(page);
                }
            }
        }
        match self.next_over(after.map(|after| after.stream)).await? {
            Some(stream) => self.purge_page(&stream, 0, age, rows_max).await,
            None => Ok(PurgePage::default()),
        }
    }

    /// The first stream behind this one, in order of campaign and topic, whose campaign is over and that has published
    /// events.
    async fn next_over(&self, after: Option<StreamId>) -> Result<Option<StreamOver>, StoreError> {
        let mut next: Option<StreamOver> = None;
        for topic in Topic::ALL {
            let these = match after {
                Some(after) if topic > after.topic => campaign::Column::Id.gte(after.campaign.0),
                Some(after) => campaign::Column::Id.gt(after.campaign.0),
                None => campaign::Column::Id.gt(0),
            };
            let found = self.stream_over(topic, these).await?;
            next = next
                .into_iter()
                .chain(found)
                .min_by_key(|found| found.stream);
        }
        Ok(next)
    }

    /// The first stream for a topic, in order of campaign, that is of one of these campaigns that is over, and has
    /// published events.
    async fn stream_over(
        &self,
        topic: Topic,
        these: Expr,
    ) -> Result<Option<StreamOver>, StoreError> {
        use campaign::{Column, Entity};
        let published = position(topic).into_expr();
        let events = outbox_event::Entity::find()
            .filter(events_of_campaign())
            .filter(outbox_event::Column::AggregateType.eq(topic.as_str()))
            .filter(outbox_event::Column::Sequence.into_expr().lte(published));
        let stream: Option<(i64, i64, Timestamp)> = Entity::find()
            .select_only()
            .column(Column::Id)
            .column(position(topic))
            .column(Column::UpdatedAt)
            .join(JoinType::InnerJoin, position_of_campaign())
            .filter(Column::State.is_in(OVER))
            .filter(these)
            .filter(Expr::exists(events.into_query()))
            .order_by_asc(Column::Id)
            .into_tuple()
            .one(&self.db)
            .await?;
        let stream = stream.map(|(campaign, published, over_at)| StreamOver {
            stream: StreamId {
                campaign: CampaignId(campaign),
                topic,
            },
            published,
            over_at,
        });
        Ok(stream)
    }

    async fn purge_page(
        &self,
        stream: &StreamOver,
        from: u64,
        age: Duration,
        rows_max: u32,
    ) -> Result<PurgePage, StoreError> {
        let rows: Vec<(i64, Timestamp, i64, i64)> = Entity::find()
            .select_only()
            .columns([Column::Sequence, Column::CreatedAt])
            .expr(outbox_parked::Column::Sequence.is_null())
            .expr(Column::CreatedAt.into_expr().lt(self.before(age)))
            .join(JoinType::LeftJoin, event_of_parked().rev())
            .filter(is_of(stream.stream))
            .filter(Column::Sequence.gt(to_signed(from)))
            .filter(Column::Sequence.lte(stream.published))
            .order_by_asc(Column::Sequence)
            .limit(u64::from(rows_max))
            .into_tuple()
            .all(&self.db)
            .await?;
        let mut page = PurgePage {
            rows: u32::try_from(rows.len()).unwrap_or(rows_max),
            ..PurgePage::default()
        };
        for (sequence, created_at, may_go, is_old) in rows {
            let place = LogPlace {
                stream: stream.stream,
                sequence: to_unsigned(sequence),
            };
            page.last = Some(place);
            if is_old == 0 {
                // So are those behind it: on to the next stream.
                page.last = Some(LogPlace {
                    sequence: u64::MAX,
                    ..place
                });
                break;
            }
            if may_go != 0 {
                page.purgeable.push(Purgeable {
                    place,
                    created_at,
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
        let mut by_stream: BTreeMap<StreamId, Vec<i64>> = BTreeMap::new();
        for event in events {
            let sequences = by_stream.entry(event.place.stream).or_default();
            sequences.push(to_signed(event.place.sequence));
        }
        let transaction = self.begin().await?;
        let mut purged = 0;
        // Always in this order, so that concurrent callers cannot deadlock.
        for (stream, sequences) in by_stream {
            let gone = self.segments_of(&transaction, stream, &sequences).await?;
            let events = Entity::delete_many()
                .filter(is_of(stream))
                .filter(Column::Sequence.is_in(padded(&sequences)));
            let deleted = delete_by_key(events, &transaction).await?;
            if deleted == 0 {
                continue;
            }
            self.forget_published(&transaction, stream, &sequences)
                .await?;
            let purged_events = Expr::col(campaign::Column::PurgedEvents);
            let of_participations = match stream.topic {
                Topic::Participation => deleted,
                Topic::Campaign | Topic::Order => 0,
            };
            let counted = campaign::Entity::update_many()
                .col_expr(
                    campaign::Column::PurgedEvents,
                    purged_events.add(to_signed(of_participations)),
                )
                .filter(campaign::Column::Id.eq(stream.campaign.0))
                .filter(campaign::Column::State.is_in(OVER))
                .exec(&transaction)
                .await?;
            if counted.rows_affected != 1 {
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
        stream: StreamId,
        sequences: &[i64],
    ) -> Result<BTreeMap<(CampaignId, i64), Purged>, StoreError> {
        let mut rows = Entity::find()
            .select_only()
            .columns([Column::Rank, Column::KeySequence])
            .filter(is_of(stream))
            .filter(Column::Sequence.is_in(padded(sequences)))
            .lock_exclusive();
        by_index(&mut rows, "PRIMARY");
        let rows: Vec<(Option<i64>, i32)> = rows.into_tuple().all(transaction).await?;
        let campaign = stream.campaign;
        let mut gone: BTreeMap<_, Purged> = BTreeMap::new();
        for (rank, change) in rows {
            let (mut segment, mut digest) = match stream.topic {
                Topic::Order => (OF_ORDERS, 0),
                Topic::Participation | Topic::Campaign => (OF_CAMPAIGN, 0),
            };
            if let Some(rank) = rank {
                let number = Segment::of(campaign, to_unsigned(rank)).number;
                segment = to_signed(number);
                digest = weight_of_event(rank, change.into());
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
        use purged_segment::{Column, Entity};
        for ((campaign, segment), purged) in gone {
            let mut row = insert::<Entity, _>([
                (Column::CampaignId, campaign.0.into()),
                (Column::Segment, (*segment).into()),
                (Column::Events, to_signed(purged.events).into()),
                (Column::Digest, purged.digest.into()),
            ]);
            row.on_conflict(self.or_add::<Entity>());
            transaction.execute(&row).await?;
        }
        Ok(())
    }
}

/// The condition that an event is of this stream.
fn is_of(stream: StreamId) -> Expr {
    let is_of_campaign = Column::CampaignId.eq(stream.campaign.0);
    is_of_campaign.and(Column::AggregateType.eq(stream.topic.as_str()))
}
