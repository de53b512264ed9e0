//! Changes of a campaign's settings.

use std::time::Duration;

use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter};

use super::reward_text;
use crate::domain::{
    AuditNote, Campaign, CampaignId, CampaignLog, Reward, State, Timestamp, to_stored_precision,
};
use crate::parts::store::entity::campaign::{ActiveModel, Column, Entity};
use crate::parts::store::entity::set;
use crate::parts::store::numbers::{narrow, to_signed};
use crate::parts::store::sql::Sql;
use crate::parts::store::{Store, StoreError};

/// How long a consumer may still grant the previous reward; this is the interval at which it reads campaigns.
const REWARD_UNSEEN_MAX: Duration = Duration::from_secs(2);

/// Fields to change; none leaves a field unchanged, and some of none empties it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(
    missing_docs,
    reason = "each field is the campaign's field of that name"
)]
#[allow(
    clippy::option_option,
    reason = "absent and null are two things in a partial update"
)]
pub struct CampaignChange {
    pub name: Option<String>,
    pub description: Option<String>,
    pub state: Option<State>,
    pub total_stock: Option<Option<u64>>,
    pub per_user_limit: Option<u32>,
    pub max_quantity: Option<u32>,
    pub price: Option<Option<u64>>,
    pub hold_seconds: Option<u32>,
    pub opens_at: Option<Option<Timestamp>>,
    pub closes_at: Option<Option<Timestamp>>,
    pub reward: Option<Option<Reward>>,
    pub cancellable: Option<bool>,
}

impl Store {
    /// Changes fields of the campaign if its version is still `version`, with its events and the audit entry in the
    /// same transaction. Returns whether it did. A stock below the committed units violates a constraint.
    pub async fn change_campaign(
        &self,
        id: CampaignId,
        version: u64,
        change: &CampaignChange,
        note: Option<&AuditNote>,
    ) -> Result<bool, StoreError> {
        let row = self.changed_row(change)?;
        let tx = self.begin().await?;
        // The audit entry is written first, so that the campaign's row, which participations wait for, is locked for
        // less time. The entry describes a change of this version; with another version everything is rolled back.
        if let Some(note) = note {
            self.write_notes(&tx, std::slice::from_ref(note)).await?;
        }
        let Some(before) = self.locked_row(&tx, id).await? else {
            tx.rollback().await?;
            return Ok(false);
        };
        let updated = Entity::update_many()
            .set(row)
            .col_expr(Column::Version, Expr::col(Column::Version).add(1))
            .col_expr(Column::LoosenedAt, self.now_expr())
            .col_expr(Column::PerUserLimitMax, per_user_limit_max(change))
            .filter(Column::Id.eq(id.0))
            .filter(Column::Version.eq(to_signed(version)))
            .exec(&tx)
            .await?;
        if updated.rows_affected != 1 {
            tx.rollback().await?;
            return Ok(false);
        }
        let after = Entity::find_by_id(id.0).one(&tx).await?;
        let after = after.ok_or_else(|| StoreError::unreadable("the campaign just changed", id))?;
        let (written, is_sold_out) = (before.campaign_events, before.is_sold_out);
        let now = match change.state {
            Some(_) => Some(Sql::time(self, &tx).await?),
            None => None,
        };
        let mut log = CampaignLog::new(is_sold_out);
        log.changed(&Campaign::try_from(before)?, &after.try_into()?, now);
        self.write_log(&tx, id, written, &log).await?;
        tx.commit().await?;
        Ok(true)
    }

    fn changed_row(&self, change: &CampaignChange) -> Result<ActiveModel, StoreError> {
        let now = self.clock.now();
        let reward = change.reward.as_ref();
        let is_coupon = matches!(reward, Some(Some(Reward::Coupon(_))));
        Ok(ActiveModel {
            name: set(change.name.clone()),
            description: set(change.description.clone()),
            state: set(change.state.map(|state| state.as_str().to_owned())),
            total_stock: set(change.total_stock.map(|total| total.map(to_signed))),
            per_user_limit: set(change.per_user_limit.map(narrow)),
            max_quantity: set(change.max_quantity.map(narrow)),
            price: set(change.price.map(|price| price.map(to_signed))),
            hold_seconds: set(change.hold_seconds.map(narrow)),
            opens_at: set(change.opens_at.map(|at| at.map(to_stored_precision))),
            closes_at: set(change.closes_at.map(|at| at.map(to_stored_precision))),
            cancellable: set(change.cancellable),
            reward: set(reward
                .map(|reward| reward_text(reward.as_ref()))
                .transpose()?),
            reward_since: set(reward.map(|_| to_stored_precision(now + REWARD_UNSEEN_MAX))),
            // Never reset: granted coupons exist longer than the reward.
            has_coupons: set(is_coupon.then_some(true)),
            updated_at: Set(to_stored_precision(now)),
            ..ActiveModel::default()
        })
    }
}

/// The highest limit so far: it is never lowered.
fn per_user_limit_max(change: &CampaignChange) -> Expr {
    let highest = Expr::col(Column::PerUserLimitMax);
    let Some(limit) = change.per_user_limit.map(narrow) else {
        return highest;
    };
    let is_higher = Expr::col(Column::PerUserLimitMax).lt(limit);
    Expr::case(is_higher, limit)
        .finally(Expr::col(Column::PerUserLimitMax))
        .into()
}
