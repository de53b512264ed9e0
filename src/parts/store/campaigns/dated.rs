//! Changes dated by the database's clock: opening and closing a campaign, and when units became available.

use sea_orm::{EntityTrait, QuerySelect};

use crate::domain::CampaignId;
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
        let mut sql = self.sql("UPDATE campaign SET updated_at = ");
        sql.now()
            .push(", loosened_at = ")
            .now()
            .push(", version = version + 1, state = CASE WHEN closes_at <= ")
            .now()
            .push(" THEN 'closed' ELSE 'open' END WHERE id = ")
            .bind(id.0);
        sql.push(" AND version = ").bind(to_signed(version));
        sql.push(" AND (state IN ('scheduled', 'open', 'paused') AND closes_at <= ")
            .now();
        sql.push(" OR state = 'scheduled' AND (opens_at IS NULL OR opens_at <= ")
            .now()
            .push("))");
        let moved = sql.run(&tx).await? == 1;
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
