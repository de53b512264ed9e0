//! Lists of those who may take part. Each list is a generation of its own that never changes once it is in
//! force: it is filled beside the one that holds, its campaign is made to name it in one transaction, and the
//! users of the one before are deleted later, a bounded piece at a time. So a list is whole or not there.
//!
//! A list is being filled (`importing`), holds (`in_force`), or is over (`ended`); then nobody looks at it any
//! more, and its users wait to be deleted.

use std::collections::HashSet;
use std::time::Duration;

use chrono::TimeDelta;
use sea_orm::{ConnectionTrait, QueryResult};
use serde_json::json;

use super::campaigns::{to_signed, to_unsigned};
use super::outbox::Sql;
use super::shapes::{padded, slices};
use super::{Store, StoreError};
use crate::domain::{
    AllowListId, AuditAction, AuditNote, CampaignId, Instant, Origin, State, UserId,
};
use crate::runtime::failpoint;

/// What a user takes in a statement.
const ROW_BYTES: usize = 26;
/// Longest name of whoever replaced a list that is kept.
const ACTOR_CHARACTERS_MAX: usize = 255;

/// A list that is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowList {
    /// Which generation.
    pub id: AllowListId,
    /// How many are in it.
    pub users: u64,
    /// Since when it holds.
    pub since: Instant,
    /// Who put it there.
    pub actor: String,
}

/// What came of putting a list in force, or of taking it away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Enforced {
    /// Done; the list that holds from now on, if there is one.
    Done(Option<AllowList>),
    /// Another import of the campaign's list began meanwhile: nothing was changed.
    Superseded,
    /// There is no such campaign, or it is archived: nothing was changed.
    Fixed,
    /// There was no list to take away.
    Nothing,
}

impl Store {
    /// Begins a new list of a campaign. Whatever import of it was under way before is over.
    pub async fn begin_allow_list(
        &self,
        campaign: CampaignId,
        actor: &str,
    ) -> Result<AllowListId, StoreError> {
        let tx = self.begin().await?;
        self.end_lists(&tx, campaign, &["importing"], None).await?;
        let actor: String = actor.chars().take(ACTOR_CHARACTERS_MAX).collect();
        let mut sql = Sql::new(self, "INSERT INTO allow_list (campaign_id, state, users, ");
        sql.push("actor, changed_at) VALUES (").bind(campaign.0);
        sql.push(",'importing',0,").bind(actor).push(",").now();
        let id = sql.push(")").number(&tx).await?;
        tx.commit().await?;
        Ok(AllowListId(id))
    }

    /// Adds users to a list that is being filled, each once however often they are named. False: the list is
    /// over, and nobody was added.
    pub async fn add_to_allow_list(
        &self,
        list: AllowListId,
        users: &[UserId],
    ) -> Result<bool, StoreError> {
        let tx = self.begin().await?;
        let mut added = 0;
        for slice in slices(users, self.statement_bytes_max / ROW_BYTES) {
            let mut sql = Sql::new(self, "INSERT ");
            sql.push(if self.is_embedded() {
                "OR IGNORE"
            } else {
                "IGNORE"
            });
            sql.push(" INTO allow_list_user (list_id, user_id) VALUES ");
            sql.rows_of(slice.iter().map(|user| [list.0.into(), user.0.into()]));
            added += sql.run(&tx).await?;
        }
        let mut count = Sql::new(self, "UPDATE allow_list SET users = users + ");
        count.bind(to_signed(added)).push(", changed_at = ").now();
        count.push(" WHERE id = ").bind(list.0);
        if count.push(" AND state = 'importing'").run(&tx).await? != 1 {
            tx.rollback().await?;
            return Ok(false);
        }
        tx.commit().await?;
        Ok(true)
    }

