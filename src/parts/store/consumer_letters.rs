//! Dead letters of consumers: records that a consumer cannot apply. They stay until somebody discards them, or
//! replays them and their consumer applies them.

mod listing;

use std::collections::BTreeMap;

use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, Condition, ConnectionTrait, EntityTrait, QueryFilter,
    QueryOrder, QuerySelect,
};
use serde_json::json;
use uuid::Uuid;

pub use self::listing::ConsumerLetter;
use super::entity::consumer_dead_letter::{ActiveModel, Column, Entity, Model};
use super::entity::{by_index, insert};
use super::query::on_key;
use super::statement_lengths::padded;
use super::text_limits::shortened;
use super::{Store, StoreError};
use crate::domain::{
    AuditAction, AuditNote, CampaignId, Consumer, DeadLetterSource, EventId, Origin,
};

/// A record as it was in its topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordBytes {
    /// Key.
    pub key: Option<Vec<u8>>,
    /// Headers, in order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// Value.
    pub payload: Option<Vec<u8>>,
}

/// A dead letter of a consumer, to be stored.
#[derive(Clone, Debug)]
pub struct NewConsumerLetter {
    /// The consumer.
    pub consumer: Consumer,
    /// `ce_id`, or an id made from the record if it has none.
    pub event: EventId,
    /// The campaign, if the record names one.
    pub campaign: Option<CampaignId>,
    /// `ce_type`, as far as it can be read.
    pub event_type: String,
    /// The topic that it was in.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// The record.
    pub record: RecordBytes,
    /// Class of the failure: one word.
    pub error_class: &'static str,
    /// The failure for people, shortened to the length of the column.
    pub error: String,
}

const DEAD: &str = "dead";
const RETRY: &str = "retry";
const DISCARDED: &str = "discarded";

/// Largest record that is stored. For a larger one, only the copy in the topic is complete.
const RECORD_BYTES_MAX: usize = 1024 * 1024;
const ERROR_CHARACTERS_MAX: usize = 1_000;
const TYPE_CHARACTERS_MAX: usize = 255;

impl Store {
    /// Stores a dead letter. An existing one of the same event and consumer stays unchanged, so a repeated batch has
    /// no effect.
    pub async fn store_consumer_letter(
        &self,
        letter: &NewConsumerLetter,
    ) -> Result<(), StoreError> {
        let record = &letter.record;
        let is_whole = size(record) <= RECORD_BYTES_MAX;
        let whole = |bytes: &Option<Vec<u8>>| bytes.clone().filter(|_| is_whole);
        let headers: &[_] = if is_whole { &record.headers } else { &[] };
        let headers = serde_json::to_vec(headers)
            .map_err(|error| StoreError::unreadable("the headers of a record", error))?;
        let mut row = insert::<Entity, _>([
            (Column::EventId, letter.event.0.into()),
            (Column::Consumer, letter.consumer.as_str().into()),
            (Column::CampaignId, letter.campaign.map(|id| id.0).into()),
            (
                Column::EventType,
                shortened(&letter.event_type, TYPE_CHARACTERS_MAX).into(),
            ),
            (Column::Topic, letter.topic.as_str().into()),
            (Column::PartitionNumber, letter.partition.into()),
            (Column::RecordOffset, letter.offset.into()),
            (Column::RecordKey, whole(&record.key).into()),
            (Column::RecordHeaders, headers.into()),
            (Column::Payload, whole(&record.payload).into()),
            (Column::IsWhole, is_whole.into()),
            (Column::State, DEAD.into()),
            (Column::Attempts, 1.into()),
            (Column::ErrorClass, letter.error_class.into()),
            (
                Column::Error,
                shortened(&letter.error, ERROR_CHARACTERS_MAX).into(),
            ),
            (Column::ParkedAt, self.now_expr()),
        ]);
        let stays = on_key::<Entity>().do_nothing_on([Column::State]).to_owned();
        self.db.execute(row.on_conflict(stays)).await?;
        Ok(())
    }

    /// Records that the copy of a dead letter has reached its topic.
    pub async fn consumer_letter_copied(
        &self,
        consumer: Consumer,
        event: EventId,
    ) -> Result<(), StoreError> {
        Entity::update_many()
            .col_expr(Column::CopiedAt, self.now_expr())
            .filter(is(consumer, event))
            .filter(Column::CopiedAt.is_null())
            .exec(&self.db)
            .await?;
        Ok(())
    }

    /// Marks dead letters for replay by their consumer. Returns their number. A letter that is not stored completely
    /// is not replayed. For an admin, the audit log has an entry for each campaign.
    pub async fn replay_consumer_letters(
        &self,
        consumer: Consumer,
        events: &[EventId],
        by: Option<&Origin>,
    ) -> Result<u64, StoreError> {
        let whole = Condition::all().add(Column::IsWhole.eq(true));
        let action = (RETRY, AuditAction::DeadLetterReplay);
        self.move_letters((consumer, events), whole, action, by)
            .await
    }

    /// Discards dead letters. Returns their number. Their rows stay as a record.
    pub async fn discard_consumer_letters(
        &self,
        consumer: Consumer,
        events: &[EventId],
        by: Option<&Origin>,
    ) -> Result<u64, StoreError> {
        let action = (DISCARDED, AuditAction::DeadLetterDiscard);
        self.move_letters((consumer, events), Condition::all(), action, by)
            .await
    }

