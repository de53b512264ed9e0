//! Sums over parts of campaigns: of participations, and of deleted events.

use std::collections::BTreeMap;

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QueryResult, QuerySelect};

use super::{Segment, Snapshot, digest};
use crate::domain::{CampaignId, Timestamp};
use crate::parts::store::StoreError;
use crate::parts::store::entity::purged_segment::{Column, Entity, Model};
use crate::parts::store::entity::{by_index, participation};
use crate::parts::store::numbers::{to_signed, to_unsigned};
use crate::parts::store::shapes::padded;
use crate::parts::store::sql::Sql;

/// Which rows to read.
#[derive(Clone, Copy, Debug)]
pub enum Ground<'a> {
    /// These campaigns, whole.
    Whole(&'a [CampaignId]),
    /// One segment.
    Within(Segment),
    /// One segment and whatever is behind it: the last of its campaign.
    From(Segment),
}

/// The sums of a part of a campaign.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Participations, whatever their status.
    pub participations: u64,
    /// Units held by those that stand.
    pub units: u64,
    /// Changes, each of which is to have an event.
    pub changes: u64,
    /// Which changes those are.
    pub change_digest: i64,
    /// Participations that stand and that do not prove by themselves that their user is within the
    /// limit.
    pub suspects: u64,
    /// When the latest of them was made.
    pub newest: Option<Timestamp>,
}

/// Events that are deleted, of one segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// How many.
    pub events: u64,
    /// About which changes.
    pub digest: i64,
}

/// Participations that hold their units.
pub(super) const STANDS: &str = "p.status IN ('reserved', 'confirmed')";

/// A user's standing participations differ in their ordinals, by a unique key. If all ordinals are
/// among the first n and no quantity is above m, the user holds n times m at most; with m the most a
/// request may ask for, whoever might hold more than the limit has a row that says so here.
pub(super) const SUSPECT: &str = "(p.status IN ('reserved', 'confirmed') AND (p.ordinal IS NULL OR p.ordinal < 1 \
     OR p.quantity > c.max_quantity OR p.ordinal * c.max_quantity > c.per_user_limit))";

impl Snapshot {
    /// The sums of each campaign that has participations there.
    pub async fn sums(&self, ground: Ground<'_>) -> Result<BTreeMap<CampaignId, Sums>, StoreError> {
        let mut sums: BTreeMap<CampaignId, Sums> = BTreeMap::new();
        for row in self.participation_sums(ground).await? {
            let of = sums.entry(campaign(&row)?).or_default();
            of.participations = count(&row, "participations")?;
            of.units = count(&row, "units")?;
            of.changes = count(&row, "changes")?;
            of.change_digest = row.try_get("", "digest")?;
            of.suspects = count(&row, "suspects")?;
            of.newest = row.try_get("", "newest")?;
        }
        Ok(sums)
    }

    async fn participation_sums(&self, ground: Ground<'_>) -> Result<Vec<QueryResult>, StoreError> {
        let mut sql = self.store.sql(
            "SELECT p.campaign_id, COUNT(*) AS participations, MAX(p.created_at) AS newest, \
             CAST(SUM(p.version) AS SIGNED) AS changes, CAST(SUM(CASE WHEN ",
        );
        sql.push(STANDS)
            .push(" THEN p.quantity ELSE 0 END) AS SIGNED) AS units, CAST(SUM(")
            .push(digest::OF_CHANGES)
            .push(") AS SIGNED) AS digest, CAST(SUM(")
            .push(SUSPECT)
            .push(") AS SIGNED) AS suspects FROM campaign c JOIN participation p ");
        self.by(&mut sql, "PRIMARY")
            .push(" ON p.campaign_id = c.id WHERE ");
        on(&mut sql, "p", ground);
        sql.push(" GROUP BY p.campaign_id").rows(&self.tx).await
    }

    /// Deleted events of these campaigns, by segment; -1: about the campaign itself, -2: about orders.
    pub async fn purged(
        &self,
        ids: &[CampaignId],
    ) -> Result<BTreeMap<(CampaignId, i64), Purged>, StoreError> {
        let rows = Entity::find()
            .filter(Column::CampaignId.is_in(padded(ids).map(|id| id.0)))
            .all(&self.tx)
            .await?;
        let purged = |row: Model| {
            let purged = Purged {
                events: to_unsigned(row.events),
                digest: row.digest,
            };
            ((CampaignId(row.campaign_id), row.segment), purged)
        };
        Ok(rows.into_iter().map(purged).collect())
    }

    /// When the last participation up to a segment's end was made: that of the highest rank, or nearly.
    pub async fn newest_of(&self, segment: Segment) -> Result<Option<Timestamp>, StoreError> {
        use participation::{Column, Entity};
        let mut newest = Entity::find()
            .select_only()
            .column(Column::CreatedAt)
            .filter(Column::CampaignId.eq(segment.campaign.0))
            .filter(Column::Rank.lt(to_signed(segment.end())))
            .order_by_desc(Column::CampaignId)
            .order_by_desc(Column::Rank);
        by_index(&mut newest, "PRIMARY");
        Ok(newest.into_tuple().one(&self.tx).await?)
    }

    /// Appends that the table just named is to be read by this index: both databases would now and
    /// then rather read all of it.
    pub(super) fn by<'a>(&self, sql: &'a mut Sql, index: &str) -> &'a mut Sql {
        if self.store.is_embedded() && index == "PRIMARY" {
            // It has no name there, and is where the rows are.
            sql
        } else if self.store.is_embedded() {
            sql.push("INDEXED BY ").push(index)
        } else {
            sql.push("FORCE INDEX (").push(index).push(")")
        }
    }
}

/// Appends the condition that a row of `table` stands on this ground of ranks.
pub(super) fn on<'a>(sql: &'a mut Sql, table: &str, ground: Ground<'_>) -> &'a mut Sql {
    within(sql, (table, "`rank`"), ground)
}

/// The same where `column` counts.
pub(super) fn within<'a>(
    sql: &'a mut Sql,
    (table, column): (&str, &str),
    ground: Ground<'_>,
) -> &'a mut Sql {
    let segment = match ground {
        Ground::Whole(ids) => {
            sql.push(table).push(".campaign_id IN ");
            return sql.list(padded(ids).map(|id| id.0));
        }
        Ground::Within(segment) | Ground::From(segment) => segment,
    };
    sql.push(table).push(".campaign_id = ");
    sql.bind(segment.campaign.0);
    // What lies below the first one, which nothing of ours does, is the first segment's.
    if segment.number > 0 {
        sql.push(" AND ").push(table).push(".").push(column);
        sql.push(" >= ").bind(to_signed(segment.start()));
    }
    if matches!(ground, Ground::Within(_)) {
        sql.push(" AND ").push(table).push(".").push(column);
        sql.push(" < ").bind(to_signed(segment.end()));
    }
    sql
}

pub(super) fn campaign(row: &QueryResult) -> Result<CampaignId, StoreError> {
    Ok(CampaignId(row.try_get("", "campaign_id")?))
}

pub(super) fn count(row: &QueryResult, column: &str) -> Result<u64, StoreError> {
    Ok(to_unsigned(row.try_get("", column)?))
}
