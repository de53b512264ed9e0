//! Sums over parts of campaigns: of participations, and of deleted events.

use std::collections::BTreeMap;

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QueryResult, QuerySelect};

use super::{Segment, Snapshot, digest};
use crate::domain::{CampaignId, Timestamp};
use crate::parts::store::StoreError;
use crate::parts::store::entity::purged_segment::{Column, Entity, Model};
use crate::parts::store::entity::{by_index, participation};
use crate::parts::store::numbers::{to_signed, to_unsigned};
use crate::parts::store::sql::Sql;
use crate::parts::store::statement_lengths::padded;

/// A range of rows.
#[derive(Clone, Copy, Debug)]
pub enum RowSelection<'a> {
    /// These campaigns, complete.
    Whole(&'a [CampaignId]),
    /// One segment.
    Within(Segment),
    /// One segment and everything after it: the last one of its campaign.
    From(Segment),
}

/// The sums of a part of a campaign.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Participations, whatever their status.
    pub participations: u64,
    /// Units held.
    pub units: u64,
    /// Changes; each must have an event.
    pub changes: u64,
    /// The digest of the changes.
    pub change_digest: i64,
    /// Participations that hold units and do not prove by themselves that their user is within the limit.
    pub suspects: u64,
    /// When the newest of them was created.
    pub newest: Option<Timestamp>,
}

/// Deleted events of one segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// Their number.
    pub events: u64,
    /// The digest of their changes.
    pub digest: i64,
}

impl Purged {
    /// In place of a segment: events about the campaign itself, which have no rank.
    pub const ABOUT_CAMPAIGN: i64 = -1;
    /// In place of a segment: events about orders, which have no rank.
    pub const ABOUT_ORDERS: i64 = -2;
}

/// The condition that a participation holds its units.
pub(super) const STANDS: &str = "p.status IN ('reserved', 'confirmed')";

/// The participations of a user that hold units have different ordinals, by a unique key. If all ordinals are at most
/// n and no quantity is above m, the user holds at most n times m. With m as the maximum quantity of a request, every
/// user who might exceed the limit has a row that shows it here.
pub(super) const SUSPECT: &str = "(p.status IN ('reserved', 'confirmed') AND (p.ordinal IS NULL OR p.ordinal < 1 \
     OR p.quantity > c.max_quantity OR p.ordinal * c.max_quantity > c.per_user_limit))";

impl Snapshot {
    /// The sums of each campaign with participations in the range.
    pub async fn sums(
        &self,
        selection: RowSelection<'_>,
    ) -> Result<BTreeMap<CampaignId, Sums>, StoreError> {
        let mut sums: BTreeMap<CampaignId, Sums> = BTreeMap::new();
        for row in self.participation_sums(selection).await? {
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

    async fn participation_sums(
        &self,
        selection: RowSelection<'_>,
    ) -> Result<Vec<QueryResult>, StoreError> {
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
        on(&mut sql, "p", selection);
        sql.push(" GROUP BY p.campaign_id").rows(&self.tx).await
    }

    /// Deleted events of these campaigns, by segment; [`Purged`] has the numbers of those without one.
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

    /// When the last participation up to a segment's end was created: about that of the highest rank.
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

    /// Appends the hint that the table just named is read by this index: both databases would sometimes read the
    /// whole table.
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

/// Appends the condition that a row of `table` is in this range of ranks.
pub(super) fn on<'a>(sql: &'a mut Sql, table: &str, selection: RowSelection<'_>) -> &'a mut Sql {
    within(sql, (table, "`rank`"), selection)
}

/// The same for a range of `column`.
pub(super) fn within<'a>(
    sql: &'a mut Sql,
    (table, column): (&str, &str),
    selection: RowSelection<'_>,
) -> &'a mut Sql {
    let segment = match selection {
        RowSelection::Whole(ids) => {
            sql.push(table).push(".campaign_id IN ");
            return sql.list(padded(ids).map(|id| id.0));
        }
        RowSelection::Within(segment) | RowSelection::From(segment) => segment,
    };
    sql.push(table).push(".campaign_id = ");
    sql.bind(segment.campaign.0);
    // The first segment includes lower ranks, which this service never assigns.
    if segment.number > 0 {
        sql.push(" AND ").push(table).push(".").push(column);
        sql.push(" >= ").bind(to_signed(segment.start()));
    }
    if matches!(selection, RowSelection::Within(_)) {
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
