//! What days came to, kept: a row for each campaign, and for each day which run has done it.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use sea_orm::{QueryResult, Value};

use super::runs::hold;
use crate::domain::{ByStatus, CampaignId, Day, DaySums, Instant, RunId, Zone};
use crate::parts::store::campaigns::{to_signed, to_unsigned};
use crate::parts::store::outbox::Sql;
use crate::parts::store::{Run, Store, StoreError};

/// What one campaign came to on a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DailyRow {
    /// Which campaign.
    pub campaign: CampaignId,
    /// What it is called now.
    pub name: String,
    /// Which date.
    pub date: NaiveDate,
    /// What it came to.
    pub sums: DaySums,
}

/// A day that was aggregated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    /// Which date.
    pub date: NaiveDate,
    /// By which run.
    pub run: RunId,
    /// When.
    pub at: Instant,
    /// Whether the day was over by then and all campaigns were written.
    pub is_complete: bool,
}

const COLUMNS: [&str; 15] = [
    "zone",
    "day",
    "campaign_id",
    "reserved",
    "confirmed",
    "cancelled",
    "expired",
    "units",
    "units_standing",
    "refused",
    "refusals",
    "hours",
    "first_at",
    "last_at",
    "run_id",
];
/// How many of them say which row it is.
const KEY_COLUMNS: usize = 3;

const READ: &str = "SELECT s.campaign_id, c.name, s.day, s.reserved, s.confirmed, s.cancelled, s.expired, \
     s.units, s.units_standing, s.refusals, s.hours, s.first_at, s.last_at FROM daily_stat s \
     LEFT JOIN campaign c ON c.id = s.campaign_id WHERE ";

impl Store {
    /// Writes what a campaign came to on a day, in a transaction of its own, over what was there. False:
    /// the run has lost its duty to another, and nothing is written.
    pub async fn write_daily(
        &self,
        run: &Run,
        campaign: CampaignId,
        sums: &DaySums,
    ) -> Result<bool, StoreError> {
        let values = values(run, campaign, sums)?;
        let tx = self.begin().await?;
        let mut sql = Sql::new(self, "INSERT INTO daily_stat (");
        sql.push(&COLUMNS.join(", ")).push(") VALUES ");
        sql.rows_of([values].into_iter());
        let columns = COLUMNS.iter().skip(KEY_COLUMNS);
        let columns: Vec<&str> = columns.copied().collect();
        sql.or_replace("zone, day, campaign_id", &columns);
        sql.run(&tx).await?;
        // Last, so that nobody who renews the lease waits for as long as the row is another's.
        if !hold(self, &tx, run).await? {
            tx.rollback().await?;
            return Ok(false);
        }
        Ok(tx.commit().await.map(|()| true)?)
    }

    /// What the campaigns came to on a day, in order of campaign.
    pub async fn daily(&self, day: Day) -> Result<Vec<DailyRow>, StoreError> {
        let mut sql = Sql::new(self, READ);
        sql.push("s.zone = ").bind(day.zone.name());
        sql.push(" AND s.day = ").bind(day.date);
        sql.push(" ORDER BY s.campaign_id");
        let rows = sql.rows(self.connection()).await?;
        rows.iter().map(daily_row).collect()
    }

    /// What a campaign came to on the days from the first to the last of these, in order.
    pub async fn daily_of(
        &self,
        campaign: CampaignId,
        zone: Zone,
        (from, until): (NaiveDate, NaiveDate),
    ) -> Result<Vec<DailyRow>, StoreError> {
        let mut sql = Sql::new(self, READ);
        sql.push("s.campaign_id = ").bind(campaign.0);
        sql.push(" AND s.zone = ").bind(zone.name());
        sql.push(" AND s.day >= ").bind(from);
        sql.push(" AND s.day <= ").bind(until);
        sql.push(" ORDER BY s.day");
        let rows = sql.rows(self.connection()).await?;
        rows.iter().map(daily_row).collect()
    }

    /// Which days were aggregated, from the first to the last of these, in order.
    pub async fn days_done(
        &self,
        zone: Zone,
        (from, until): (NaiveDate, NaiveDate),
    ) -> Result<Vec<Done>, StoreError> {
        let mut sql = Sql::new(
            self,
            "SELECT day, run_id, aggregated_at, is_complete FROM daily_day WHERE zone = ",
        );
        sql.bind(zone.name());
        sql.push(" AND day >= ").bind(from);
        sql.push(" AND day <= ").bind(until).push(" ORDER BY day");
        let rows = sql.rows(self.connection()).await?;
        rows.iter()
            .map(|row| {
                Ok(Done {
                    date: row.try_get("", "day")?,
                    run: RunId(row.try_get("", "run_id")?),
                    at: row.try_get("", "aggregated_at")?,
                    is_complete: row.try_get("", "is_complete")?,
                })
            })
            .collect()
    }
}

fn values(
    run: &Run,
    campaign: CampaignId,
    sums: &DaySums,
) -> Result<[Value; COLUMNS.len()], StoreError> {
    let number = |value: u64| Value::from(to_signed(value));
    let ByStatus {
        reserved,
        confirmed,
        cancelled,
        expired,
    } = sums.by_status;
    Ok([
        run.day.zone.name().into(),
        run.day.date.into(),
        campaign.0.into(),
        number(reserved),
        number(confirmed),
        number(cancelled),
        number(expired),
        number(sums.units),
        number(sums.units_standing),
        number(sums.refused()),
        text(&sums.refusals)?.into(),
        text(&sums.hours)?.into(),
        sums.first_at.into(),
        sums.last_at.into(),
        run.id.0.into(),
    ])
}

fn text(value: &impl serde::Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Unreadable {
        what: "sums to store",
        value: error.to_string(),
    })
}

pub(super) fn read_text<T: serde::de::DeserializeOwned>(
    what: &'static str,
    text: &str,
) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|_| StoreError::Unreadable {
        what,
        value: text.to_owned(),
    })
}

/// Reads a row of [`READ`], by the number of its columns: a day has many, and names would be looked up for each.
fn daily_row(row: &QueryResult) -> Result<DailyRow, StoreError> {
    let number = |column: usize| -> Result<u64, StoreError> {
        Ok(to_unsigned(row.try_get_by_index(column)?))
    };
    let name: Option<String> = row.try_get_by_index(1)?;
    let refusals: String = row.try_get_by_index(9)?;
    let refusals: BTreeMap<String, u64> = read_text("the refusals of a day", &refusals)?;
    let hours: String = row.try_get_by_index(10)?;
    Ok(DailyRow {
        campaign: CampaignId(row.try_get_by_index(0)?),
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
            hours: read_text("the hours of a day", &hours)?,
        },
    })
}
