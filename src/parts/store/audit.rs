//! The audit log: one row for each action of an admin, written in the transaction of the action if there is one. Rows
//! are never changed; old ones are deleted.

use std::time::Duration;

use sea_orm::sea_query::Condition;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use serde_json::Value;

use super::entity::audit_entry::{Column, Entity, Model};
use super::entity::{insert, purge};
use super::json::from_text;
use super::text_limits::shortened;
use super::{Store, StoreError};
use crate::domain::{AuditAction, AuditNote, CampaignId, Timestamp};

/// Longest stored name of an actor; longer names are cut.
const ACTOR_CHARACTERS_MAX: usize = 255;

/// An entry of the log.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the other fields are those of `AuditNote`")]
pub struct AuditEntry {
    /// Its number: later entries have larger ones.
    pub id: i64,
    /// When it was written, by the database's clock.
    pub at: Timestamp,
    pub actor: String,
    /// The action, in the word of the release that wrote it.
    pub action: String,
    pub campaign_id: Option<CampaignId>,
    pub subject: Option<String>,
    pub before: Option<Value>,
    pub after: Option<Value>,
    pub request_id: Option<String>,
    pub address: Option<String>,
}

/// A filter of entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// About this campaign.
    pub campaign_id: Option<CampaignId>,
    /// By this actor.
    pub actor: Option<String>,
    /// Of this kind.
    pub action: Option<AuditAction>,
    /// Written at this time or later.
    pub from: Option<Timestamp>,
    /// Written before this time.
    pub to: Option<Timestamp>,
    /// Older than this one: the last entry of the previous page.
    pub after: Option<i64>,
}

impl Store {
    /// Writes an entry about an action without a transaction of this store.
    pub async fn note(&self, note: &AuditNote) -> Result<(), StoreError> {
        self.write_notes(&self.db, std::slice::from_ref(note)).await
    }

    /// Writes entries within a transaction.
    pub(super) async fn write_notes(
        &self,
        on: &impl ConnectionTrait,
        notes: &[AuditNote],
    ) -> Result<(), StoreError> {
        for note in notes {
            let actor = stored_actor(&note.by.actor.to_string());
            let (before, after) = (note.before.as_ref(), note.after.as_ref());
            let insert = insert::<Entity, _>([
                (Column::CreatedAt, self.now_expr()),
                (Column::Actor, actor.into()),
                (Column::Action, note.action.as_str().into()),
                (
                    Column::CampaignId,
                    note.campaign.map(|campaign| campaign.0).into(),
                ),
                (Column::Subject, note.subject.clone().into()),
                (Column::BeforeValues, before.map(Value::to_string).into()),
                (Column::AfterValues, after.map(Value::to_string).into()),
                (Column::RequestId, note.by.request_id.clone().into()),
                (
                    Column::Address,
                    note.by.address.map(|at| at.to_string()).into(),
                ),
            ]);
            on.execute(&insert).await?;
        }
        Ok(())
    }

    /// Entries, newest first, at most `rows_max`.
    pub async fn audit_entries(
        &self,
        filter: &AuditFilter,
        rows_max: u32,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        let rows = Entity::find()
            .filter(Column::Id.lt(filter.after.unwrap_or(i64::MAX)))
            .filter(
                Condition::all()
                    .add_option(filter.campaign_id.map(|id| Column::CampaignId.eq(id.0)))
                    .add_option(filter.actor.as_deref().map(|actor| Column::Actor.eq(actor)))
                    .add_option(
                        filter
                            .action
                            .map(|action| Column::Action.eq(action.as_str())),
                    )
                    .add_option(filter.from.map(|from| Column::CreatedAt.gte(from)))
                    .add_option(filter.to.map(|to| Column::CreatedAt.lt(to))),
            )
            .order_by_desc(Column::Id)
            .limit(u64::from(rows_max))
            .all(&self.db)
            .await?;
        rows.into_iter().map(AuditEntry::try_from).collect()
    }

    /// Deletes entries that are older than `age` by the database's clock, the oldest first, at most `rows_max`.
    /// Returns their number.
    pub async fn purge_audit(&self, age: Duration, rows_max: u32) -> Result<u64, StoreError> {
        let columns = (Column::Id, Column::CreatedAt);
        purge::<Entity>(self, columns, age, rows_max.into()).await
    }
}

/// The name of an actor as it is stored.
pub(super) fn stored_actor(actor: &str) -> String {
    shortened(actor, ACTOR_CHARACTERS_MAX)
}

impl TryFrom<Model> for AuditEntry {
    type Error = StoreError;

    fn try_from(row: Model) -> Result<Self, StoreError> {
        let values = |text: Option<String>| {
            let read = text.map(|text| from_text("the values of an audit entry", &text));
            read.transpose()
        };
        Ok(Self {
            id: row.id,
            at: row.created_at,
            actor: row.actor,
            action: row.action,
            campaign_id: row.campaign_id.map(CampaignId),
            subject: row.subject,
            before: values(row.before_values)?,
            after: values(row.after_values)?,
            request_id: row.request_id,
            address: row.address,
        })
    }
}
