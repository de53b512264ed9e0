//! What days and campaigns came to, as clients see it.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::NaiveDate;
use poem_openapi::Object;
use serde::Serialize;

use crate::domain::{ByStatus, DaySums, Instant};
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

/// Participations by how they stood when they were counted.
#[derive(Debug, PartialEq, Eq, Serialize, Object)]
#[oai(rename = "ByStatus")]
pub struct ByStatusView {
    /// Waiting for their payment.
    pub reserved: u64,
    /// Final.
    pub confirmed: u64,
    /// Given back.
    pub cancelled: u64,
    /// Not paid for in time.
    pub expired: u64,
}

impl From<ByStatus> for ByStatusView {
    fn from(by: ByStatus) -> Self {
        Self {
            reserved: by.reserved,
            confirmed: by.confirmed,
            cancelled: by.cancelled,
            expired: by.expired,
        }
    }
}

/// What all of it comes to.
#[derive(Debug, PartialEq, Eq, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename = "StatisticsSummary", rename_all = "camelCase")]
pub struct SummaryView {
    /// Campaigns with a participation or a refusal.
    pub campaign_count: u64,
    /// Participations that were committed.
    pub success_count: u64,
    /// Requests that were refused.
    pub fail_count: u64,
    /// Both together.
    pub total_count: u64,
    /// Share of the participations in both, `76.00%`.
    pub success_rate: String,
    /// Units of the participations.
    pub units: u64,
    /// Units of those that stand.
    pub units_standing: u64,
    /// Participations by how they stood when they were counted.
    pub by_status: ByStatusView,
    /// Refusals by code.
    pub failures: BTreeMap<String, u64>,
}

impl SummaryView {
    fn of(rows: &[DailyRow]) -> Self {
        let mut all = DaySums::default();
        for row in rows {
            all.add(&row.sums);
        }
        let campaigns: std::collections::BTreeSet<_> =
            rows.iter().map(|row| row.campaign).collect();
        let (success_count, fail_count) = (all.by_status.total(), all.refused());
        Self {
            campaign_count: campaigns.len() as u64,
            success_count,
            fail_count,
            total_count: success_count + fail_count,
            success_rate: percentage(success_count, success_count + fail_count),
            units: all.units,
            units_standing: all.units_standing,
            by_status: all.by_status.into(),
            failures: all.refusals,
        }
    }
}

/// What one campaign comes to on a day.
#[derive(Debug, PartialEq, Eq, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename = "CampaignOfDay", rename_all = "camelCase")]
pub struct CampaignOfDayView {
    /// Number of the campaign.
    pub campaign_id: i64,
    /// Its name.
    pub campaign_name: String,
    /// Which date.
    pub date: NaiveDate,
    /// Participations that were committed.
    pub success_count: u64,
    /// Requests that were refused.
    pub fail_count: u64,
    /// Both together.
    pub total_count: u64,
    /// Share of the participations in both, `76.00%`.
    pub success_rate: String,
    /// Units of the participations.
    pub units: u64,
    /// Units of those that stand.
    pub units_standing: u64,
    /// Participations by how they stood when they were counted.
    pub by_status: ByStatusView,
    /// Refusals by code.
    pub failures: BTreeMap<String, u64>,
    /// When the first participation was committed; null: there is none.
    #[oai(nullable)]
    pub first_at: Option<Instant>,
    /// When the last participation was committed; null: there is none.
    #[oai(nullable)]
    pub last_at: Option<Instant>,
    /// Participations by hour from the beginning of the day, up to the last hour that has one; a day
    /// on which the clock is changed has 23 or 25.
    pub hours: Vec<u64>,
}

impl From<DailyRow> for CampaignOfDayView {
    fn from(row: DailyRow) -> Self {
        let sums = row.sums;
        let (success_count, fail_count) = (sums.by_status.total(), sums.refused());
        Self {
            campaign_id: row.campaign.0,
            campaign_name: row.name,
            date: row.date,
            success_count,
            fail_count,
            total_count: success_count + fail_count,
            success_rate: percentage(success_count, success_count + fail_count),
            units: sums.units,
            units_standing: sums.units_standing,
            by_status: sums.by_status.into(),
            failures: sums.refusals,
            first_at: sums.first_at,
            last_at: sums.last_at,
            hours: sums.hours,
        }
    }
}

/// What a day comes to.
#[derive(Debug, PartialEq, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename = "DayStatistics", rename_all = "camelCase")]
pub struct DayStatisticsView {
    /// Which date.
    pub date: NaiveDate,
    /// In which time zone.
    pub zone: String,
    /// Its first moment.
    pub from: Instant,
    /// The first moment after it.
    pub until: Instant,
    /// Where it comes from.
    pub method: Word<Method>,
    /// How long the store took to answer, in milliseconds.
    pub query_time_ms: f64,
    /// When the day was aggregated; null: this comes from the rows.
    #[oai(nullable)]
    pub aggregated_at: Option<Instant>,
    /// Whether the day was over by then and all of its campaigns are here.
    pub complete: bool,
    /// What all campaigns together come to.
    pub summary: SummaryView,
    /// By campaign, in order of number.
    pub campaigns: Vec<CampaignOfDayView>,
}

impl DayStatisticsView {
    /// Statistics of a day as they are at `now`.
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

/// What a campaign comes to over a period.
#[derive(Debug, PartialEq, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename = "CampaignStatistics", rename_all = "camelCase")]
pub struct CampaignStatisticsView {
    /// Number of the campaign.
    pub campaign_id: i64,
    /// Its name.
    pub campaign_name: String,
    /// The first day.
    pub start_date: NaiveDate,
    /// The last day.
    pub end_date: NaiveDate,
    /// In which time zone.
    pub zone: String,
    /// Where it comes from.
    pub method: Word<Method>,
    /// How long the store took to answer, in milliseconds.
    pub query_time_ms: f64,
    /// What all days together come to.
    pub summary: SummaryView,
    /// The days on which there was something.
    pub days: Vec<CampaignOfDayView>,
    /// Days that are not aggregated, or not all of them.
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

/// A share in percent with two decimals, in integers; nothing of nothing is none.
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
    fn shares_and_times_are_cut_and_not_rounded_up() {
        assert_eq!(percentage(0, 0), "0.00%");
        assert_eq!(percentage(2, 3), "66.66%");
        assert_eq!(percentage(99_999, 100_000), "99.99%");
        assert_eq!(percentage(5, 5), "100.00%");
        assert!((millis(Duration::from_nanos(1_234_999)) - 1.234).abs() < 1e-9);
    }
}
