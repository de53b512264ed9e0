//! Events about campaigns: appended to the campaign's own stream, in the transaction of the change, which locks the
//! campaign's row.

use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use crate::domain::{Campaign, CampaignId, CampaignLog, OutboxEvent, State, to_stored_precision};
use crate::parts::store::bounded::Tx;
use crate::parts::store::entity::by_index;
use crate::parts::store::entity::campaign::{Column, Entity, Model};
use crate::parts::store::numbers::{to_signed, to_unsigned};
use crate::parts::store::participations::event_rows;
use crate::parts::store::{Store, StoreError};
use crate::runtime::failpoint;

/// The states in which the stock of a campaign is observed.
const ON_SALE: [&str; 2] = [State::Open.as_str(), State::Paused.as_str()];

impl Store {
    /// Campaigns on sale that have sold out, or have units again, since their last event about it; at most
    /// `rows_max`. Reads every campaign on sale.
    pub async fn stock_changes(&self, rows_max: u64) -> Result<Vec<CampaignId>, StoreError> {
        let is_sold_out = Column::CommittedUnits
            .into_expr()
            .gte(Expr::col(Column::TotalStock));
        let has_sold_out = Column::IsSoldOut.eq(false).and(is_sold_out.clone());
        let has_units = is_sold_out.not().or(Column::TotalStock.is_null());
        let is_back = Column::IsSoldOut.eq(true).and(has_units);
        let mut rows = Entity::find()
            .select_only()
            .column(Column::Id)
            .filter(Column::State.is_in(ON_SALE))
            .filter(has_sold_out.or(is_back))
            .order_by_asc(Column::Id)
            .limit(rows_max);
        by_index(&mut rows, "campaign_by_state");
        let ids: Vec<i64> = rows.into_tuple().all(&self.db).await?;
        Ok(ids.into_iter().map(CampaignId).collect())
    }

    /// Writes that a campaign has sold out or has units again, if this changed since its last event about it. Returns
    /// the number of events.
    pub async fn record_stock(&self, id: CampaignId) -> Result<usize, StoreError> {
        let tx = self.begin().await?;
        let Some(row) = self.locked_row(&tx, id).await? else {
            tx.rollback().await?;
            return Ok(0);
        };
        let (written, mut log) = (row.campaign_events, CampaignLog::new(row.is_sold_out));
        log.stock(&Campaign::try_from(row)?);
        self.write_log(&tx, id, written, &log).await?;
        tx.commit().await?;
        Ok(log.events().len())
    }

    /// The campaign's row, locked until the transaction ends. The time of a statement is the time at which it began,
    /// so a statement that waited for the row would use a time at which other transactions still decided.
    pub(in crate::parts::store) async fn locked_row(
        &self,
        tx: &Tx,
        id: CampaignId,
    ) -> Result<Option<Model>, StoreError> {
        let mut row = Entity::find_by_id(id.0);
        // SQLite has one writer at a time, which is this transaction.
        if !self.is_embedded() {
            row = row.lock_exclusive();
        }
        Ok(row.one(tx).await?)
    }

    /// Appends the events of a log to the stream of a campaign, whose row the transaction holds and whose stream has
    /// `written` events.
    pub(super) async fn write_log(
        &self,
        tx: &Tx,
        id: CampaignId,
        written: i64,
        log: &CampaignLog,
    ) -> Result<(), StoreError> {
        if log.events().is_empty() {
            return Ok(());
        }
        let at = to_stored_precision(self.clock.now());
        let sequences = to_unsigned(written) + 1..;
        let events: Vec<OutboxEvent> = sequences
            .zip(log.events())
            .map(|(sequence, event)| OutboxEvent::about_campaign(event, sequence, at))
            .collect();
        for mut insert in event_rows(self, &events) {
            insert.run(tx).await?;
        }
        let count = written + to_signed(events.len() as u64);
        Entity::update_many()
            .col_expr(Column::CampaignEvents, count.into())
            .col_expr(Column::IsSoldOut, log.is_sold_out().into())
            .filter(Column::Id.eq(id.0))
            .exec(tx)
            .await?;
        failpoint::point("campaign.written");
        Ok(())
    }
}
