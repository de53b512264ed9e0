//! Reads a day from participations and tallies. Participations have no index by time, because it would slow down
//! every commit. They are read in the order in which they are stored, by campaign and rank, which is nearly the order of
//! their commits: the ranks of a day are found by bisection, and the rows are then filtered by commit time.

use std::collections::BTreeMap;
use std::ops::Range;

use sea_orm::sea_query::{
    Asterisk, Expr, ExprTrait, Order, Query, SelectStatement, SubQueryStatement,
};
use sea_orm::{ColumnTrait, Condition, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use crate::domain::{CampaignId, Day, DaySums, Status, Timestamp};
use crate::parts::store::entity::campaign::{Column, Entity};
use crate::parts::store::entity::{by_index, participation, rejection_tally};
use crate::parts::store::numbers::{to_signed, to_unsigned};
use crate::parts::store::statement_lengths::padded;
use crate::parts::store::unreadable::parse;
use crate::parts::store::{Store, StoreError};

/// Campaign names read by one statement.
const NAMES_MAX: usize = 500;

/// A rank, and when its participation was committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RankedAt {
    /// The rank.
    pub rank: u64,
    /// The time of the commit.
    pub created_at: Timestamp,
}

/// The participations of a campaign with the lowest and the highest rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CampaignSpan {
    /// The campaign.
    pub campaign: CampaignId,
    /// The lowest rank.
    pub first: RankedAt,
    /// The highest rank.
    pub last: RankedAt,
}

/// Some campaigns in order of id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CampaignSpans {
    /// Those that have participations.
    pub spans: Vec<CampaignSpan>,
    /// Where to go on; none: there are no more campaigns.
    pub last: Option<CampaignId>,
}

/// Ranks of one campaign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RankRange {
    /// The campaign.
    pub campaign: CampaignId,
    /// The ranks.
    pub ranks: Range<u64>,
}

/// A campaign, and rank and commit time of its first and its last participation.
type SpanRow = (
    i64,
    Option<i64>,
    Option<Timestamp>,
    Option<i64>,
    Option<Timestamp>,
);

impl Store {
    /// The participations with the lowest and the highest rank of the next `campaigns` campaigns after one.
    pub async fn campaign_spans(
        &self,
        after: CampaignId,
        campaigns: u32,
    ) -> Result<CampaignSpans, StoreError> {
        use participation::Column as Part;
        let edge = |column, order| Expr::from(SubQueryStatement::from(edge(column, order)));
        let rows: Vec<SpanRow> = Entity::find()
            .select_only()
            .column(Column::Id)
            .expr(edge(Part::Rank, Order::Asc))
            .expr(edge(Part::CreatedAt, Order::Asc))
            .expr(edge(Part::Rank, Order::Desc))
            .expr(edge(Part::CreatedAt, Order::Desc))
            .filter(Column::Id.gt(after.0))
            .order_by_asc(Column::Id)
            .limit(u64::from(campaigns))
            .into_tuple()
            .all(&self.db)
            .await?;
        let last = rows.last().map(|row| CampaignId(row.0));
        let spans = rows.into_iter().filter_map(|row| {
            Some(CampaignSpan {
                campaign: CampaignId(row.0),
                first: ranked_at((row.1?, row.2?)),
                last: ranked_at((row.3?, row.4?)),
            })
        });
        Ok(CampaignSpans {
            spans: spans.collect(),
            last,
        })
    }

    /// The participation with the lowest rank of these; none: there is none.
    pub async fn first_of_ranks(&self, of: &RankRange) -> Result<Option<RankedAt>, StoreError> {
        use participation::Column;
        let mut first = participation::Entity::find()
            .select_only()
            .columns([Column::Rank, Column::CreatedAt])
            .filter(is_in(of))
            .order_by_asc(Column::Rank)
            .limit(1);
        by_index(&mut first, "PRIMARY");
        let first: Option<(i64, Timestamp)> = first.into_tuple().one(&self.db).await?;
        Ok(first.map(ranked_at))
    }

    /// The statistics of a day over these participations.
    pub async fn sums_of_ranks(
        &self,
        day: Day,
        ranges: &[RankRange],
    ) -> Result<Vec<(CampaignId, DaySums)>, StoreError> {
        use participation::Column as Part;
        let (start, end) = (day.start(), day.end());
        let nth_hour = if self.is_embedded() {
            // Without the fraction, because MySQL would round it.
            let text = "(unixepoch(substr(created_at, 1, 19)) - ?) / 3600";
            Expr::cust_with_values(text, [start.timestamp()])
        } else {
            Expr::cust_with_values("TIMESTAMPDIFF(HOUR, ?, created_at)", [start])
        };
        let is_among = padded(ranges).fold(Condition::any(), |any, range| any.add(is_in(&range)));
        let mut rows = participation::Entity::find()
            .select_only()
            .columns([Part::CampaignId, Part::Status])
            .expr_as(nth_hour, "nth_hour")
            .expr(Expr::col(Asterisk).count())
            .expr(Part::Quantity.into_expr().sum().cast_as("SIGNED"))
            .expr(Part::CreatedAt.into_expr().min())
            .expr(Part::CreatedAt.into_expr().max())
            .filter(is_among)
            .filter(Part::CreatedAt.gte(start))
            .filter(Part::CreatedAt.lt(end))
            .group_by(Part::CampaignId)
            .group_by(Part::Status)
            .group_by(Expr::col("nth_hour"));
        by_index(&mut rows, "PRIMARY");
        let rows: Vec<SliceRow> = rows.into_tuple().all(&self.db).await?;
        rows.into_iter().map(sums).collect()
    }

    /// Rejections between two times, by campaign and code.
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

/// A column of a campaign's participation with the lowest or the highest rank.
fn edge(column: participation::Column, order: Order) -> SelectStatement {
    use participation::{Column as Part, Entity as Participation};
    Query::select()
        .column((Participation, column))
        .from(Participation)
        .and_where(Expr::col((Participation, Part::CampaignId)).equals((Entity, Column::Id)))
        .order_by((Participation, Part::CampaignId), order.clone())
        .order_by((Participation, Part::Rank), order)
        .limit(1)
        .to_owned()
}

fn ranked_at((rank, created_at): (i64, Timestamp)) -> RankedAt {
    RankedAt {
        rank: to_unsigned(rank),
        created_at,
    }
}

/// The condition that a participation has one of these ranks.
fn is_in(of: &RankRange) -> Condition {
    use participation::Column;
    Condition::all()
        .add(Column::CampaignId.eq(of.campaign.0))
        .add(Column::Rank.gte(to_signed(of.ranks.start)))
        .add(Column::Rank.lt(to_signed(of.ranks.end)))
}

/// Campaign, status, hour, participations, units, first time, last time.
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
