//! The views of daily statistics.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::NaiveDate;
use poem_openapi::Object;
use serde::Serialize;

use crate::domain::{DaySums, Instant};
use crate::http::words::{Word, vocabulary};
use crate::operate::statistics::{CampaignStatistics, DayStatistics, Method};
use crate::parts::store::DailyRow;

vocabulary!(
    Method,
    "StatisticsMethod",
    "The source of statistics: the rows themselves, or the daily statistics.",
    Raw = "RAW_QUERY",
    Aggregated = "BATCH_AGGREGATED"
);

/// Participations by status when they were counted.
#[derive(Debug, PartialEq, Eq, Serialize, Object)]
#[oai(rename = "ByStatus")]
pub struct ByStatusView {
    /// Reservations.
    pub reserved: u64,
    /// Confirmed ones.
    pub confirmed: u64,
    /// Cancelled ones.
    pub cancelled: u64,
    /// Expired reservations.
    pub expired: u64,
}

/// The sums of a day or a period.
#[derive(Debug, PartialEq, Eq, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename_all = "camelCase")]
pub struct SumsView {
    /// Committed participations.
    pub success_count: u64,
    /// Rejected requests.
    pub fail_count: u64,
    /// Both together.
    pub total_count: u64,
    /// Share of the participations in both, `76.00%`.
    pub success_rate: String,
    /// Units of the participations.
    pub units: u64,
    /// Units of reserved and confirmed participations.
    pub units_standing: u64,
    /// Participations by status when they were counted.
    pub by_status: ByStatusView,
    /// Rejections by code.
    pub failures: BTreeMap<String, u64>,
}

impl From<DaySums> for SumsView {
    fn from(sums: DaySums) -> Self {
        let by_status = sums.by_status;
        let (success_count, fail_count) = (by_status.total(), sums.refused());
        Self {
            success_count,
            fail_count,
            total_count: success_count + fail_count,
            success_rate: percentage(success_count, success_count + fail_count),
            units: sums.units,
            units_standing: sums.units_standing,
            by_status: ByStatusView {
                reserved: by_status.reserved,
                confirmed: by_status.confirmed,
                cancelled: by_status.cancelled,
                expired: by_status.expired,
            },
            failures: sums.refusals,
        }
    }
}

/// The sums of all campaigns.
#[derive(Debug, PartialEq, Eq, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename = "StatisticsSummary", rename_all = "camelCase")]
pub struct SummaryView {
    /// Campaigns with a participation or a rejection.
    pub campaign_count: u64,
    /// The sums.
    #[serde(flatten)]
    #[oai(flatten)]
    pub sums: SumsView,
}

impl SummaryView {
    fn of(rows: &[DailyRow]) -> Self {
        let mut sums = DaySums::default();
        for row in rows {
            sums.add(&row.sums);
        }
        let campaigns: BTreeSet<_> = rows.iter().map(|row| row.campaign).collect();
        Self {
            campaign_count: campaigns.len() as u64,
            sums: sums.into(),
        }
    }
}

/// The statistics of one campaign on one day.
#[derive(Debug, PartialEq, Eq, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename = "CampaignOfDay", rename_all = "camelCase")]
pub struct CampaignOfDayView {
    /// Id of the campaign.
    pub campaign_id: i64,
    /// Its name.
    pub campaign_name: String,
    /// The date.
    pub date: NaiveDate,
    /// The sums.
    #[serde(flatten)]
    #[oai(flatten)]
    pub sums: SumsView,
    /// When the first participation was committed; null: there is none.
    #[oai(nullable)]
    pub first_at: Option<Instant>,
    /// When the last participation was committed; null: there is none.
    #[oai(nullable)]
    pub last_at: Option<Instant>,
    /// Participations by hour from the beginning of the day, up to the last hour that has one; a day on which the clock
    /// is changed has 23 or 25.
    pub hours: Vec<u64>,
}

impl From<DailyRow> for CampaignOfDayView {
    fn from(row: DailyRow) -> Self {
        Self {
            campaign_id: row.campaign.0,
            campaign_name: row.name,
            date: row.date,
            first_at: row.sums.first_at,
            last_at: row.sums.last_at,
            hours: row.sums.hours.clone(),
            sums: row.sums.into(),
        }
    }
}

