//! Changes with a time of the database's clock: opening and closing a campaign, and when units became available.

use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};

use crate::domain::{Campaign, CampaignId, CampaignLog, State};
use crate::parts::store::entity::campaign::{Column, Entity};
use crate::parts::store::numbers::to_signed;
use crate::parts::store::{Store, StoreError};

impl Store {
    /// Opens or closes the campaign if it has this `version` and its time has come by the database's clock. The clock
    /// is read within the statement, because a closed campaign never opens again. Its events are written in the same
    /// transaction. Returns whether it did.
    pub async fn move_by_clock(&self, id: CampaignId, version: u64) -> Result<bool, StoreError> {
        let tx = self.begin().await?;
        let Some(before) = self.locked_row(&tx, id).await? else {
            tx.rollback().await?;
            return Ok(false);
        };
        // MySQL assigns from left to right: no expression reads a column that is already assigned.
        let is_over = || Column::ClosesAt.into_expr().lte(self.now_expr());
        let opens = Column::OpensAt.is_null();
        let opens = opens.or(Column::OpensAt.into_expr().lte(self.now_expr()));
        let closes = [State::Scheduled, State::Open, State::Paused].map(State::as_str);
        let closes = Column::State.is_in(closes).and(is_over());
        let opens = Column::State.eq(State::Scheduled.as_str()).and(opens);
        let state = Expr::case(is_over(), State::Closed.as_str()).finally(State::Open.as_str());
        let moved = Entity::update_many()
            .col_expr(Column::UpdatedAt, self.now_expr())
            .col_expr(Column::LoosenedAt, self.now_expr())
            .col_expr(Column::Version, Column::Version.into_expr().add(1))
            .col_expr(Column::State, state.into())
            .filter(Column::Id.eq(id.0))
            .filter(Column::Version.eq(to_signed(version)))
            .filter(closes.or(opens))
            .exec(&tx)
            .await?;
        if moved.rows_affected != 1 {
            tx.rollback().await?;
            return Ok(false);
        }
        let after = Entity::find_by_id(id.0).one(&tx).await?;
        let after = after.ok_or_else(|| StoreError::unreadable("the campaign just moved", id))?;
        let after = Campaign::try_from(after)?;
        let (written, mut log) = (before.campaign_events, CampaignLog::new(before.is_sold_out));
        log.moved_by_clock(&before.try_into()?, after.state);
        self.write_log(&tx, id, written, &log).await?;
        tx.commit().await?;
        Ok(true)
    }
}
