//! Dead letters: rows that the relay cannot publish. They stay until somebody replays or discards them.

mod replayed;

use std::collections::BTreeMap;

use sea_orm::sea_query::{Condition, Expr};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, FromQueryResult, JoinType,
    QueryFilter, QueryOrder, QueryResult, QuerySelect, QueryTrait, Select,
};
use serde_json::json;
use uuid::Uuid;

use super::bounded::Tx;
use super::entity::outbox_parked::{ActiveModel, Column, Entity, Model};
use super::entity::{by_index, event_of_parked, outbox_event};
use super::statement_lengths::padded;
use super::{Store, StoreError};
use crate::domain::{
    AuditAction, AuditNote, CampaignId, DeadLetterId, DeadLetterSource, EventId, Origin, Timestamp,
};

/// A filter of dead letters, of the relay and of consumers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadLetterFilter {
    /// Of this source.
    pub source: Option<DeadLetterSource>,
    /// Of this event.
    pub event: Option<EventId>,
    /// Of this campaign.
    pub campaign: Option<CampaignId>,
    /// With this key.
    pub key: Option<String>,
    /// From this time on.
    pub from: Option<Timestamp>,
    /// Before this time.
    pub until: Option<Timestamp>,
    /// After this one: the last one of the previous page.
    pub after: Option<DeadLetterId>,
}

/// A row that the relay cannot publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The event.
    pub event_id: EventId,
    /// The campaign it belongs to.
    pub campaign_id: CampaignId,
    /// Key of the record.
    pub key: String,
    /// `ce_type` of the record.
    pub event_type: String,
    /// Value of the record.
    pub payload: String,
    /// Attempts made.
    pub attempts: u32,
    /// Class of the last failure.
    pub error_class: String,
    /// The last failure.
    pub error: String,
    /// When it was parked.
    pub parked_at: Timestamp,
    /// When its copy reached the dead letter topic.
    pub copied_at: Option<Timestamp>,
}

const DEAD: &str = "dead";
impl Store {
    /// Dead letters of the relay in order of event, at most `rows_max`. Unreadable ones are set aside, and replaced
    /// by further ones.
    pub async fn dead_letters(
        &self,
        filter: &DeadLetterFilter,
        rows_max: u32,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        // No event has such a key, and MySQL could not compare it with the column.
        if filter.key.as_ref().is_some_and(|key| !key.is_ascii()) {
            return Ok(Vec::new());
        }
        let (mut filter, mut left) = (filter.clone(), rows_max);
        let mut found = Vec::new();
        loop {
            let rows = self.dead_rows(&filter, left).await?;
            let is_last = u32::try_from(rows.len()).unwrap_or(left) < left;
            for row in &rows {
                let id = EventId(row.try_get("", "event_id")?);
                filter.after = Some(DeadLetterId {
                    event: id,
                    source: DeadLetterSource::Relay,
                });
                match dead_letter(row) {
                    Ok(letter) => {
                        found.push(letter);
                        left -= 1;
                    }
                    Err(error) => self.unreadable.set_aside("outbox_parked", &id, &error),
                }
            }
            if is_last || left == 0 {
                return Ok(found);
            }
        }
    }

    async fn dead_rows(
        &self,
        filter: &DeadLetterFilter,
        rows_max: u32,
    ) -> Result<Vec<QueryResult>, StoreError> {
        let wanted = Condition::all()
            .add_option(filter.event.map(|id| Column::EventId.eq(id.0)))
            .add_option(filter.campaign.map(|id| Column::CampaignId.eq(id.0)))
            .add_option(filter.key.as_deref().map(|key| Column::MessageKey.eq(key)))
            .add_option(filter.from.map(|from| Column::ParkedAt.gte(from)))
            .add_option(filter.until.map(|until| Column::ParkedAt.lt(until)))
            // The relay is the first source of an event in the order of the list.
            .add_option(filter.after.map(|after| Column::EventId.gt(after.event.0)));
        let dead = find_dead()
            .filter(wanted)
            .order_by_asc(Column::EventId)
            .limit(u64::from(rows_max));
        Ok(self.db.query_all(dead.as_query()).await?)
    }

    /// One dead letter.
    pub async fn dead_letter(&self, id: EventId) -> Result<Option<DeadLetter>, StoreError> {
        let dead = find_dead().filter(Column::EventId.eq(id.0));
        let row = self.db.query_one(dead.as_query()).await?;
        row.as_ref().map(dead_letter).transpose()
    }

