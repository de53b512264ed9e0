//! Statistics of days and campaigns for admins.

use chrono::{NaiveDate, TimeDelta};

use crate::access::identity::StatsRead;
use crate::domain::{CampaignId, DayError, Timestamp, Zone, to_stored_precision};
use crate::http::operation::{
    Admin, AppRef, Failure, Json, OpenApi, Path, Problem, Query, Section, documented, kind, view,
};
use crate::http::problem::{FieldProblem, busy};
use crate::http::views::{CampaignStatisticsView, DayStatisticsView};
use crate::operate::statistics::AggregateError;
use crate::parts::store::MinuteTally;

documented! {
    Reading: [ADMIN, PARAMETERS] {
        400 => "The day is in the future (DATE_IN_FUTURE), or more than a year ago (DATE_TOO_OLD).",
        404 => "There is no such campaign (NOT_FOUND), or the day is not aggregated (NOT_AGGREGATED).",
    }
}

/// Statistics for admins.
pub struct AdminStatsApi;

#[OpenApi(prefix_path = "/api/admin/stats", tag = "Section::Statistics")]
impl AdminStatsApi {
    /// Get the statistics of a day, computed from the rows.
    ///
    /// Slow for a busy day: `/api/admin/stats/daily` has the same from the daily statistics. One such request at a time;
    /// others get 503.
    #[oai(path = "/raw", method = "get", operation_id = "getRawStatistics")]
    async fn raw(
        &self,
        app: AppRef<'_>,
        _admin: Admin<StatsRead>,
        /// The date, at most a year ago.
        date: Query<NaiveDate>,
        /// IANA name of the time zone of the day; `aggregation.zone` when left out.
        zone: Query<Option<String>>,
    ) -> Result<Json<DayStatisticsView>, Failure<Reading>> {
        let found = app.aggregator.raw(date.0, read_zone(zone.0)?).await?;
        Ok(Json(DayStatisticsView::of(found, app.clock.now())))
    }

    /// Get the daily statistics of a day.
    ///
    /// The status of participations may have changed since the aggregation: `force` aggregates the day again.
    #[oai(path = "/daily", method = "get", operation_id = "getDailyStatistics")]
    async fn daily(
        &self,
        app: AppRef<'_>,
        _admin: Admin<StatsRead>,
        /// The date, at most a year ago.
        date: Query<NaiveDate>,
        /// IANA name of the time zone; daily statistics exist only for `aggregation.zone`.
        zone: Query<Option<String>>,
    ) -> Result<Json<DayStatisticsView>, Failure<Reading>> {
        let found = app.aggregator.daily(date.0, read_zone(zone.0)?).await?;
        Ok(Json(DayStatisticsView::of(found, app.clock.now())))
    }

    /// Get the daily statistics of a campaign over a period.
    ///
    /// `missingDates` names the days that are not aggregated, or only in part.
    #[oai(
        path = "/campaign/:id",
        method = "get",
        operation_id = "getCampaignStatistics"
    )]
    async fn campaign(
        &self,
        app: AppRef<'_>,
        _admin: Admin<StatsRead>,
        /// Id of the campaign.
        id: Path<i64>,
        /// The first day, at most a year ago.
        #[oai(name = "startDate")]
        start_date: Query<NaiveDate>,
        /// The last day.
        #[oai(name = "endDate")]
        end_date: Query<NaiveDate>,
        /// IANA name of the time zone; daily statistics exist only for `aggregation.zone`.
        zone: Query<Option<String>>,
    ) -> Result<Json<CampaignStatisticsView>, Failure<Reading>> {
        let period = (start_date.0, end_date.0);
        let zone = read_zone(zone.0)?;
        let found = app.aggregator.campaign(CampaignId(id.0), period, zone);
        Ok(Json(found.await?.into()))
    }

    /// Get the refusals of a campaign by minute and reason.
    ///
    /// Counts reach the database within a second or two.
    #[oai(
        path = "/refusals/:id",
        method = "get",
        operation_id = "getRefusalStatistics"
    )]
    async fn refusals(
        &self,
        app: AppRef<'_>,
        _admin: Admin<StatsRead>,
        /// Id of the campaign.
        id: Path<i64>,
        /// Only minutes that begin at this time or later; an hour before `to` when left out. At most a day before `to`.
        from: Query<Option<Timestamp>>,
        /// Only minutes that begin before this time; now when left out.
        to: Query<Option<Timestamp>>,
    ) -> Result<Json<RefusalsView>, Failure<Reading>> {
        let campaign = CampaignId(id.0);
        let range = read_range(from.0, to.0, to_stored_precision(app.clock.now()))?;
        if app.store.campaign(campaign).await?.is_none() {
            return Err(Problem::not_found("There is no such campaign.").into());
        }
        let found = app.store.refusals_by_minute(campaign, range).await?;
        Ok(Json(RefusalsView::of(found, campaign, range)))
    }
}

