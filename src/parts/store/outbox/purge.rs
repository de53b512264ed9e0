//! Deletes old published events, a bounded range of a stream at once. An event may be deleted if it is old enough,
//! its stream's position has passed it, it is not parked in any state, and its campaign has ended. It never deletes
//! an event that must still be published or that somebody may still decide about, and it accounts for each deleted
//! event in the same transaction: the campaign's row counts the deleted events about participations, and
//! `purged_segment` counts them by segment, with those about the campaign itself.
//!
//! The search for candidates locks nothing, and its result cannot become wrong: a published event never becomes
//! pending again, and an ended campaign never opens again.

use std::collections::BTreeMap;
use std::time::Duration;

use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, JoinType, QueryFilter, QueryOrder, QuerySelect,
    QueryTrait,
};

use super::republish::parked_among;
use super::{is_event_of, position};
use crate::domain::{CampaignId, LogPlace, State, StreamId, Timestamp, Topic};
use crate::parts::store::bounded::Tx;
use crate::parts::store::entity::outbox_event::{self, Column, Entity};
use crate::parts::store::entity::{
    by_index, campaign, event_of_parked, events_of_campaign, insert, outbox_parked,
    position_of_campaign, purged_segment,
};
use crate::parts::store::numbers::{to_signed, to_unsigned};
use crate::parts::store::query::delete_by_key;
use crate::parts::store::statement_lengths::padded;
use crate::parts::store::verification::{Purged, Segment, weight_of_event};
use crate::parts::store::{Store, StoreError};

/// An event that may be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Purgeable {
    /// Its place; its campaign has ended.
    pub place: LogPlace,
    /// When the event was written.
    pub created_at: Timestamp,
    /// The latest time at which the campaign can have ended.
    pub ended_at: Timestamp,
}

/// A range of a stream, in order of sequence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PurgePage {
    /// The events of the range that may be deleted.
    pub purgeable: Vec<Purgeable>,
    /// Number of events read.
    pub rows: u32,
    /// Where the next page begins; none: there are no more streams.
    pub last: Option<LogPlace>,
}

/// The stream of an ended campaign.
struct EndedStream {
    stream: StreamId,
    published: i64,
    ended_at: Timestamp,
}

/// The states of ended campaigns.
const ENDED: [&str; 2] = [State::Closed.as_str(), State::Archived.as_str()];

impl Store {
    /// Reads the next `rows_max` published events of one stream after `after`, whether they may be deleted or not: so
    /// one call reads a bounded number of rows, and the caller need not read the events that must stay again. A
    /// stream is in order of time, so the page ends at the first event that is too young by the database's clock.
    pub async fn purgeable(
        &self,
        after: Option<LogPlace>,
        age: Duration,
        rows_max: u32,
    ) -> Result<PurgePage, StoreError> {
        // If the rest of a stream is too young, the next stream is read.
        if let Some(after) = after.filter(|after| after.sequence < u64::MAX) {
            let this = campaign::Column::Id.eq(after.stream.campaign.0);
            if let Some(stream) = self.ended_stream(after.stream.topic, this).await? {
                let page = self
                    .purge_page(&stream, after.sequence, age, rows_max)
                    .await?;
                if page.rows > 0 {
                    return Ok(page);
                }
            }
        }
        match self.next_ended(after.map(|after| after.stream)).await? {
            Some(stream) => self.purge_page(&stream, 0, age, rows_max).await,
            None => Ok(PurgePage::default()),
        }
    }

    /// The next stream, in order of campaign and topic, whose campaign has ended and that has published events.
    async fn next_ended(&self, after: Option<StreamId>) -> Result<Option<EndedStream>, StoreError> {
        let mut next: Option<EndedStream> = None;
        for topic in Topic::ALL {
            let these = match after {
                Some(after) if topic > after.topic => campaign::Column::Id.gte(after.campaign.0),
                Some(after) => campaign::Column::Id.gt(after.campaign.0),
                None => campaign::Column::Id.gt(0),
            };
            let found = self.ended_stream(topic, these).await?;
            next = next
                .into_iter()
                .chain(found)
                .min_by_key(|found| found.stream);
        }
        Ok(next)
    }

    /// The first stream for a topic, in order of campaign, of these campaigns, whose campaign has ended and that has
    /// published events.
    async fn ended_stream(
        &self,
        topic: Topic,
        these: Expr,
    ) -> Result<Option<EndedStream>, StoreError> {
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
            .filter(Column::State.is_in(ENDED))
            .filter(these)
            .filter(Expr::exists(events.into_query()))
            .order_by_asc(Column::Id)
            .into_tuple()
            .one(&self.db)
            .await?;
        let stream = stream.map(|(campaign, published, ended_at)| EndedStream {
            stream: StreamId {
                campaign: CampaignId(campaign),
                topic,
            },
            published,
            ended_at,
        });
        Ok(stream)
    }

    async fn purge_page(
        &self,
        stream: &EndedStream,
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
            .filter(is_event_of(stream.stream))
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
                // All later events of this stream are too young as well.
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
                    ended_at: stream.ended_at,
                });
            }
        }
        Ok(page)
    }

    /// Deletes these events and counts them for their campaigns, in one transaction. Returns their number. Events
    /// that another process deleted first are counted by that process only. If one of the campaigns has not ended,
    /// nothing is deleted.
    pub async fn purge(&self, events: &[Purgeable]) -> Result<u64, StoreError> {
        let mut by_stream: BTreeMap<StreamId, Vec<i64>> = BTreeMap::new();
        for event in events {
            let sequences = by_stream.entry(event.place.stream).or_default();
            sequences.push(to_signed(event.place.sequence));
        }
        let transaction = self.begin().await?;
        let mut purged = 0;
        // Always in this order, so that concurrent callers cannot deadlock.
        for (stream, mut sequences) in by_stream {
            let mut gone = self.segments_of(&transaction, stream, &sequences).await?;
            // An admin may have parked some since they were read, to publish them again.
            let parked = parked_among(&transaction, stream, &sequences).await?;
            if !parked.is_empty() {
                sequences.retain(|sequence| !parked.contains(sequence));
                gone = self.segments_of(&transaction, stream, &sequences).await?;
            }
            let events = Entity::delete_many()
                .filter(is_event_of(stream))
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
                .filter(campaign::Column::State.is_in(ENDED))
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

    /// The segments of the existing events among `ids`. Their rows are locked, so that nobody else deletes and counts
    /// them.
    async fn segments_of(
        &self,
        transaction: &Tx,
        stream: StreamId,
        sequences: &[i64],
    ) -> Result<BTreeMap<(CampaignId, i64), Purged>, StoreError> {
        let mut rows = Entity::find()
            .select_only()
            .columns([Column::Rank, Column::KeySequence])
            .filter(is_event_of(stream))
            .filter(Column::Sequence.is_in(padded(sequences)))
            .lock_exclusive();
        by_index(&mut rows, "PRIMARY");
        let rows: Vec<(Option<i64>, i32)> = rows.into_tuple().all(transaction).await?;
        let campaign = stream.campaign;
        let mut gone: BTreeMap<_, Purged> = BTreeMap::new();
        for (rank, change) in rows {
            let (mut segment, mut digest) = match stream.topic {
                Topic::Order => (Purged::ABOUT_ORDERS, 0),
                Topic::Participation | Topic::Campaign => (Purged::ABOUT_CAMPAIGN, 0),
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

    /// Adds the deleted events to the account of their segments; verification compares it with the changes.
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
