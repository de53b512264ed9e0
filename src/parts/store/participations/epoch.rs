//! The generations of a campaign's gate: raising the epoch, and the state for a rebuild. The commit rejects
//! admissions of an older epoch, so the previous state of a gate becomes void.

use std::collections::HashMap;
use std::time::Duration;

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QueryResult, QuerySelect};

use super::{HoldingRow, holdings};
use crate::domain::{
    Campaign, CampaignId, Mark, ParticipationId, State, Timestamp, UserId, UserUnits,
};
use crate::parts::store::entity::campaign;
use crate::parts::store::entity::participation::{Column, Entity};
use crate::parts::store::numbers::{to_signed, to_unsigned};
use crate::parts::store::sql::Sql;
use crate::parts::store::verification::Snapshot;
use crate::parts::store::{Store, StoreError};

/// Participations read in one page.
const PAGE: u64 = 20_000;

/// The committed state from which the gate is rebuilt.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The units of each user.
    pub seats: Vec<UserUnits>,
    /// The highest rank and the number of returns.
    pub mark: Mark,
}

/// Default of the longest plausible term.
const BELIEVED_MAX: Duration = Duration::from_secs(62);

/// How a campaign's epoch is raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raise {
    /// The new epoch is also greater than this one.
    pub beyond: u64,
    /// How long no rebuild of another process may begin.
    pub term: Duration,
    /// Whether it waits for another rebuild.
    pub turn: Turn,
    /// A term of a closed gate or of a rebuild that would end later than this was written before the database's clock
    /// was set back: it counts as ended. It is longer than every term and every wait for the row.
    pub believed_max: Duration,
}

impl Default for Raise {
    fn default() -> Self {
        Self {
            beyond: 0,
            term: Duration::ZERO,
            turn: Turn::default(),
            believed_max: BELIEVED_MAX,
        }
    }
}

/// Whether a rebuild waits for the previous one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Turn {
    /// No rebuild begins while another one runs or has just ended: two rebuilds of one campaign would make each other
    /// void, without end.
    #[default]
    Waits,
    /// It begins at once: an admin requests it, or it continues an earlier attempt.
    AtOnce,
}

/// The result of raising a campaign's epoch.
#[derive(Clone, Debug)]
pub enum Raised {
    /// The campaign, with its new epoch.
    To(Box<Campaign>),
    /// Not raised: the database alone serves the campaign for this long.
    Closed(Duration),
    /// Not raised: another rebuild is running or has just ended. None begins for this long.
    Underway(Duration),
    /// There is no such campaign.
    Unknown,
}

impl Store {
    /// Raises the campaign's gate epoch and opens its gate, unless it is closed or another rebuild comes first. From
    /// then on nothing can be committed for the campaign until a gate has state of the new epoch, or the database
    /// path closes the gate again.
    pub async fn raise_epoch(&self, id: CampaignId, how: &Raise) -> Result<Raised, StoreError> {
        let tx = self.begin().await?;
        let beyond = to_signed(how.beyond);
        let mut raise = self.sql("UPDATE campaign SET gate_epoch = CASE WHEN gate_epoch < ");
        raise.bind(beyond).push(" THEN ").bind(beyond);
        raise.push(" ELSE gate_epoch END + 1, gate_closed_until = NULL, gate_rebuild_until = ");
        raise.after(how.term).push(" WHERE id = ").bind(id.0);
        is_over(&mut raise, "gate_closed_until", how.believed_max);
        if how.turn == Turn::Waits {
            is_over(&mut raise, "gate_rebuild_until", how.believed_max);
        }
        let raised = raise.run(&tx).await?;
        let answer = if raised == 1 {
            match campaign::Entity::find_by_id(id.0).one(&tx).await? {
                Some(row) => Raised::To(Box::new(row.try_into()?)),
                None => Raised::Unknown,
            }
        } else {
            let mut read = self.sql("SELECT gate_closed_until, gate_rebuild_until, ");
            read.now().push(" AS now_at FROM campaign WHERE id = ");
            match read.bind(id.0).rows(&tx).await?.first() {
                Some(row) => not_raised(row, how.believed_max)?,
                None => Raised::Unknown,
            }
        };
        tx.commit().await?;
        Ok(answer)
    }

