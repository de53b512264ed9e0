//! Lists of the users who may participate. An enforced list never changes: a new list is filled beside it, one
//! transaction makes the campaign refer to the new one, and the users of the old one are deleted later in bounded
//! batches. So a campaign has a complete list or none.
//!
//! The states of a list: being filled (`importing`), enforced (`in_force`), or ended (`ended`). Ended lists are not
//! read, and their users are deleted later.

mod cleanup;

use std::collections::HashSet;

use sea_orm::sea_query::{Condition, Expr, ExprTrait};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, UpdateMany};
use serde_json::json;

use super::audit::stored_actor;
use super::entity::allow_list::{Column, Entity};
use super::entity::{allow_list_user, campaign, insert};
use super::numbers::{to_signed, to_unsigned};
use super::statement_lengths::{padded, slices};
use super::{Store, StoreError};
use crate::domain::{
    AllowListId, AuditAction, AuditNote, CampaignId, Origin, State, Timestamp, UserId,
};
use crate::runtime::failpoint;

const IMPORTING: &str = "importing";
const IN_FORCE: &str = "in_force";
const ENDED: &str = "ended";
/// Bytes of a user in a statement.
const ROW_BYTES: usize = 26;

/// An enforced list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowList {
    /// Its generation.
    pub id: AllowListId,
    /// The number of its users.
    pub users: u64,
    /// Since when it is enforced.
    pub since: Timestamp,
    /// The actor who enforced it.
    pub actor: String,
}

/// The result of enforcing a list, or of removing it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Enforced {
    /// Done; with the enforced list from now on, if any.
    Done(Option<AllowList>),
    /// Another import of the campaign's list began meanwhile: nothing changed.
    Superseded,
    /// There is no such campaign, or it is archived: nothing changed.
    Fixed,
    /// There was no list to remove.
    Nothing,
}

impl Store {
    /// Begins a new list of a campaign, and ends an import of it that was in progress.
    pub async fn begin_allow_list(
        &self,
        campaign: CampaignId,
        actor: &str,
    ) -> Result<AllowListId, StoreError> {
        let tx = self.begin().await?;
        self.end_lists(&tx, campaign, &[IMPORTING], None).await?;
        let insert = insert::<Entity, _>([
            (Column::CampaignId, campaign.0.into()),
            (Column::State, IMPORTING.into()),
            (Column::Users, 0.into()),
            (Column::Actor, stored_actor(actor).into()),
            (Column::ChangedAt, self.now_expr()),
        ]);
        let id = tx.execute(&insert).await?.last_insert_id();
        tx.commit().await?;
        Ok(AllowListId(to_signed(id)))
    }

    /// Adds users to a list that is being filled; duplicates have no effect. False: the list has ended, and nobody
    /// was added.
    pub async fn add_to_allow_list(
        &self,
        list: AllowListId,
        users: &[UserId],
    ) -> Result<bool, StoreError> {
        let tx = self.begin().await?;
        let mut added = 0;
        for slice in slices(users, self.statement_bytes_max / ROW_BYTES) {
            // As text: the query builder has no INSERT IGNORE, and an upsert would count existing rows as affected.
            let mut sql = self.sql(if self.is_embedded() {
                "INSERT OR IGNORE"
            } else {
                "INSERT IGNORE"
            });
            sql.push(" INTO allow_list_user (list_id, user_id) VALUES ");
            sql.rows_of(slice.iter().map(|user| [list.0.into(), user.0.into()]));
            added += sql.run(&tx).await?;
        }
        let counted = self
            .change(importing(list))
            .col_expr(
                Column::Users,
                Expr::col(Column::Users).add(to_signed(added)),
            )
            .exec(&tx)
            .await?;
        if counted.rows_affected != 1 {
            tx.rollback().await?;
            return Ok(false);
        }
        tx.commit().await?;
        Ok(true)
    }

    /// Enforces a filled list, with an entry in the audit log.
    pub async fn enforce_allow_list(
        &self,
        list: AllowListId,
        campaign: CampaignId,
        by: &Origin,
    ) -> Result<Enforced, StoreError> {
        let before = self.allow_list(campaign).await?;
        let tx = self.begin().await?;
        let own = self
            .change(importing(list).add(Column::CampaignId.eq(campaign.0)))
            .col_expr(Column::State, IN_FORCE.into())
            .exec(&tx)
            .await?;
        if own.rows_affected != 1 {
            tx.rollback().await?;
            return Ok(Enforced::Superseded);
        }
        self.end_lists(&tx, campaign, &[IMPORTING, IN_FORCE], Some(list))
            .await?;
        let after = self.in_force(&tx, campaign).await?;
        let action = AuditAction::AllowListReplace;
        let note = noted(by, action, campaign, before.as_ref(), after.as_ref());
        self.write_notes(&tx, &[note]).await?;
        failpoint::point("allow_list.enforcing");
        // The campaign's row is locked last, because participations wait for it.
        if !self.name_list(&tx, campaign, Some(list)).await? {
            tx.rollback().await?;
            return Ok(Enforced::Fixed);
        }
        tx.commit().await?;
        Ok(Enforced::Done(after))
    }