    async fn move_letters(
        &self,
        (consumer, events): (Consumer, &[EventId]),
        and: Condition,
        (state, action): (&str, AuditAction),
        by: Option<&Origin>,
    ) -> Result<u64, StoreError> {
        let tx = self.begin().await?;
        let mut rows = Entity::find()
            .select_only()
            .columns([Column::EventId, Column::CampaignId])
            .filter(Column::State.eq(DEAD))
            .filter(Column::Consumer.eq(consumer.as_str()))
            .filter(Column::EventId.is_in(padded(events).map(|id| id.0)))
            .filter(and)
            .lock_exclusive();
        by_index(&mut rows, "PRIMARY");
        let rows: Vec<(Uuid, Option<i64>)> = rows.into_tuple().all(&tx).await?;
        if rows.is_empty() {
            tx.rollback().await?;
            return Ok(0);
        }
        let ids: Vec<Uuid> = rows.iter().map(|(id, _)| *id).collect();
        let row = ActiveModel {
            state: Set(state.to_owned()),
            ..ActiveModel::default()
        };
        let moved = Entity::update_many()
            .set(row)
            .filter(Column::State.eq(DEAD))
            .filter(Column::Consumer.eq(consumer.as_str()))
            .filter(Column::EventId.is_in(padded(&ids)))
            .exec(&tx)
            .await?
            .rows_affected;
        let notes = by.map_or_else(Vec::new, |by| notes(by, action, (consumer, state), rows));
        self.write_notes(&tx, &notes).await?;
        tx.commit().await?;
        Ok(moved)
    }

    /// The records that a consumer must apply again, in order of event, at most `rows_max`. An error in place of a
    /// record is the reason why it cannot be read.
    pub async fn consumer_letters_to_replay(
        &self,
        consumer: Consumer,
        rows_max: u32,
    ) -> Result<Vec<(EventId, Result<RecordBytes, String>)>, StoreError> {
        let rows = Entity::find()
            .filter(Column::State.eq(RETRY))
            .filter(Column::Consumer.eq(consumer.as_str()))
            .order_by_asc(Column::EventId)
            .limit(u64::from(rows_max))
            .all(&self.db)
            .await?;
        let record = |row: Model| {
            let headers = serde_json::from_slice(&row.record_headers);
            let record = headers.map(|headers| RecordBytes {
                key: row.record_key,
                headers,
                payload: row.payload,
            });
            let record = record.map_err(|error| format!("the stored headers: {error}"));
            (EventId(row.event_id), record)
        };
        Ok(rows.into_iter().map(record).collect())
    }

    /// A replayed dead letter was applied: its row is deleted.
    pub async fn consumer_letter_applied(
        &self,
        consumer: Consumer,
        event: EventId,
    ) -> Result<(), StoreError> {
        Entity::delete_many()
            .filter(is(consumer, event))
            .filter(Column::State.eq(RETRY))
            .exec(&self.db)
            .await?;
        Ok(())
    }

    /// A replayed record cannot be applied again: it becomes a dead letter again.
    pub async fn consumer_letter_dead_again(
        &self,
        consumer: Consumer,
        event: EventId,
        (class, error): (&'static str, &str),
    ) -> Result<(), StoreError> {
        let row = ActiveModel {
            state: Set(DEAD.to_owned()),
            error_class: Set(class.to_owned()),
            error: Set(shortened(error, ERROR_CHARACTERS_MAX)),
            ..ActiveModel::default()
        };
        Entity::update_many()
            .set(row)
            .col_expr(Column::Attempts, Expr::col(Column::Attempts).add(1))
            .filter(is(consumer, event))
            .filter(Column::State.eq(RETRY))
            .exec(&self.db)
            .await?;
        Ok(())
    }
}

fn is(consumer: Consumer, event: EventId) -> Condition {
    Condition::all()
        .add(Column::EventId.eq(event.0))
        .add(Column::Consumer.eq(consumer.as_str()))
}

fn size(record: &RecordBytes) -> usize {
    let of = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
    let headers = record.headers.iter();
    let headers: usize = headers.map(|(name, value)| name.len() + of(value)).sum();
    of(&record.key) + of(&record.payload) + headers
}

fn notes(
    by: &Origin,
    action: AuditAction,
    (consumer, state): (Consumer, &str),
    rows: Vec<(Uuid, Option<i64>)>,
) -> Vec<AuditNote> {
    let mut by_campaign: BTreeMap<Option<CampaignId>, Vec<Uuid>> = BTreeMap::new();
    for (event, campaign) in rows {
        let events = by_campaign.entry(campaign.map(CampaignId)).or_default();
        events.push(event);
    }
    let source = DeadLetterSource::from(consumer);
    let note = |(campaign, events): (Option<CampaignId>, Vec<Uuid>)| {
        let note = match campaign {
            Some(campaign) => AuditNote::about(by.clone(), action, campaign),
            None => AuditNote::beside(by.clone(), action),
        };
        note.from(json!({ "state": DEAD, "source": source, "events": events }))
            .to(json!({ "state": state, "source": source, "events": events }))
    };
    by_campaign.into_iter().map(note).collect()
}
