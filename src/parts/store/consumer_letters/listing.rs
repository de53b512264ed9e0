//! Lists dead letters of consumers. A list has no values, which may be long; a single letter has its value.

use sea_orm::sea_query::{Expr, ExprTrait, Func};
use sea_orm::{
    ColumnTrait, Condition, EntityTrait, FromQueryResult, QueryFilter, QueryOrder, QuerySelect,
};
use uuid::Uuid;

use super::DEAD;
use crate::domain::{CampaignId, Consumer, DeadLetterId, DeadLetterSource, EventId, Timestamp};
use crate::parts::store::entity::consumer_dead_letter::{Column, Entity};
use crate::parts::store::{DeadLetterFilter, Store, StoreError};

/// A dead letter of a consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerLetter {
    /// Its id.
    pub id: DeadLetterId,
    /// The campaign, if the record names one.
    pub campaign: Option<CampaignId>,
    /// `ce_type`, as far as it can be read.
    pub event_type: String,
    /// Key of the record.
    pub key: Option<Vec<u8>>,
    /// Value of the record.
    pub payload: Option<Vec<u8>>,
    /// Attempts made.
    pub attempts: u32,
    /// Class of the last failure.
    pub error_class: String,
    /// The last failure.
    pub error: String,
    /// When it became a dead letter.
    pub parked_at: Timestamp,
    /// When its copy reached the dead letter topic.
    pub copied_at: Option<Timestamp>,
}

/// Maximum number of bytes of a listed key.
const KEY_BYTES_MAX: i32 = 255;

/// The columns of a list.
#[derive(Debug, FromQueryResult)]
struct Row {
    event_id: Uuid,
    consumer: String,
    campaign_id: Option<i64>,
    event_type: String,
    record_key: Option<Vec<u8>>,
    payload: Option<Vec<u8>>,
    attempts: i32,
    error_class: String,
    error: String,
    parked_at: Timestamp,
    copied_at: Option<Timestamp>,
}

impl Store {
    /// Dead letters of consumers in order of event and source, at most `rows_max`. With a filter by event they have
    /// their values.
    pub async fn consumer_letters(
        &self,
        filter: &DeadLetterFilter,
        rows_max: u32,
    ) -> Result<Vec<ConsumerLetter>, StoreError> {
        let payload = match filter.event {
            Some(_) => Expr::col(Column::Payload),
            None => Expr::null(),
        };
        let key = Func::cust("SUBSTR").args([
            Expr::col(Column::RecordKey),
            Expr::val(1),
            Expr::val(KEY_BYTES_MAX),
        ]);
        let rows: Vec<Row> = Entity::find()
            .select_only()
            .columns([
                Column::EventId,
                Column::Consumer,
                Column::CampaignId,
                Column::EventType,
                Column::Attempts,
                Column::ErrorClass,
                Column::Error,
                Column::ParkedAt,
                Column::CopiedAt,
            ])
            .expr_as(key, "record_key")
            .expr_as(payload, "payload")
            .filter(wanted(filter))
            .order_by_asc(Column::EventId)
            .order_by_asc(Column::Consumer)
            .limit(u64::from(rows_max))
            .into_model()
            .all(&self.db)
            .await?;
        Ok(rows.into_iter().filter_map(letter).collect())
    }
}

fn wanted(filter: &DeadLetterFilter) -> Condition {
    let consumer = filter.source.and_then(DeadLetterSource::consumer);
    let consumers = consumer.map_or_else(|| Consumer::ALL.to_vec(), |one| vec![one]);
    let names = consumers.into_iter().map(Consumer::as_str);
    let after = filter.after.map(|after| {
        let consumer = after.source.consumer().map_or("", Consumer::as_str);
        let same = Column::EventId.eq(after.event.0);
        let same = same.and(Column::Consumer.gt(consumer));
        Column::EventId.gt(after.event.0).or(same)
    });
    let key = filter.key.as_ref().map(|key| key.as_bytes().to_vec());
    Condition::all()
        .add(Column::State.eq(DEAD))
        .add(Column::Consumer.is_in(names))
        .add_option(filter.event.map(|id| Column::EventId.eq(id.0)))
        .add_option(filter.campaign.map(|id| Column::CampaignId.eq(id.0)))
        .add_option(key.map(|key| Column::RecordKey.eq(key)))
        .add_option(filter.from.map(|from| Column::ParkedAt.gte(from)))
        .add_option(filter.until.map(|until| Column::ParkedAt.lt(until)))
        .add_option(after)
}

/// None: a consumer of another release.
fn letter(row: Row) -> Option<ConsumerLetter> {
    let consumer = Consumer::parse(&row.consumer)?;
    Some(ConsumerLetter {
        id: DeadLetterId {
            event: EventId(row.event_id),
            source: consumer.into(),
        },
        campaign: row.campaign_id.map(CampaignId),
        event_type: row.event_type,
        key: row.record_key,
        payload: row.payload,
        attempts: row.attempts.unsigned_abs(),
        error_class: row.error_class,
        error: row.error,
        parked_at: row.parked_at,
        copied_at: row.copied_at,
    })
}
