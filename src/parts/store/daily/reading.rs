//! Reads a day from participations and tallies. Participations have no index by time, because it would slow down
//! every commit: they are found by id, which is in order of time, and then filtered by commit time.

use std::collections::BTreeMap;
use std::ops::Range;

use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QueryResult, QuerySelect};
use uuid::Uuid;

use crate::domain::{CampaignId, Day, DaySums, Instant, Status};
use crate::parts::store::entity::campaign::{Column, Entity};
use crate::parts::store::entity::{by_index, participation, rejection_tally};
use crate::parts::store::numbers::to_unsigned;
use crate::parts::store::shapes::padded;
use crate::parts::store::unreadable::parse;
use crate::parts::store::{Store, StoreError};

/// Campaigns whose names are asked for in one statement.
const NAMES_MAX: usize = 500;

impl Store {
    /// The end of the slice that begins at `from` and has this many rows; none: fewer rows remain before `until`.
    pub async fn slice_end(
        &self,
        from: Uuid,
        until: Uuid,
        rows: u32,
    ) -> Result<Option<Uuid>, StoreError> {
        use participation::Column;
        let mut end = participation::Entity::find()
            .select_only()
            .column(Column::Id)
            .filter(Column::Id.gte(from))
            .filter(Column::Id.lt(until))
            .order_by_asc(Column::Id)
            .offset(u64::from(rows))
            .limit(1);
        by_index(&mut end, "participation_id");
        Ok(end.into_tuple().one(&self.db).await?)
    }

    /// The statistics of campaigns in one slice of a day.
    pub async fn slice_sums(
        &self,
        day: Day,
        ids: &Range<Uuid>,
    ) -> Result<Vec<(CampaignId, DaySums)>, StoreError> {
        let (start, end) = (day.start(), day.end());
        let mut sql = self.sql("SELECT campaign_id, status, ");
        if self.is_embedded() {
            // Without the fraction, which it would round.
            sql.push("(unixepoch(substr(created_at, 1, 19)) - ");
            sql.bind(start.timestamp());
            sql.push(") / 3600");
        } else {
            sql.push("TIMESTAMPDIFF(HOUR, ").bind(start);
            sql.push(", created_at)");
        }
        sql.push(
            " AS nth_hour, COUNT(*) AS participations, CAST(SUM(quantity) AS SIGNED) AS units, \
             MIN(created_at) AS first_at, MAX(created_at) AS last_at FROM ",
        );
        sql.push(&self.db.by_index("participation", "participation_id"))
            .push(" WHERE id >= ")
            .bind(ids.start);
        sql.push(" AND id < ").bind(ids.end);
        sql.push(" AND created_at >= ").bind(start);
        sql.push(" AND created_at < ").bind(end);
        sql.push(" GROUP BY campaign_id, status, nth_hour");
        let rows = sql.rows(&self.db).await?;
        rows.iter().map(sums).collect()
    }

    /// Refusals between two times, by campaign and code.
    pub async fn refusals_between(
        &self,
        from: Instant,
        until: Instant,
    ) -> Result<Vec<(CampaignId, String, u64)>, StoreError> {
        use rejection_tally::Column;
        let mut rows = rejection_tally::Entity::find()
            .select_only()
            .columns([Column::CampaignId, Column::Reason])
            .expr_as(Expr::cust("CAST(SUM(`count`) AS SIGNED)"), "total")
            .filter(Column::Minute.gte(from))
            .filter(Column::Minute.lt(until))
            .group_by(Column::CampaignId)
            .group_by(Column::Reason);
        by_index(&mut rows, "tally_by_minute");
        let rows: Vec<(i64, String, i64)> = rows.into_tuple().all(&self.db).await?;
        let total = |(id, reason, total)| (CampaignId(id), reason, to_unsigned(total));
        Ok(rows.into_iter().map(total).collect())
    }

    /// The names of these campaigns.
    pub async fn campaign_names(
        &self,
        ids: &[CampaignId],
    ) -> Result<BTreeMap<CampaignId, String>, StoreError> {
        let mut names = BTreeMap::new();
        for some in ids.chunks(NAMES_MAX) {
            let rows: Vec<(i64, String)> = Entity::find()
                .select_only()
                .columns([Column::Id, Column::Name])
                .filter(Column::Id.is_in(padded(some).map(|id| id.0)))
                .into_tuple()
                .all(&self.db)
                .await?;
            names.extend(rows.into_iter().map(|(id, name)| (CampaignId(id), name)));
        }
        Ok(names)
    }

    /// When the first campaign was created: earlier days are empty.
    pub async fn first_campaign_at(&self) -> Result<Option<Instant>, StoreError> {
        let first = Entity::find().order_by_asc(Column::Id).one(&self.db);
        Ok(first.await?.map(|campaign| campaign.created_at))
    }
}

fn sums(row: &QueryResult) -> Result<(CampaignId, DaySums), StoreError> {
    let word: String = row.try_get("", "status")?;
    let status = parse("a participation's status", &word, Status::parse)?;
    let participations = to_unsigned(row.try_get("", "participations")?);
    let units = to_unsigned(row.try_get("", "units")?);
    let hour: i64 = row.try_get("", "nth_hour")?;
    let mut sums = DaySums {
        units,
        units_standing: if status.holds_units() { units } else { 0 },
        first_at: row.try_get("", "first_at")?,
        last_at: row.try_get("", "last_at")?,
        ..DaySums::default()
    };
    *sums.by_status.of(status) = participations;
    sums.count_hour(usize::try_from(hour).unwrap_or_default(), participations);
    Ok((CampaignId(row.try_get("", "campaign_id")?), sums))
}
