//! The generations of a campaign's gate: raising the epoch, and what a rebuild starts from. An
//! admission of an older epoch is refused by the commit, so whatever a gate knew before is void.

use std::collections::HashMap;
use std::time::Duration;

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use super::{Held, holdings};
use crate::domain::{Campaign, CampaignId, Instant, Mark, ParticipationId, Seat, UserId};
use crate::store::campaigns::{to_signed, to_unsigned};
use crate::store::entity::campaign;
use crate::store::entity::participation::{Column, Entity};
use crate::store::outbox::Sql;
use crate::store::verification::Snapshot;
use crate::store::{Store, StoreError};

/// Participations read in one page.
const PAGE: u64 = 20_000;

/// What a rebuild of the gate starts from.
#[derive(Clone, Debug)]
pub struct Committed {
    /// Who holds what.
    pub seats: Vec<Seat>,
    /// How far the campaign's books had come.
    pub mark: Mark,
}

/// What came of raising a campaign's epoch.
#[derive(Clone, Debug)]
pub enum Raised {
    /// The campaign, with its new epoch.
    To(Box<Campaign>),
    /// Not raised: for so long the campaign is served by the database alone.
    Closed(Duration),
    /// There is no such campaign.
    Unknown,
}

impl Store {
    /// Raises the campaign's gate epoch, beyond `beyond` too, and opens its gate unless it is closed.
    /// From then on nothing can be committed for the campaign until a gate has state of the new epoch
    /// or the database path closes the gate again.
    pub async fn raise_epoch(&self, id: CampaignId, beyond: u64) -> Result<Raised, StoreError> {
        let tx = self.begin().await?;
        let beyond = to_signed(beyond);
        let mut raise = Sql::new(
            self,
            "UPDATE campaign SET gate_epoch = CASE WHEN gate_epoch < ",
        );
        raise.bind(beyond).push(" THEN ").bind(beyond);
        raise.push(" ELSE gate_epoch END + 1, gate_closed_until = NULL WHERE id = ");
        raise
            .bind(id.0)
            .push(" AND (gate_closed_until IS NULL OR gate_closed_until <= ");
        let raised = raise.now().push(")").run(&tx).await?;
        let answer = if raised == 1 {
            match campaign::Entity::find_by_id(id.0).one(&tx).await? {
                Some(row) => Raised::To(Box::new(row.try_into()?)),
                None => Raised::Unknown,
            }
        } else {
            let mut read = Sql::new(self, "SELECT gate_closed_until AS ends_at, ");
            read.now().push(" AS now_at FROM campaign WHERE id = ");
            match read.bind(id.0).rows(&tx).await?.first() {
                Some(row) => {
                    let ends_at: Option<Instant> = row.try_get("", "ends_at")?;
                    let now_at: Instant = row.try_get("", "now_at")?;
                    let left = ends_at.and_then(|ends_at| (ends_at - now_at).to_std().ok());
                    Raised::Closed(left.unwrap_or_default())
                }
                None => Raised::Unknown,
            }
        };
        tx.commit().await?;
        Ok(answer)
    }
}

impl Snapshot {
    /// What is committed of a campaign. Once the epoch was raised nothing more is committed until a gate
    /// knows of it; what is given up meanwhile is told apart by how many returns there were.
    pub async fn committed(&self, id: CampaignId) -> Result<Committed, StoreError> {
        let mut seats = HashMap::new();
        let mut last_rank = 0;
        loop {
            let page: Vec<(i64, Held)> = self.holdings_after(id, last_rank).await?;
            for (rank, held) in &page {
                last_rank = *rank;
                sit(&mut seats, held);
            }
            if u64::try_from(page.len()).unwrap_or(PAGE) < PAGE {
                break;
            }
        }
        let highest: Option<Option<i64>> = Entity::find()
            .select_only()
            .column_as(Column::Rank.max(), "last_rank")
            .filter(Column::CampaignId.eq(id.0))
            .into_tuple()
            .one(&self.tx)
            .await?;
        let returns: Option<i64> = campaign::Entity::find_by_id(id.0)
            .select_only()
            .column(campaign::Column::Returns)
            .into_tuple()
            .one(&self.tx)
            .await?;
        Ok(Committed {
            seats: seats.into_values().collect(),
            mark: Mark {
                last_rank: to_unsigned(highest.flatten().unwrap_or(0)),
                returns: to_unsigned(returns.unwrap_or(0)),
            },
        })
    }

    async fn holdings_after(
        &self,
        id: CampaignId,
        rank: i64,
    ) -> Result<Vec<(i64, Held)>, StoreError> {
        let rows: Vec<(i64, uuid::Uuid, i64, i32)> = holdings(id)
            .select_only()
            .columns([Column::Rank, Column::Id, Column::UserId, Column::Quantity])
            .filter(Column::Rank.gt(rank))
            .order_by_asc(Column::Rank)
            .limit(PAGE)
            .into_tuple()
            .all(&self.tx)
            .await?;
        let held = |(rank, id, user_id, quantity)| {
            let held = Held {
                id,
                user_id,
                quantity,
                ordinal: None,
            };
            (rank, held)
        };
        Ok(rows.into_iter().map(held).collect())
    }
}

fn sit(seats: &mut HashMap<i64, Seat>, held: &Held) {
    let units = held.quantity.unsigned_abs();
    seats
        .entry(held.user_id)
        .and_modify(|seat: &mut Seat| seat.units += units)
        .or_insert(Seat {
            user: UserId(held.user_id),
            units,
            first: ParticipationId(held.id),
        });
}
