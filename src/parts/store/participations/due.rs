//! Reservations that are not paid in time.

use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use uuid::Uuid;

use crate::domain::{CampaignId, ParticipationId};
use crate::parts::store::entity::participation::{Column, Entity};
use crate::parts::store::shapes::padded;
use crate::parts::store::{Store, StoreError};

/// Reservations whose time to pay is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueReservations {
    /// Of which campaign.
    pub campaign: CampaignId,
    /// Which.
    pub ids: Vec<ParticipationId>,
}

/// What to leave out for now, so that other reservations are processed.
#[derive(Clone, Debug, Default)]
pub struct PassedOver {
    /// Campaigns whose reservations could not be changed.
    pub campaigns: Vec<CampaignId>,
    /// Reservations that cannot be read.
    pub participations: Vec<ParticipationId>,
}

impl Store {
    /// Reservations whose time is over, by the database's clock, the oldest first, but for those passed over.
    pub async fn due_reservations(
        &self,
        limit: u64,
        passed_over: &PassedOver,
    ) -> Result<Vec<DueReservations>, StoreError> {
        let is_over = Expr::col(Column::ExpiresAt).lte(self.now_expr());
        let campaigns: Vec<i64> = passed_over.campaigns.iter().map(|id| id.0).collect();
        let ids: Vec<Uuid> = passed_over.participations.iter().map(|id| id.0).collect();
        let rows: Vec<(Uuid, i64)> = Entity::find()
            .select_only()
            .columns([Column::Id, Column::CampaignId])
            .filter(is_over)
            .filter(Column::CampaignId.is_not_in(padded(&campaigns)))
            .filter(Column::Id.is_not_in(padded(&ids)))
            .order_by_asc(Column::ExpiresAt)
            .limit(limit)
            .into_tuple()
            .all(&self.db)
            .await?;
        let mut due: Vec<DueReservations> = Vec::new();
        for (id, campaign) in rows {
            let campaign = CampaignId(campaign);
            match due.iter_mut().find(|due| due.campaign == campaign) {
                Some(known) => known.ids.push(ParticipationId(id)),
                None => due.push(DueReservations {
                    campaign,
                    ids: vec![ParticipationId(id)],
                }),
            }
        }
        Ok(due)
    }
}