    /// Puts a list in force that was filled, with an entry in the audit log.
    pub async fn enforce_allow_list(
        &self,
        list: AllowListId,
        campaign: CampaignId,
        by: &Origin,
    ) -> Result<Enforced, StoreError> {
        let before = self.allow_list(campaign).await?;
        let tx = self.begin().await?;
        let mut own = Sql::new(
            self,
            "UPDATE allow_list SET state = 'in_force', changed_at = ",
        );
        own.now().push(" WHERE id = ").bind(list.0);
        own.push(" AND campaign_id = ").bind(campaign.0);
        if own.push(" AND state = 'importing'").run(&tx).await? != 1 {
            tx.rollback().await?;
            return Ok(Enforced::Superseded);
        }
        self.end_lists(&tx, campaign, &["importing", "in_force"], Some(list))
            .await?;
        let after = self.in_force(&tx, campaign).await?;
        let action = AuditAction::AllowListReplace;
        let note = noted(by, action, campaign, before.as_ref(), after.as_ref());
        self.write_notes(&tx, &[note]).await?;
        failpoint::point("allow_list.enforcing");
        // The campaign last: participations wait for its row.
        if !self.name_list(&tx, campaign, Some(list)).await? {
            tx.rollback().await?;
            return Ok(Enforced::Fixed);
        }
        tx.commit().await?;
        Ok(Enforced::Done(after))
    }

    /// Takes a campaign's list away, and ends an import of it, with an entry in the audit log.
    pub async fn remove_allow_list(
        &self,
        campaign: CampaignId,
        by: &Origin,
    ) -> Result<Enforced, StoreError> {
        let Some(before) = self.allow_list(campaign).await? else {
            return Ok(Enforced::Nothing);
        };
        let tx = self.begin().await?;
        self.end_lists(&tx, campaign, &["importing", "in_force"], None)
            .await?;
        let action = AuditAction::AllowListRemove;
        let note = noted(by, action, campaign, Some(&before), None);
        self.write_notes(&tx, &[note]).await?;
        if !self.name_list(&tx, campaign, None).await? {
            tx.rollback().await?;
            return Ok(Enforced::Fixed);
        }
        tx.commit().await?;
        Ok(Enforced::Done(None))
    }

    /// Gives up a list that is being filled.
    pub async fn abandon_allow_list(&self, list: AllowListId) -> Result<(), StoreError> {
        let mut sql = Sql::new(self, "UPDATE allow_list SET state = 'ended', changed_at = ");
        sql.now().push(" WHERE id = ").bind(list.0);
        sql.push(" AND state = 'importing'")
            .run(self.connection())
            .await?;
        Ok(())
    }

    /// The list of a campaign that is in force.
    pub async fn allow_list(&self, campaign: CampaignId) -> Result<Option<AllowList>, StoreError> {
        self.in_force(self.connection(), campaign).await
    }

    /// Those of `users` who are in a list; that the others are not is certain.
    pub async fn allowed(
        &self,
        list: AllowListId,
        users: &[UserId],
    ) -> Result<Vec<UserId>, StoreError> {
        let mut found = self.users_of(self.connection(), list, users).await?;
        let known: HashSet<UserId> = found.iter().copied().collect();
        let mut others: Vec<UserId> = users.to_vec();
        others.retain(|user| !known.contains(user));
        // A list never changes once it is in force, so a yes of any server is right, and a no of one that takes
        // no writes any more may be of a list that it has not received.
        if !others.is_empty() {
            let tx = self.begin_current().await?;
            found.extend(self.users_of(&tx, list, &others).await?);
            self.end_current(tx).await?;
        }
        Ok(found)
    }

    async fn users_of(
        &self,
        on: &impl ConnectionTrait,
        list: AllowListId,
        users: &[UserId],
    ) -> Result<Vec<UserId>, StoreError> {
        let users: Vec<i64> = users.iter().map(|user| user.0).collect();
        let mut sql = Sql::new(self, "SELECT user_id FROM allow_list_user WHERE list_id = ");
        sql.bind(list.0).push(" AND user_id IN ");
        let rows = sql.list(padded(&users)).rows(on).await?;
        let user = |row: &QueryResult| Ok(UserId(row.try_get("", "user_id")?));
        rows.iter().map(user).collect()
    }

    /// Ends imports that have added nothing for so long: how many there were.
    pub async fn end_silent_imports(&self, silence: Duration) -> Result<u64, StoreError> {
        let before = self.ago(silence).await?;
        let mut sql = Sql::new(self, "UPDATE allow_list SET state = 'ended', changed_at = ");
        sql.now()
            .push(" WHERE state = 'importing' AND changed_at < ");
        sql.bind(before).run(self.connection()).await
    }

