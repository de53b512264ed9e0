//! The audit log: one row for each thing an admin did, written in the transaction that did it wherever
//! there is one. Rows are never changed; they go when their time is over.

use std::time::Duration;

use sea_orm::{ConnectionTrait, QueryResult};
use serde_json::Value;

use super::outbox::Sql;
use super::shapes::padded;
use super::{Store, StoreError};
use crate::domain::{AuditAction, AuditNote, CampaignId, Instant};

/// Longest name of an actor that is kept.
const ACTOR_CHARACTERS_MAX: usize = 255;

/// An entry of the log.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditEntry {
    /// Its number: later entries have larger ones.
    pub id: i64,
    /// When it was written, by the database's clock.
    pub at: Instant,
    /// Who did it.
    pub actor: String,
    /// What, in the word of whichever release wrote it.
    pub action: String,
    /// To which campaign.
    pub campaign_id: Option<CampaignId>,
    /// To which thing of it.
    pub subject: Option<String>,
    /// The fields it changed as they were.
    pub before: Option<Value>,
    /// The same fields as they became.
    pub after: Option<Value>,
    /// In which request.
    pub request_id: Option<String>,
    /// From which address.
    pub address: Option<String>,
}

/// Which entries are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// About this campaign.
    pub campaign_id: Option<CampaignId>,
    /// By this actor.
    pub actor: Option<String>,
    /// Of this kind.
    pub action: Option<AuditAction>,
    /// Written at this time or later.
    pub from: Option<Instant>,
    /// Written before this time.
    pub to: Option<Instant>,
    /// Older than this one: the last of the page before.
    pub after: Option<i64>,
}

impl Store {
    /// Writes an entry about something that no transaction of this store did.
    pub async fn note(&self, note: &AuditNote) -> Result<(), StoreError> {
        self.write_notes(self.connection(), std::slice::from_ref(note))
            .await
    }

    /// Writes entries within a transaction.
    pub(super) async fn write_notes(
        &self,
        on: &impl ConnectionTrait,
        notes: &[AuditNote],
    ) -> Result<(), StoreError> {
        for note in notes {
            let actor = note.by.actor.to_string();
            let actor: String = actor.chars().take(ACTOR_CHARACTERS_MAX).collect();
            let mut sql = Sql::new(self, "INSERT INTO audit_entry (created_at, actor, action, ");
            sql.push("campaign_id, subject, before_values, after_values, request_id, address)");
            sql.push(" VALUES (").now();
            sql.push(",").bind(actor);
            sql.push(",").bind(note.action.as_str());
            sql.push(",").bind(note.campaign.map(|campaign| campaign.0));
            sql.push(",").bind(note.subject.clone());
            sql.push(",")
                .bind(note.before.as_ref().map(Value::to_string));
            sql.push(",")
                .bind(note.after.as_ref().map(Value::to_string));
            sql.push(",").bind(note.by.request_id.clone());
            sql.push(",").bind(note.by.address.map(|at| at.to_string()));
            sql.push(")").run(on).await?;
        }
        Ok(())
    }

    /// Entries, newest first, at most `rows_max`.
    pub async fn audit_entries(
        &self,
        filter: &AuditFilter,
        rows_max: u32,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        let mut sql = Sql::new(self, "SELECT id, created_at, actor, action, campaign_id, ");
        sql.push("subject, before_values, after_values, request_id, address FROM audit_entry");
        sql.push(" WHERE id < ")
            .bind(filter.after.unwrap_or(i64::MAX));
        if let Some(campaign) = filter.campaign_id {
            sql.push(" AND campaign_id = ").bind(campaign.0);
        }
        if let Some(actor) = &filter.actor {
            sql.push(" AND actor = ").bind(actor.as_str());
        }
        if let Some(action) = filter.action {
            sql.push(" AND action = ").bind(action.as_str());
        }
        if let Some(from) = filter.from {
            sql.push(" AND created_at >= ").bind(from);
        }
        if let Some(to) = filter.to {
            sql.push(" AND created_at < ").bind(to);
        }
        sql.push(" ORDER BY id DESC LIMIT ").bind(rows_max);
        let rows = sql.rows(self.connection()).await?;
        rows.iter().map(entry).collect()
    }

    /// Deletes entries that are older than `age` by the database's clock, the oldest first, at most
    /// `rows_max`: how many there were.
    pub async fn purge_audit(&self, age: Duration, rows_max: u32) -> Result<u64, StoreError> {
        let mut old = Sql::new(self, "SELECT id FROM audit_entry WHERE created_at < ");
        old.before(age).push(" ORDER BY created_at LIMIT ");
        let rows = old.bind(rows_max).rows(self.connection()).await?;
        let ids = rows
            .iter()
            .map(|row| row.try_get::<i64>("", "id"))
            .collect::<Result<Vec<i64>, _>>()?;
        if ids.is_empty() {
            return Ok(0);
        }
        let mut delete = Sql::new(self, "DELETE FROM audit_entry WHERE id IN ");
        delete.list(padded(&ids)).push(" AND created_at < ");
        delete.before(age).run(self.connection()).await
    }
}

fn entry(row: &QueryResult) -> Result<AuditEntry, StoreError> {
    let campaign: Option<i64> = row.try_get("", "campaign_id")?;
    Ok(AuditEntry {
        id: row.try_get("", "id")?,
        at: row.try_get("", "created_at")?,
        actor: row.try_get("", "actor")?,
        action: row.try_get("", "action")?,
        campaign_id: campaign.map(CampaignId),
        subject: row.try_get("", "subject")?,
        before: values(row, "before_values")?,
        after: values(row, "after_values")?,
        request_id: row.try_get("", "request_id")?,
        address: row.try_get("", "address")?,
    })
}

fn values(row: &QueryResult, column: &str) -> Result<Option<Value>, StoreError> {
    let text: Option<String> = row.try_get("", column)?;
    let read = text.map(|text| {
        serde_json::from_str(&text).map_err(|_| StoreError::Unreadable {
            what: "the values of an audit entry",
            value: text,
        })
    });
    read.transpose()
}