    /// Removes a campaign's list, and ends an import of it, with an entry in the audit log.
    pub async fn remove_allow_list(
        &self,
        campaign: CampaignId,
        by: &Origin,
    ) -> Result<Enforced, StoreError> {
        let Some(before) = self.allow_list(campaign).await? else {
            return Ok(Enforced::Nothing);
        };
        let tx = self.begin().await?;
        self.end_lists(&tx, campaign, &[IMPORTING, IN_FORCE], None)
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

    /// Ends a list that is being filled.
    pub async fn abandon_allow_list(&self, list: AllowListId) -> Result<(), StoreError> {
        self.end(importing(list), &self.db).await?;
        Ok(())
    }

    /// The enforced list of a campaign.
    pub async fn allow_list(&self, campaign: CampaignId) -> Result<Option<AllowList>, StoreError> {
        self.in_force(&self.db, campaign).await
    }

    /// Those of the users that are in a list; the others are certainly not in it.
    pub async fn allowed(
        &self,
        list: AllowListId,
        users: &[UserId],
    ) -> Result<Vec<UserId>, StoreError> {
        let mut found = self.users_of(&self.db, list, users).await?;
        let known: HashSet<UserId> = found.iter().copied().collect();
        let mut others: Vec<UserId> = users.to_vec();
        others.retain(|user| !known.contains(user));
        // An enforced list never changes, so any server that has the user is right. A server without the user may be
        // a former primary that has not received the list.
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
        let rows = allow_list_user::Entity::find()
            .filter(allow_list_user::Column::ListId.eq(list.0))
            .filter(allow_list_user::Column::UserId.is_in(padded(&users)))
            .all(on)
            .await?;
        Ok(rows.into_iter().map(|row| UserId(row.user_id)).collect())
    }

    async fn in_force(
        &self,
        on: &impl ConnectionTrait,
        campaign: CampaignId,
    ) -> Result<Option<AllowList>, StoreError> {
        let row = Entity::find()
            .filter(Column::CampaignId.eq(campaign.0))
            .filter(Column::State.eq(IN_FORCE))
            .one(on)
            .await?;
        Ok(row.map(|row| AllowList {
            id: AllowListId(row.id),
            users: to_unsigned(row.users),
            since: row.changed_at,
            actor: row.actor,
        }))
    }

    /// Ends the campaign's lists in these states, except one.
    async fn end_lists(
        &self,
        on: &impl ConnectionTrait,
        campaign: CampaignId,
        states: &[&str],
        but: Option<AllowListId>,
    ) -> Result<(), StoreError> {
        let lists = Condition::all()
            .add(Column::CampaignId.eq(campaign.0))
            .add(Column::State.is_in(states.iter().copied()))
            .add_option(but.map(|list| Column::Id.ne(list.0)));
        self.end(lists, on).await?;
        Ok(())
    }

    /// Ends these lists. Returns their number.
    async fn end(&self, lists: Condition, on: &impl ConnectionTrait) -> Result<u64, StoreError> {
        let update = self.change(lists).col_expr(Column::State, ENDED.into());
        Ok(update.exec(on).await?.rows_affected)
    }

    fn change(&self, lists: Condition) -> UpdateMany<Entity> {
        Entity::update_many()
            .col_expr(Column::ChangedAt, self.now_expr())
            .filter(lists)
    }

    /// Sets the campaign's list, unless the campaign is archived or missing. The version stays the same: it counts
    /// settings of the gate, which knows no lists.
    async fn name_list(
        &self,
        on: &impl ConnectionTrait,
        campaign: CampaignId,
        list: Option<AllowListId>,
    ) -> Result<bool, StoreError> {
        let updated = campaign::Entity::update_many()
            .col_expr(
                campaign::Column::AllowListId,
                list.map(|list| list.0).into(),
            )
            .col_expr(campaign::Column::UpdatedAt, self.now_expr())
            .filter(campaign::Column::Id.eq(campaign.0))
            .filter(campaign::Column::State.ne(State::Archived.as_str()))
            .exec(on)
            .await?;
        Ok(updated.rows_affected == 1)
    }
}

/// The list, if it is being filled.
fn importing(list: AllowListId) -> Condition {
    let own = Condition::all().add(Column::Id.eq(list.0));
    own.add(Column::State.eq(IMPORTING))
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