    /// Deletes users of a list that has been over for so long, at most `rows_max`, and the list itself with
    /// the last of them. False: there is no such list.
    pub async fn clear_ended_list(
        &self,
        grace: Duration,
        rows_max: u32,
    ) -> Result<bool, StoreError> {
        let before = self.ago(grace).await?;
        let mut old = Sql::new(self, "SELECT id FROM allow_list WHERE state = 'ended' AND ");
        old.push("changed_at <= ").bind(before).push(" LIMIT 1");
        let old = old.rows(self.connection()).await?;
        let Some(row) = old.first() else {
            return Ok(false);
        };
        let list: i64 = row.try_get("", "id")?;
        let mut end = Sql::new(self, "SELECT user_id FROM allow_list_user WHERE list_id = ");
        end.bind(list).push(" ORDER BY user_id LIMIT 1 OFFSET ");
        end.bind(rows_max.saturating_sub(1));
        let upto: Option<i64> = match end.rows(self.connection()).await?.first() {
            Some(row) => Some(row.try_get("", "user_id")?),
            None => None,
        };
        let mut users = Sql::new(self, "DELETE FROM allow_list_user WHERE list_id = ");
        users.bind(list);
        if let Some(upto) = upto {
            users.push(" AND user_id <= ").bind(upto);
        }
        users.run(self.connection()).await?;
        if upto.is_none() {
            let mut list_itself = Sql::new(self, "DELETE FROM allow_list WHERE id = ");
            list_itself.bind(list).push(" AND state = 'ended'");
            list_itself.run(self.connection()).await?;
        }
        Ok(true)
    }

    async fn ago(&self, age: Duration) -> Result<Instant, StoreError> {
        let now = Sql::time(self, self.connection()).await?;
        let age = TimeDelta::from_std(age).unwrap_or(TimeDelta::MAX);
        Ok(now.checked_sub_signed(age).unwrap_or_default())
    }

    async fn in_force(
        &self,
        on: &impl ConnectionTrait,
        campaign: CampaignId,
    ) -> Result<Option<AllowList>, StoreError> {
        let mut sql = Sql::new(self, "SELECT id, users, changed_at, actor FROM allow_list");
        sql.push(" WHERE campaign_id = ").bind(campaign.0);
        let rows = sql.push(" AND state = 'in_force'").rows(on).await?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        Ok(Some(AllowList {
            id: AllowListId(row.try_get("", "id")?),
            users: to_unsigned(row.try_get("", "users")?),
            since: row.try_get("", "changed_at")?,
            actor: row.try_get("", "actor")?,
        }))
    }

    /// Ends the campaign's lists in these states, but for one.
    async fn end_lists(
        &self,
        on: &impl ConnectionTrait,
        campaign: CampaignId,
        states: &[&str],
        but: Option<AllowListId>,
    ) -> Result<(), StoreError> {
        let mut sql = Sql::new(self, "UPDATE allow_list SET state = 'ended', changed_at = ");
        sql.now().push(" WHERE campaign_id = ").bind(campaign.0);
        sql.push(" AND state IN ").list(states.iter().copied());
        if let Some(list) = but {
            sql.push(" AND id <> ").bind(list.0);
        }
        sql.run(on).await?;
        Ok(())
    }

    /// Makes the campaign name its list, unless it is archived or not there. Its version counts what the gate
    /// is told of, and the gate knows nothing of lists.
    async fn name_list(
        &self,
        on: &impl ConnectionTrait,
        campaign: CampaignId,
        list: Option<AllowListId>,
    ) -> Result<bool, StoreError> {
        let mut sql = Sql::new(self, "UPDATE campaign SET allow_list_id = ");
        sql.bind(list.map(|list| list.0)).push(", updated_at = ");
        sql.now().push(" WHERE id = ").bind(campaign.0);
        sql.push(" AND state <> ").bind(State::Archived.as_str());
        Ok(sql.run(on).await? == 1)
    }
}

fn noted(
    by: &Origin,
    action: AuditAction,
    campaign: CampaignId,
    before: Option<&AllowList>,
    after: Option<&AllowList>,
) -> AuditNote {
    let told = |list: Option<&AllowList>| json!({ "users": list.map(|list| list.users) });
    let note = AuditNote::about(by.clone(), action, campaign);
    note.from(told(before)).to(told(after))
}