/// The statistics of a day.
#[derive(Debug, PartialEq, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename = "DayStatistics", rename_all = "camelCase")]
pub struct DayStatisticsView {
    /// The date.
    pub date: NaiveDate,
    /// The time zone.
    pub zone: String,
    /// Start of the day.
    pub from: Instant,
    /// End of the day, exclusive.
    pub until: Instant,
    /// The source of the statistics.
    pub method: Word<Method>,
    /// Time of the query, in milliseconds.
    pub query_time_ms: f64,
    /// When the day was aggregated; null: computed from the rows.
    #[oai(nullable)]
    pub aggregated_at: Option<Instant>,
    /// Whether the day was over at that time and all of its campaigns are included.
    pub complete: bool,
    /// The sums of all campaigns.
    pub summary: SummaryView,
    /// The campaigns, in order of id.
    pub campaigns: Vec<CampaignOfDayView>,
}

impl DayStatisticsView {
    /// The statistics of a day at `now`.
    pub fn at(statistics: DayStatistics, now: Instant) -> Self {
        let day = statistics.day;
        let done = statistics.done;
        Self {
            date: day.date,
            zone: day.zone.name().to_owned(),
            from: day.start(),
            until: day.end(),
            method: statistics.method.into(),
            query_time_ms: millis(statistics.took),
            aggregated_at: done.map(|done| done.at),
            complete: done.map_or(now >= day.end(), |done| done.is_complete),
            summary: SummaryView::of(&statistics.campaigns),
            campaigns: statistics.campaigns.into_iter().map(Into::into).collect(),
        }
    }
}

/// The statistics of a campaign over a period.
#[derive(Debug, PartialEq, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename = "CampaignStatistics", rename_all = "camelCase")]
pub struct CampaignStatisticsView {
    /// Id of the campaign.
    pub campaign_id: i64,
    /// Its name.
    pub campaign_name: String,
    /// The first day.
    pub start_date: NaiveDate,
    /// The last day.
    pub end_date: NaiveDate,
    /// The time zone.
    pub zone: String,
    /// The source of the statistics.
    pub method: Word<Method>,
    /// Time of the query, in milliseconds.
    pub query_time_ms: f64,
    /// The sums of all days.
    pub summary: SummaryView,
    /// The days with a participation or a rejection.
    pub days: Vec<CampaignOfDayView>,
    /// Days that are not aggregated, or only in part.
    pub missing_dates: Vec<NaiveDate>,
}

impl From<CampaignStatistics> for CampaignStatisticsView {
    fn from(statistics: CampaignStatistics) -> Self {
        let (start_date, end_date) = statistics.period;
        Self {
            campaign_id: statistics.campaign.id.0,
            campaign_name: statistics.campaign.name,
            start_date,
            end_date,
            zone: statistics.zone.name().to_owned(),
            method: Word(Method::Aggregated),
            query_time_ms: millis(statistics.took),
            summary: SummaryView::of(&statistics.days),
            days: statistics.days.into_iter().map(Into::into).collect(),
            missing_dates: statistics.missing,
        }
    }
}

/// Milliseconds, to the microsecond.
pub fn millis(took: Duration) -> f64 {
    let micros = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
    f64::from(micros) / 1_000.0
}

/// A share in percent with two decimals, computed in integers; 0 of 0 is 0.
pub fn percentage(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "0.00%".to_owned();
    }
    let hundredths = u128::from(part) * 10_000 / u128::from(whole);
    format!("{}.{:02}%", hundredths / 100, hundredths % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_times_are_rounded_down() {
        assert_eq!(percentage(0, 0), "0.00%");
        assert_eq!(percentage(2, 3), "66.66%");
        assert_eq!(percentage(99_999, 100_000), "99.99%");
        assert_eq!(percentage(5, 5), "100.00%");
        assert!((millis(Duration::from_nanos(1_234_999)) - 1.234).abs() < 1e-9);
    }
}
