//! Reservations whose time to pay is over.

use uuid::Uuid;

use crate::domain::{CampaignId, ParticipationId};
use crate::parts::store::outbox::Sql;
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

/// What is not looked at again for now, so that others have their turn.
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
        let mut sql = Sql::new(
            self,
            "SELECT id, campaign_id FROM participation WHERE expires_at <= ",
        );
        sql.now();
        if !passed_over.campaigns.is_empty() {
            let campaigns: Vec<i64> = passed_over.campaigns.iter().map(|id| id.0).collect();
            sql.push(" AND campaign_id NOT IN ")
                .list(padded(&campaigns));
        }
        if !passed_over.participations.is_empty() {
            let ids: Vec<Uuid> = passed_over.participations.iter().map(|id| id.0).collect();
            sql.push(" AND id NOT IN ").list(padded(&ids));
        }
        sql.push(" ORDER BY expires_at LIMIT ");
        let mut due: Vec<DueReservations> = Vec::new();
        for row in sql.bind(limit).rows(self.connection()).await? {
            let id: Uuid = row.try_get("", "id")?;
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
