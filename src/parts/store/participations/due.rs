//! Unpaid reservations that have expired.

use uuid::Uuid;

use crate::domain::{CampaignId, ParticipationId};
use crate::parts::store::statement_lengths::padded;
use crate::parts::store::{Store, StoreError};

/// Due reservations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueReservations {
    /// The campaign.
    pub campaign: CampaignId,
    /// Their ids.
    pub ids: Vec<ParticipationId>,
}

/// What to skip for now, so that other reservations are processed.
#[derive(Clone, Debug, Default)]
pub struct PassedOver {
    /// Campaigns whose reservations could not be changed.
    pub campaigns: Vec<CampaignId>,
    /// Reservations that cannot be read.
    pub participations: Vec<ParticipationId>,
}

impl Store {
    /// Reservations that are due by the database's clock, the oldest first, without skipped ones.
    pub async fn due_reservations(
        &self,
        limit: u64,
        passed_over: &PassedOver,
    ) -> Result<Vec<DueReservations>, StoreError> {
        let campaigns: Vec<i64> = passed_over.campaigns.iter().map(|id| id.0).collect();
        let ids: Vec<Uuid> = passed_over.participations.iter().map(|id| id.0).collect();
        let mut sql =
            self.sql("SELECT p.id, d.campaign_id FROM reservation_due d JOIN participation p ");
        sql.push("ON p.campaign_id = d.campaign_id AND p.`rank` = d.`rank` WHERE d.expires_at <= ")
            .now();
        if !campaigns.is_empty() {
            sql.push(" AND d.campaign_id NOT IN ")
                .list(padded(&campaigns));
        }
        if !ids.is_empty() {
            sql.push(" AND p.id NOT IN ").list(padded(&ids));
        }
        sql.push(" ORDER BY d.expires_at LIMIT ").bind(limit);
        let rows = sql.rows(&self.db).await?;
        let mut due: Vec<DueReservations> = Vec::new();
        for row in rows {
            let id = row.try_get("", "id")?;
            let campaign = CampaignId(row.try_get("", "campaign_id")?);
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
