//! Sends published events once more, because their records were lost after the broker had acknowledged them: they are
//! parked again. The positions stay where they are.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use serde_json::json;
use uuid::Uuid;

use super::is_event_of;
use super::parked::{ParkedState, ParkedVerdict, StreamKey};
use crate::domain::{AuditAction, AuditNote, CampaignId, EventId, LogPlace, Origin, StreamId};
use crate::parts::store::bounded::Tx;
use crate::parts::store::entity::outbox_event::{Column, Entity};
use crate::parts::store::entity::{insert_rows, outbox_parked, outbox_position};
use crate::parts::store::numbers::{to_signed, to_unsigned};
use crate::parts::store::query::on_key;
use crate::parts::store::{Store, StoreError};

/// Events parked in one transaction.
pub const REPUBLISH_MAX: u32 = 500;

/// A published event that is parked again.
struct Republished {
    place: LogPlace,
    id: Uuid,
    key: String,
}

impl Store {
    /// The campaigns with published events of participations.
    pub async fn published_campaigns(&self) -> Result<BTreeSet<CampaignId>, StoreError> {
        use outbox_position::{Column, Entity};
        let ids: Vec<i64> = Entity::find()
            .select_only()
            .column(Column::CampaignId)
            .filter(Column::Published.gt(0))
            .into_tuple()
            .all(&self.db)
            .await?;
        Ok(ids.into_iter().map(CampaignId).collect())
    }

    /// The published events of a stream that still exist, in order, at most `rows_max`.
    pub async fn published_places(
        &self,
        stream: StreamId,
        range: RangeInclusive<u64>,
        rows_max: u64,
    ) -> Result<Vec<LogPlace>, StoreError> {
        let positions = self.positions(&[stream.campaign]).await?;
        let published = positions.get(&stream).copied().unwrap_or_default();
        let until = published.min(*range.end());
        let sequences: Vec<i64> = Entity::find()
            .select_only()
            .column(Column::Sequence)
            .filter(is_event_of(stream))
            .filter(Column::Sequence.gte(to_signed(*range.start())))
            .filter(Column::Sequence.lte(to_signed(until)))
            .order_by_asc(Column::Sequence)
            .limit(rows_max)
            .into_tuple()
            .all(&self.db)
            .await?;
        let place = |sequence| LogPlace {
            stream,
            sequence: to_unsigned(sequence),
        };
        Ok(sequences.into_iter().map(place).collect())
    }

    /// Parks published events, at most [`REPUBLISH_MAX`], so that the relay sends them again, in order by key. Leaves out
    /// events that are pending, parked or deleted. Returns the number of parked ones. For an admin, the audit log has an
    /// entry for each campaign.
    pub async fn republish(
        &self,
        places: &[LogPlace],
        by: Option<&Origin>,
    ) -> Result<u64, StoreError> {
        let campaigns: BTreeSet<CampaignId> =
            places.iter().map(|place| place.stream.campaign).collect();
        let campaigns: Vec<CampaignId> = campaigns.into_iter().collect();
        let positions = self.positions(&campaigns).await?;
        let is_published = |place: &LogPlace| {
            let published = positions.get(&place.stream).copied().unwrap_or_default();
            place.sequence <= published
        };
        let places: Vec<LogPlace> = places
            .iter()
            .filter(|place| is_published(place))
            .copied()
            .collect();
        if places.is_empty() {
            return Ok(0);
        }
        let tx = self.begin().await?;
        let events = self.unparked_events(&tx, &places).await?;
        if events.is_empty() {
            tx.rollback().await?;
            return Ok(0);
        }
        let verdict = ParkedVerdict {
            state: ParkedState::Blocked,
            attempts: 0,
            error_class: "republished",
            error: "sent again by an admin".to_owned(),
            next_in: None,
        };
        let rows = events
            .iter()
            .map(|event| self.values_of((event.place, event.id, &event.key), &verdict));
        let mut insert = insert_rows::<outbox_parked::Entity, _>(rows);
        let stays = on_key::<outbox_parked::Entity>()
            .do_nothing_on([outbox_parked::Column::Attempts])
            .to_owned();
        tx.execute(insert.on_conflict(stays)).await?;
        self.write_notes(&tx, &notes(&events, by)).await?;
        tx.commit().await?;
        // The first one of each key is retried at once, and each later one after the one before it. A crash before this
        // leaves blocked rows, which the relay releases.
        let keys: BTreeSet<StreamKey> = events
            .iter()
            .map(|event| (event.place.stream, event.key.as_str().into()))
            .collect();
        self.release_keys(&keys.into_iter().collect::<Vec<_>>())
            .await?;
        Ok(events.len() as u64)
    }