    /// Prevents other rebuilds of the campaign's gate for this long, if its epoch is still this one. Returns whether
    /// it is.
    pub async fn hold_rebuild(
        &self,
        id: CampaignId,
        epoch: u64,
        term: Duration,
    ) -> Result<bool, StoreError> {
        let mut hold = self.sql("UPDATE campaign SET gate_rebuild_until = ");
        hold.after(term).push(" WHERE id = ").bind(id.0);
        hold.push(" AND gate_epoch = ").bind(to_signed(epoch));
        Ok(hold.run(&self.db).await? == 1)
    }

    /// Ended campaigns whose gate is not known to expire, at most `limit`.
    pub async fn over_in_gate(&self, limit: u64) -> Result<Vec<Campaign>, StoreError> {
        let over = [State::Closed, State::Archived].map(State::as_str);
        campaign::Entity::find()
            .filter(campaign::Column::GateExpires.eq(false))
            .filter(campaign::Column::State.is_in(over))
            .order_by_asc(campaign::Column::Id)
            .limit(limit)
            .all(&self.db)
            .await?
            .into_iter()
            .map(Campaign::try_from)
            .collect()
    }

    /// Records that the gate expires the state of these campaigns.
    pub async fn note_gate_expires(&self, ids: &[CampaignId]) -> Result<(), StoreError> {
        if ids.is_empty() {
            return Ok(());
        }
        let mut note = self.sql("UPDATE campaign SET gate_expires = TRUE WHERE id IN ");
        note.list(ids.iter().map(|id| id.0));
        note.run(&self.db).await?;
        Ok(())
    }
}

/// Appends the condition that the term in this column has ended.
fn is_over(sql: &mut Sql, column: &str, believed_max: Duration) {
    sql.push(&format!(" AND ({column} IS NULL OR {column} <= "));
    sql.now().push(&format!(" OR {column} > "));
    sql.after(believed_max).push(")");
}

/// Why the epoch of this row was not raised.
fn not_raised(row: &QueryResult, believed_max: Duration) -> Result<Raised, StoreError> {
    let now_at: Timestamp = row.try_get("", "now_at")?;
    let left = |name| -> Result<Option<Duration>, StoreError> {
        let ends_at: Option<Timestamp> = row.try_get("", name)?;
        let left = ends_at.and_then(|ends_at| (ends_at - now_at).to_std().ok());
        Ok(left.filter(|left| *left <= believed_max))
    };
    Ok(
        match (left("gate_closed_until")?, left("gate_rebuild_until")?) {
            (Some(left), _) => Raised::Closed(left),
            // Both terms may have ended since the UPDATE.
            (None, left) => Raised::Underway(left.unwrap_or_default()),
        },
    )
}

impl Snapshot {
    /// The committed state of a campaign. After the epoch is raised, nothing is committed until a gate has it; units
    /// returned meanwhile are recognized by the number of returns.
    pub async fn committed(&self, id: CampaignId) -> Result<Committed, StoreError> {
        let mut seats = HashMap::new();
        let mut last_rank = 0;
        loop {
            let page: Vec<(i64, HoldingRow)> = self.holdings_after(id, last_rank).await?;
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
    ) -> Result<Vec<(i64, HoldingRow)>, StoreError> {
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
            let held = HoldingRow {
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

fn sit(seats: &mut HashMap<i64, UserUnits>, held: &HoldingRow) {
    let units = held.quantity.unsigned_abs();
    seats
        .entry(held.user_id)
        .and_modify(|seat: &mut UserUnits| seat.units += units)
        .or_insert(UserUnits {
            user: UserId(held.user_id),
            units,
            first: ParticipationId(held.id),
        });
}