/// Longest period whose refusals one request reads.
const RANGE_MAX: TimeDelta = TimeDelta::days(1);
/// The period by default.
const RANGE_DEFAULT: TimeDelta = TimeDelta::hours(1);

fn read_range(
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    now: Timestamp,
) -> Result<(Timestamp, Timestamp), Problem> {
    let to = to.unwrap_or(now);
    let default = || to.checked_sub_signed(RANGE_DEFAULT).unwrap_or(to);
    let from = from.unwrap_or_else(default);
    if from > to {
        return Err(Problem::invalid_field("from", "must not be after to"));
    }
    if to.signed_duration_since(from) > RANGE_MAX {
        return Err(Problem::invalid_field(
            "from",
            "must be at most a day before to",
        ));
    }
    Ok((from, to))
}

view! {
    /// The refusals of a campaign for one reason within one minute.
    struct MinuteRefusalsView as "MinuteRefusals" from tally: MinuteTally {
        /// Start of the minute.
        minute: Timestamp,
        /// `code` of the refusal.
        code: String = tally.reason,
        /// Number of refusals.
        count: u64,
    }
}

view! {
    /// The refusals of a campaign by minute and reason.
    struct RefusalsView as "Refusals"
    of(found: Vec<MinuteTally>, campaign: CampaignId, range: (Timestamp, Timestamp)) {
        /// Id of the campaign.
        campaign_id: i64 = campaign.0,
        /// Only minutes that begin at this time or later.
        from: Timestamp = range.0,
        /// Only minutes that begin before this time.
        to: Timestamp = range.1,
        /// Number of refusals in all.
        total: u64 = found.iter().map(|tally| tally.count).sum(),
        /// In order of minute and code. A minute without refusals has none.
        items: Vec<MinuteRefusalsView> = found.into_iter().map(MinuteRefusalsView::from).collect(),
    }
}

fn read_zone(name: Option<String>) -> Result<Option<Zone>, Problem> {
    name.map(|name| {
        name.parse().map_err(|_| {
            Problem::invalid_field(
                "zone",
                "is not the IANA name of a time zone, such as Asia/Seoul",
            )
        })
    })
    .transpose()
}

impl From<AggregateError> for Problem {
    fn from(error: AggregateError) -> Self {
        match error {
            AggregateError::Day(parameter, error) => wrong_day(parameter, error),
            AggregateError::Backwards => {
                Self::invalid_field("endDate", "must not be before startDate")
            }
            AggregateError::OtherZone(zone) => Self::invalid_field(
                "zone",
                format!(
                    "daily statistics exist only for {zone}; /api/admin/stats/raw takes any zone"
                ),
            ),
            AggregateError::NotAggregated => {
                kind::NOT_AGGREGATED.because("This day is not aggregated.")
            }
            AggregateError::Running(run) => kind::AGGREGATION_RUNNING
                .because("Another run is in progress, for this day or another one.")
                .with_member("jobExecutionId", run.id.0)
                .with_member("date", run.day.date.to_string()),
            AggregateError::UnknownCampaign => Self::not_found("There is no such campaign."),
            AggregateError::Busy => busy(),
            AggregateError::Store(error) => error.into(),
        }
    }
}

fn wrong_day(parameter: &'static str, error: DayError) -> Problem {
    let (kind, problem) = match error {
        DayError::Future => (kind::DATE_IN_FUTURE, "is in the future"),
        DayError::TooOld => (kind::DATE_TOO_OLD, "is more than a year ago"),
    };
    let detail = format!("{parameter}: {problem}.");
    kind.because(detail)
        .with_error(FieldProblem::new(parameter, problem))
}