    /// Retries dead letters at once. Returns their number. The caller's batch bounds the rate. For an admin, the
    /// audit log has an entry for each campaign.
    pub async fn replay_dead_letters(
        &self,
        ids: &[EventId],
        by: Option<&Origin>,
    ) -> Result<u64, StoreError> {
        // A row without its event cannot be replayed.
        let event = outbox_event::Entity::find().filter(event_of_parked());
        let has_event = Expr::exists(event.into_query());
        let still_dead = self.still_dead(ids, Condition::all().add(has_event));
        let Some((tx, dead)) = still_dead.await? else {
            return Ok(0);
        };
        let row = ActiveModel {
            state: Set("retry".to_owned()),
            attempts: Set(0),
            copied_at: Set(None),
            ..ActiveModel::default()
        };
        let moved = Entity::update_many()
            .set(row)
            .col_expr(Column::NextAt, self.now_expr())
            .filter(Column::State.eq(DEAD))
            .filter(Column::EventId.is_in(dead.ids()))
            .exec(&tx)
            .await?
            .rows_affected;
        let notes = dead.notes(by, AuditAction::DeadLetterReplay, "retry");
        self.write_notes(&tx, &notes).await?;
        tx.commit().await?;
        Ok(moved)
    }

    /// Discards dead letters. Returns their number. Their rows stay as a record. For an admin, the audit log has an
    /// entry for each campaign.
    pub async fn discard_dead_letters(
        &self,
        ids: &[EventId],
        by: Option<&Origin>,
    ) -> Result<u64, StoreError> {
        let Some((tx, dead)) = self.still_dead(ids, Condition::all()).await? else {
            return Ok(0);
        };
        let row = ActiveModel {
            state: Set("discarded".to_owned()),
            next_at: Set(None),
            ..ActiveModel::default()
        };
        let discarded = Entity::update_many()
            .set(row)
            .filter(Column::State.eq(DEAD))
            .filter(Column::EventId.is_in(dead.ids()))
            .exec(&tx)
            .await?
            .rows_affected;
        let notes = dead.notes(by, AuditAction::DeadLetterDiscard, "discarded");
        self.write_notes(&tx, &notes).await?;
        tx.commit().await?;
        Ok(discarded)
    }

    /// Those of the rows that are dead letters, locked until the transaction ends; none: there are none.
    async fn still_dead(
        &self,
        ids: &[EventId],
        and: Condition,
    ) -> Result<Option<(Tx, Dead)>, StoreError> {
        let tx = self.begin().await?;
        let mut rows = Entity::find()
            .select_only()
            .columns([Column::EventId, Column::CampaignId])
            .filter(Column::State.eq(DEAD))
            .filter(Column::EventId.is_in(padded(ids).map(|id| id.0)))
            .filter(and)
            .lock_exclusive();
        by_index(&mut rows, "parked_event");
        let rows: Vec<(Uuid, i64)> = rows.into_tuple().all(&tx).await?;
        let mut dead = Dead::default();
        for (event, campaign) in rows {
            dead.0.entry(CampaignId(campaign)).or_default().push(event);
        }
        if dead.0.is_empty() {
            tx.rollback().await?;
            return Ok(None);
        }
        Ok(Some((tx, dead)))
    }
}

/// Dead letters by campaign.
#[derive(Default)]
struct Dead(BTreeMap<CampaignId, Vec<Uuid>>);

impl Dead {
    fn ids(&self) -> impl Iterator<Item = Uuid> {
        self.0.values().flatten().copied()
    }

    fn notes(&self, by: Option<&Origin>, action: AuditAction, state: &str) -> Vec<AuditNote> {
        let Some(by) = by else {
            return Vec::new();
        };
        let of_campaign = |(campaign, events): (&CampaignId, &Vec<Uuid>)| {
            AuditNote::about(by.clone(), action, *campaign)
                .from(json!({ "state": "dead", "events": events }))
                .to(json!({ "state": state, "events": events }))
        };
        self.0.iter().map(of_campaign).collect()
    }
}

/// Dead letters with their events. A row without its event is listed, but can only be discarded.
fn find_dead() -> Select<Entity> {
    Entity::find()
        .join(JoinType::LeftJoin, event_of_parked())
        .column_as(outbox_event::Column::EventType, "event_type")
        .column_as(outbox_event::Column::Payload, "payload")
        .filter(Column::State.eq(DEAD))
}

fn dead_letter(row: &QueryResult) -> Result<DeadLetter, StoreError> {
    let parked = Model::from_query_result(row, "")?;
    let event_type: Option<String> = row.try_get("", "event_type")?;
    let payload: Option<String> = row.try_get("", "payload")?;
    Ok(DeadLetter {
        event_id: EventId(parked.event_id),
        campaign_id: CampaignId(parked.campaign_id),
        key: parked.message_key,
        event_type: event_type.unwrap_or_default(),
        payload: payload.unwrap_or_default(),
        attempts: parked.attempts.unsigned_abs(),
        error_class: parked.error_class,
        error: parked.error,
        parked_at: parked.parked_at,
        copied_at: parked.copied_at,
    })
}
