//! The views of daily statistics.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::NaiveDate;

use super::view;
use crate::domain::{ByStatus, DaySums, Timestamp};
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

view! {
    /// Participations by status when they were counted.
    #[derive(PartialEq, Eq)]
    pub struct ByStatusView as "ByStatus" from counts: ByStatus {
        /// Reservations.
        reserved: u64,
        /// Confirmed ones.
        confirmed: u64,
        /// Cancelled ones.
        cancelled: u64,
        /// Expired reservations.
        expired: u64,
    }
}

view! {
    /// The sums of a day or a period.
    #[derive(PartialEq, Eq)]
    pub struct SumsView as "SumsView" from sums: DaySums {
        /// Committed participations.
        success_count: u64 = sums.by_status.total(),
        /// Rejected requests.
        fail_count: u64 = sums.refused(),
        /// Both together.
        total_count: u64 = sums.by_status.total() + sums.refused(),
        /// Share of the participations in both, `76.00%`.
        success_rate: String = percentage(
            sums.by_status.total(),
            sums.by_status.total() + sums.refused(),
        ),
        /// Units of the participations.
        units: u64,
        /// Units of reserved and confirmed participations.
        units_standing: u64,
        /// Participations by status when they were counted.
        by_status: ByStatusView = sums.by_status.into(),
        /// Rejections by code.
        failures: BTreeMap<String, u64> = sums.refusals,
    }
}

view! {
    /// The sums of all campaigns.
    #[derive(PartialEq, Eq)]
    pub struct SummaryView as "StatisticsSummary" {
        /// Campaigns with a participation or a rejection.
        campaign_count: u64,
        /// The sums.
        #[serde(flatten)]
        #[oai(flatten)]
        sums: SumsView,
    }
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

view! {
    /// The statistics of one campaign on one day.
    #[derive(PartialEq, Eq)]
    pub struct CampaignOfDayView as "CampaignOfDay" from row: DailyRow {
        /// Id of the campaign.
        campaign_id: i64 = row.campaign.0,
        /// Its name.
        campaign_name: String = row.name,
        /// The date.
        date: NaiveDate,
        /// The sums.
        #[serde(flatten)]
        #[oai(flatten)]
        sums: SumsView = row.sums.clone().into(),
        /// When the first participation was committed; null: there is none.
        #[oai(nullable)]
        first_at: Option<Timestamp> = row.sums.first_at,
        /// When the last participation was committed; null: there is none.
        #[oai(nullable)]
        last_at: Option<Timestamp> = row.sums.last_at,
        /// Participations by hour from the beginning of the day, up to the last hour that has one; a day on which the clock
        /// is changed has 23 or 25.
        hours: Vec<u64> = row.sums.hours,
    }
}

view! {
    /// The statistics of a day.
    #[derive(PartialEq)]
    pub struct DayStatisticsView as "DayStatistics"
    of(statistics: DayStatistics, now: Timestamp) {
        /// The date.
        date: NaiveDate = statistics.day.date,
        /// The time zone.
        zone: String = statistics.day.zone.name().to_owned(),
        /// Start of the day.
        from: Timestamp = statistics.day.start(),
        /// End of the day, exclusive.
        until: Timestamp = statistics.day.end(),
        /// The source of the statistics.
        method: Word<Method> = statistics.method.into(),
        /// Time of the query, in milliseconds.
        query_time_ms: f64 = millis(statistics.took),
        /// When the day was aggregated; null: computed from the rows.
        #[oai(nullable)]
        aggregated_at: Option<Timestamp> = statistics.done.map(|done| done.at),
        /// Whether the day was over at that time and all of its campaigns are included.
        complete: bool = statistics
            .done
            .map_or(now >= statistics.day.end(), |done| done.is_complete),
        /// The sums of all campaigns.
        summary: SummaryView = SummaryView::of(&statistics.campaigns),
        /// The campaigns, in order of id.
        campaigns: Vec<CampaignOfDayView> = statistics.campaigns.into_iter().map(Into::into).collect(),
    }
}

view! {
    /// The statistics of a campaign over a period.
    #[derive(PartialEq)]
    pub struct CampaignStatisticsView as "CampaignStatistics" from statistics: CampaignStatistics {
        /// Id of the campaign.
        campaign_id: i64 = statistics.campaign.id.0,
        /// Its name.
        campaign_name: String = statistics.campaign.name,
        /// The first day.
        start_date: NaiveDate = statistics.period.0,
        /// The last day.
        end_date: NaiveDate = statistics.period.1,
        /// The time zone.
        zone: String = statistics.zone.name().to_owned(),
        /// The source of the statistics.
        method: Word<Method> = Word(Method::Aggregated),
        /// Time of the query, in milliseconds.
        query_time_ms: f64 = millis(statistics.took),
        /// The sums of all days.
        summary: SummaryView = SummaryView::of(&statistics.days),
        /// The days with a participation or a rejection.
        days: Vec<CampaignOfDayView> = statistics.days.into_iter().map(Into::into).collect(),
        /// Days that are not aggregated, or only in part.
        missing_dates: Vec<NaiveDate> = statistics.missing,
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
