//! Finds examples of rows that break an invariant. Used only after a violation, because these statements compare row
//! by row.

use sea_orm::sea_query::ExprTrait;
use sea_orm::{ColumnTrait, EntityTrait, JoinType, QueryFilter, QueryResult, QuerySelect};
use uuid::Uuid;

use super::sums::{RowSelection, STANDS, SUSPECT, count, on};
use super::waiting::OVERTAKING;
use super::{Snapshot, sums};
use crate::domain::{CampaignId, EventId, ParticipationId, UserId};
use crate::parts::store::StoreError;
use crate::parts::store::entity::{event_of_parked, outbox_event, outbox_parked};

/// Maximum number of examples.
const NAMED_MAX: u32 = 5;

impl Snapshot {
    /// Which of these campaigns have a user above the limit, by the participations in this range. Every such user has
    /// a row that does not prove the contrary.
    pub async fn over_limit(
        &self,
        selection: RowSelection<'_>,
    ) -> Result<Vec<CampaignId>, StoreError> {
        let mut sql = self.store.sql(
            "SELECT DISTINCT campaign_id FROM (SELECT c.id AS campaign_id FROM \
             (SELECT DISTINCT p.campaign_id, p.user_id FROM campaign c JOIN participation p ",
        );
        self.by(&mut sql, "PRIMARY")
            .push(" ON p.campaign_id = c.id WHERE ")
            .push(SUSPECT)
            .push(" AND ");
        on(&mut sql, "p", selection)
            .push(") s JOIN campaign c ON c.id = s.campaign_id JOIN participation p ");
        self.by(&mut sql, "participation_once")
            .push(" ON p.user_id = s.user_id AND p.campaign_id = s.campaign_id WHERE ")
            .push(STANDS)
            .push(" GROUP BY c.id, p.user_id, c.per_user_limit")
            .push(" HAVING SUM(p.quantity) > c.per_user_limit) o");
        let rows = sql.rows(&self.tx).await?;
        rows.iter().map(sums::campaign).collect()
    }

    /// The number of users of a campaign who hold more than the limit, and examples with their units.
    pub async fn users_over_limit(
        &self,
        id: CampaignId,
    ) -> Result<(u64, Vec<(UserId, u64)>), StoreError> {
        let mut sql = self.store.sql(
            "SELECT p.user_id, CAST(SUM(p.quantity) AS SIGNED) AS units, COUNT(*) OVER () AS users \
             FROM participation p JOIN campaign c ON c.id = p.campaign_id WHERE p.campaign_id = ",
        );
        sql.bind(id.0).push(" AND ").push(STANDS);
        sql.push(" GROUP BY p.user_id, c.per_user_limit HAVING SUM(p.quantity) > c.per_user_limit");
        sql.push(" ORDER BY p.user_id LIMIT ").bind(NAMED_MAX);
        let rows = sql.rows(&self.tx).await?;
        let users = rows.first().map_or(Ok(0), |row| count(row, "users"))?;
        let named = rows
            .iter()
            .map(|row| Ok((UserId(row.try_get("", "user_id")?), count(row, "units")?)))
            .collect::<Result<_, StoreError>>()?;
        Ok((users, named))
    }

    /// Participations with a change that has no event.
    pub async fn changes_without_event(
        &self,
        selection: RowSelection<'_>,
    ) -> Result<Vec<ParticipationId>, StoreError> {
        // A stream is not in order of rank: it is read once, not once for each participation.
        let mut sql = self.store.sql(
            "SELECT p.id FROM participation p LEFT JOIN (SELECT e.campaign_id, e.`rank` AS of_rank, \
             e.key_sequence, COUNT(*) AS events FROM outbox_event e WHERE e.aggregatetype = 'participation' AND ",
        );
        on(&mut sql, "e", selection).push(
            " AND e.`rank` IS NOT NULL GROUP BY e.campaign_id, e.`rank`, e.key_sequence) n \
             ON n.campaign_id = p.campaign_id AND n.of_rank = p.`rank` \
             AND n.key_sequence BETWEEN 1 AND p.version WHERE ",
        );
        on(&mut sql, "p", selection)
            .push(" GROUP BY p.campaign_id, p.`rank`, p.id, p.version")
            .push(" HAVING COALESCE(SUM(n.events), 0) <> p.version ORDER BY p.campaign_id, p.`rank` LIMIT ")
            .bind(NAMED_MAX);
        let rows = sql.rows(&self.tx).await?;
        ids(&rows, "id").map(|ids| ids.into_iter().map(ParticipationId).collect())
    }

    /// Events about changes that no participation has made.
    pub async fn events_without_change(
        &self,
        selection: RowSelection<'_>,
    ) -> Result<Vec<EventId>, StoreError> {
        let mut sql = self
            .store
            .sql("SELECT e.id FROM outbox_event e WHERE e.aggregatetype = 'participation' AND ");
        on(&mut sql, "e", selection).push(
            " AND e.`rank` IS NOT NULL AND NOT EXISTS (SELECT 1 FROM participation p WHERE \
             p.campaign_id = e.campaign_id AND p.`rank` = e.`rank` \
             AND e.key_sequence BETWEEN 1 AND p.version)",
        );
        sql.push(" ORDER BY e.campaign_id, e.sequence LIMIT ")
            .bind(NAMED_MAX);
        let rows = sql.rows(&self.tx).await?;
        ids(&rows, "id").map(|ids| ids.into_iter().map(EventId).collect())
    }

    /// Parked rows without their event, by the event's id.
    pub async fn entries_astray(&self, id: CampaignId) -> Result<Vec<EventId>, StoreError> {
        use outbox_parked::{Column, Entity};
        let event = outbox_event::Column::Id;
        let is_other = event.into_expr().not_equals((Entity, Column::EventId));
        let astray: Vec<Uuid> = Entity::find()
            .select_only()
            .column(Column::EventId)
            .join(JoinType::LeftJoin, event_of_parked())
            .filter(event.is_null().or(is_other))
            .filter(Column::CampaignId.eq(id.0))
            .limit(u64::from(NAMED_MAX))
            .into_tuple()
            .all(&self.tx)
            .await?;
        Ok(astray.into_iter().map(EventId).collect())
    }

    /// Events that were published while an earlier one of their participation waits, each with the earlier one.
    pub async fn overtaken(&self, id: CampaignId) -> Result<Vec<(EventId, EventId)>, StoreError> {
        let mut sql = self.store.sql("SELECT l.id AS later, e.id AS earlier ");
        sql.push(OVERTAKING)
            .push(" AND w.campaign_id = ")
            .bind(id.0)
            .push(" ORDER BY l.sequence LIMIT ")
            .bind(NAMED_MAX);
        let rows = sql.rows(&self.tx).await?;
        let later = ids(&rows, "later")?.into_iter().map(EventId);
        let earlier = ids(&rows, "earlier")?.into_iter().map(EventId);
        Ok(later.zip(earlier).collect())
    }
}

fn ids(rows: &[QueryResult], column: &str) -> Result<Vec<Uuid>, StoreError> {
    rows.iter()
        .map(|row| Ok(row.try_get("", column)?))
        .collect()
}
