//! Changes dated by the database's clock: opening and closing a campaign, and when units became available.

use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QuerySelect};

use crate::domain::{CampaignId, State};
use crate::parts::store::bounded::Tx;
use crate::parts::store::entity::campaign::{Column, Entity};
use crate::parts::store::numbers::to_signed;
use crate::parts::store::{Store, StoreError};

impl Store {
    /// Opens or closes the campaign if it is of `version` and it is time by the database's clock, which is
    /// asked within the statement: a campaign that is closed never opens again. Answers whether it was.
    pub async fn move_by_clock(&self, id: CampaignId, version: u64) -> Result<bool, StoreError> {
        let tx = self.begin().await?;
        self.take_row(&tx, id).await?;
        // MySQL assigns from left to right: nothing here reads a column already assigned.
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
        let moved = moved.rows_affected == 1;
        tx.commit().await?;
        Ok(moved)
    }

    /// Takes the campaign's row until the transaction ends. A statement knows the time at which it began: one
    /// that waited for the row would date what it does to a moment when others still decided without it.
    pub(super) async fn take_row(&self, tx: &Tx, id: CampaignId) -> Result<(), StoreError> {
        // SQLite has one writer, and this is it.
        if !self.is_embedded() {
            let row = Entity::find_by_id(id.0).select_only().column(Column::Id);
            let row = row.lock_exclusive().into_tuple::<i64>();
            row.one(tx).await?;
        }
        Ok(())
    }
}
