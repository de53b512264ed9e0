//! The stored daily statistics: a row for each campaign and day, and for each day the run that aggregated it.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, JoinType, QueryFilter, QueryOrder,
    QueryResult, QuerySelect, QueryTrait, Select,
};

use super::runs::share_lease;
use crate::domain::{ByStatus, CampaignId, Day, DaySums, RunId, Timestamp, Zone};
use crate::parts::store::entity::daily_stat::{ActiveModel, Column, Entity};
use crate::parts::store::entity::{campaign, daily_day};
use crate::parts::store::json::{from_text, to_text};
use crate::parts::store::numbers::{to_signed, to_unsigned};
use crate::parts::store::query::or_replace;
use crate::parts::store::{Run, Store, StoreError};

/// The statistics of a campaign on a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DailyRow {
    /// The campaign.
    pub campaign: CampaignId,
    /// Its current name.
    pub name: String,
    /// The date.
    pub date: NaiveDate,
    /// The sums of the day.
    pub sums: DaySums,
}

/// An aggregated day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AggregatedDay {
    /// The date.
    pub date: NaiveDate,
    /// The run.
    pub run: RunId,
    /// The time.
    pub at: Timestamp,
    /// Whether the day had ended by then and all campaigns were written.
    pub is_complete: bool,
}

impl Store {
    /// Writes or replaces the statistics of a campaign on a day, in a separate transaction. False: the run has lost
    /// its lease, and nothing is written.
    pub async fn write_daily(
        &self,
        run: &Run,
        campaign: CampaignId,
        sums: &DaySums,
    ) -> Result<bool, StoreError> {
        let row = row(run, campaign, sums)?;
        let tx = self.begin().await?;
        Entity::insert(row)
            .on_conflict(or_replace::<Entity>())
            .exec_without_returning(&tx)
            .await?;
        // Last, so that a renewal of the lease does not wait for the lock on the row.
        if !share_lease(self, &tx, run).await? {
            tx.rollback().await?;
            return Ok(false);
        }
        Ok(tx.commit().await.map(|()| true)?)
    }

    /// The statistics of all campaigns on a day, in order of campaign.
    pub async fn daily(&self, day: Day) -> Result<Vec<DailyRow>, StoreError> {
        let rows = daily_rows()
            .filter(Column::Zone.eq(day.zone.name()))
            .filter(Column::Day.eq(day.date))
            .order_by_asc(Column::CampaignId);
        let rows = self.db.query_all(rows.as_query()).await?;
        rows.iter().map(daily_row).collect()
    }

    /// The statistics of a campaign on the days of this range, in order.
    pub async fn daily_of(
        &self,
        campaign: CampaignId,
        zone: Zone,
        (from, until): (NaiveDate, NaiveDate),
    ) -> Result<Vec<DailyRow>, StoreError> {
        let rows = daily_rows()
            .filter(Column::CampaignId.eq(campaign.0))
            .filter(Column::Zone.eq(zone.name()))
            .filter(Column::Day.gte(from))
            .filter(Column::Day.lte(until))
            .order_by_asc(Column::Day);
        let rows = self.db.query_all(rows.as_query()).await?;
        rows.iter().map(daily_row).collect()
    }

    /// The aggregated days of this range, in order.
    pub async fn days_done(
        &self,
        zone: Zone,
        (from, until): (NaiveDate, NaiveDate),
    ) -> Result<Vec<AggregatedDay>, StoreError> {
        use daily_day::{Column, Entity};
        let rows = Entity::find()
            .filter(Column::Zone.eq(zone.name()))
            .filter(Column::Day.between(from, until))
            .order_by_asc(Column::Day)
            .all(&self.db)
            .await?;
        let done = |row: daily_day::Model| AggregatedDay {
            date: row.day,
            run: RunId(row.run_id),
            at: row.aggregated_at,
            is_complete: row.is_complete,
        };
        Ok(rows.into_iter().map(done).collect())
    }
}

fn row(run: &Run, campaign: CampaignId, sums: &DaySums) -> Result<ActiveModel, StoreError> {
    let by_status = sums.by_status;
    Ok(ActiveModel {
        zone: Set(run.day.zone.name().to_owned()),
        day: Set(run.day.date),
        campaign_id: Set(campaign.0),
        reserved: Set(to_signed(by_status.reserved)),
        confirmed: Set(to_signed(by_status.confirmed)),
        cancelled: Set(to_signed(by_status.cancelled)),
        expired: Set(to_signed(by_status.expired)),
        units: Set(to_signed(sums.units)),
        units_standing: Set(to_signed(sums.units_standing)),
        refused: Set(to_signed(sums.refused())),
        refusals: Set(to_text("sums to store", &sums.refusals)?),
        hours: Set(to_text("sums to store", &sums.hours)?),
        first_at: Set(sums.first_at),
        last_at: Set(sums.last_at),
        run_id: Set(run.id.0),
    })
}

/// Rows with the names of their campaigns.
fn daily_rows() -> Select<Entity> {
    let to_campaign = Entity::belongs_to(campaign::Entity)
        .from(Column::CampaignId)
        .to(campaign::Column::Id);
    Entity::find()
        .select_only()
        .column(campaign::Column::Name)
        .columns([
            Column::CampaignId,
            Column::Day,
            Column::Reserved,
            Column::Confirmed,
            Column::Cancelled,
            Column::Expired,
            Column::Units,
            Column::UnitsStanding,
            Column::Refusals,
            Column::Hours,
            Column::FirstAt,
            Column::LastAt,
        ])
        .join(JoinType::LeftJoin, to_campaign.into())
}

/// Reads a row of [`daily_rows`] by position, because reading by name searches the names for each of the many rows.
fn daily_row(row: &QueryResult) -> Result<DailyRow, StoreError> {
    let number = |column: usize| -> Result<u64, StoreError> {
        Ok(to_unsigned(row.try_get_by_index(column)?))
    };
    let name: Option<String> = row.try_get_by_index(0)?;
    let refusals: String = row.try_get_by_index(9)?;
    let refusals: BTreeMap<String, u64> = from_text("the refusals of a day", &refusals)?;
    let hours: String = row.try_get_by_index(10)?;
    Ok(DailyRow {
        campaign: CampaignId(row.try_get_by_index(1)?),
        name: name.unwrap_or_default(),
        date: row.try_get_by_index(2)?,
        sums: DaySums {
            by_status: ByStatus {
                reserved: number(3)?,
                confirmed: number(4)?,
                cancelled: number(5)?,
                expired: number(6)?,
            },
            units: number(7)?,
            units_standing: number(8)?,
            refusals,
            first_at: row.try_get_by_index(11)?,
            last_at: row.try_get_by_index(12)?,
            hours: from_text("the hours of a day", &hours)?,
        },
    })
}