    /// The positions of the streams of these campaigns.
    async fn positions(
        &self,
        campaigns: &[CampaignId],
    ) -> Result<BTreeMap<StreamId, u64>, StoreError> {
        let ends = self.stream_ends(campaigns).await?;
        Ok(ends.iter().map(|of| (of.stream, of.published)).collect())
    }

    /// Those of the events that exist and are not parked, in order. They are locked, so that none is deleted before it is
    /// parked.
    async fn unparked_events(
        &self,
        tx: &Tx,
        places: &[LogPlace],
    ) -> Result<Vec<Republished>, StoreError> {
        let mut by_stream: BTreeMap<StreamId, Vec<i64>> = BTreeMap::new();
        for place in places {
            let sequences = by_stream.entry(place.stream).or_default();
            sequences.push(to_signed(place.sequence));
        }
        let mut events = Vec::new();
        for (stream, sequences) in by_stream {
            let rows: Vec<(i64, Uuid, String)> = Entity::find()
                .select_only()
                .columns([Column::Sequence, Column::Id])
                .column(Column::MessageKey)
                .filter(is_event_of(stream))
                .filter(Column::Sequence.is_in(sequences.iter().copied()))
                .order_by_asc(Column::Sequence)
                .lock_exclusive()
                .into_tuple()
                .all(tx)
                .await?;
            let parked = parked_among(tx, stream, &sequences).await?;
            events.extend(
                rows.into_iter()
                    .filter(|(sequence, ..)| !parked.contains(sequence))
                    .map(|(sequence, id, key)| Republished {
                        place: LogPlace {
                            stream,
                            sequence: to_unsigned(sequence),
                        },
                        id,
                        key,
                    }),
            );
        }
        Ok(events)
    }
}

/// Those of the sequences of a stream that are parked.
pub(super) async fn parked_among(
    tx: &Tx,
    stream: StreamId,
    sequences: &[i64],
) -> Result<BTreeSet<i64>, StoreError> {
    use outbox_parked::{Column, Entity};
    let parked: Vec<i64> = Entity::find()
        .select_only()
        .column(Column::Sequence)
        .filter(Column::CampaignId.eq(stream.campaign.0))
        .filter(Column::Topic.eq(stream.topic.as_str()))
        .filter(Column::Sequence.is_in(sequences.iter().copied()))
        .into_tuple()
        .all(tx)
        .await?;
    Ok(parked.into_iter().collect())
}

fn notes(events: &[Republished], by: Option<&Origin>) -> Vec<AuditNote> {
    let Some(by) = by else {
        return Vec::new();
    };
    let mut by_campaign: BTreeMap<CampaignId, Vec<EventId>> = BTreeMap::new();
    for event in events {
        let ids = by_campaign.entry(event.place.stream.campaign).or_default();
        ids.push(EventId(event.id));
    }
    let note = |(campaign, ids): (CampaignId, Vec<EventId>)| {
        AuditNote::about(by.clone(), AuditAction::OutboxRepublish, campaign)
            .to(json!({ "events": ids }))
    };
    by_campaign.into_iter().map(note).collect()
}
