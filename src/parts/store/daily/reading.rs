//! Reads a day from participations and tallies. Participations have no index by time, because it would slow down
//! every commit: they are found by id, which is in order of time, and then filtered by commit time.

use std::collections::BTreeMap;
use std::ops::Range;

use sea_orm::sea_query::{Asterisk, Expr, ExprTrait};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use uuid::Uuid;

use crate::domain::{CampaignId, Day, DaySums, Status, Timestamp};
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
        use participation::Column as Part;
        let (start, end) = (day.start(), day.end());
        let nth_hour = if self.is_embedded() {
            // Without the fraction, which it would round.
            let text = "(unixepoch(substr(created_at, 1, 19)) - ?) / 3600";
            Expr::cust_with_values(text, [start.timestamp()])
        } else {
            Expr::cust_with_values("TIMESTAMPDIFF(HOUR, ?, created_at)", [start])
        };
        let mut rows = participation::Entity::find()
            .select_only()
            .columns([Part::CampaignId, Part::Status])
            .expr_as(nth_hour, "nth_hour")
            .expr(Expr::col(Asterisk).count())
            .expr(Part::Quantity.into_expr().sum().cast_as("SIGNED"))
            .expr(Part::CreatedAt.into_expr().min())
            .expr(Part::CreatedAt.into_expr().max())
            .filter(Part::Id.gte(ids.start))
            .filter(Part::Id.lt(ids.end))
            .filter(Part::CreatedAt.gte(start))
            .filter(Part::CreatedAt.lt(end))
            .group_by(Part::CampaignId)
            .group_by(Part::Status)
            .group_by(Expr::col("nth_hour"));
        by_index(&mut rows, "participation_id");
        let rows: Vec<SliceRow> = rows.into_tuple().all(&self.db).await?;
        rows.into_iter().map(sums).collect()
    }

    /// Refusals between two times, by campaign and code.
    pub async fn refusals_between(
        &self,
        from: Timestamp,
        until: Timestamp,
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
    pub async fn first_campaign_at(&self) -> Result<Option<Timestamp>, StoreError> {
        let first = Entity::find().order_by_asc(Column::Id).one(&self.db);
        Ok(first.await?.map(|campaign| campaign.created_at))
    }
}

/// Campaign, status, hour, participations, units, and the first and the last time.
type SliceRow = (
    i64,
    String,
    i64,
    i64,
    i64,
    Option<Timestamp>,
    Option<Timestamp>,
);

fn sums(row: SliceRow) -> Result<(CampaignId, DaySums), StoreError> {
    let (campaign, word, hour, participations, units, first_at, last_at) = row;
    let status = parse("a participation's status", &word, Status::parse)?;
    let (participations, units) = (to_unsigned(participations), to_unsigned(units));
    let mut sums = DaySums {
        units,
        units_standing: if status.holds_units() { units } else { 0 },
        first_at,
        last_at,
        ..DaySums::default()
    };
    *sums.by_status.of(status) = participations;
    sums.count_hour(usize::try_from(hour).unwrap_or_default(), participations);
    Ok((CampaignId(campaign), sums))
}
