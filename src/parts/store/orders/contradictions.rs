//! Orders whose lines differ from them, for verification.

use std::fmt;

use uuid::Uuid;

use crate::domain::{CampaignId, OrderId, ParticipationId};
use crate::parts::store::{Store, StoreError};

/// Maximum number of reported orders.
const REPORTED_MAX: u32 = 5;

/// A line without the status that its order requires, and that will not get it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineContradiction {
    /// The order.
    pub order: OrderId,
    /// Its status.
    pub status: String,
    /// The campaign of the line.
    pub campaign: CampaignId,
    /// The participation of the line.
    pub participation: ParticipationId,
    /// Its status; none: it does not exist.
    pub line_status: Option<String>,
}

impl fmt::Display for LineContradiction {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line_status = self.line_status.as_deref().unwrap_or("missing");
        write!(
            formatter,
            "I9 the order {} is {}, and its line {} is {line_status}",
            self.order, self.status, self.participation
        )
    }
}

impl Store {
    /// Lines that contradict their orders, except of unfinished orders. A reserved order becomes unfinished only when
    /// it expires, so its lines are always checked. Reads all orders, in one statement.
    pub async fn contradicting_lines(&self) -> Result<Vec<LineContradiction>, StoreError> {
        let mut sql = self.sql(
            "SELECT o.id AS order_id, o.status AS order_status, l.campaign_id, l.participation_id, \
             p.status AS line_status FROM customer_order o JOIN order_line l ON l.order_id = o.id \
             LEFT JOIN participation p ON p.id = l.participation_id \
             LEFT JOIN order_due d ON d.order_id = o.id WHERE CASE \
             WHEN o.status = 'reserved' THEN d.order_id IS NULL OR COALESCE(p.status, '') <> 'reserved' \
             WHEN d.order_id IS NOT NULL THEN FALSE \
             WHEN o.status = 'refused' THEN COALESCE(p.status, 'cancelled') <> 'cancelled' \
             ELSE COALESCE(p.status, '') <> o.status END ORDER BY o.id, l.line LIMIT ",
        );
        let rows = sql.bind(REPORTED_MAX).rows(&self.db).await?;
        let contradictions = rows.iter().map(|row| {
            let (order, participation): (Uuid, Uuid) = (
                row.try_get("", "order_id")?,
                row.try_get("", "participation_id")?,
            );
            Ok(LineContradiction {
                order: OrderId(order),
                status: row.try_get("", "order_status")?,
                campaign: CampaignId(row.try_get("", "campaign_id")?),
                participation: ParticipationId(participation),
                line_status: row.try_get("", "line_status")?,
            })
        });
        contradictions.collect()
    }
}
