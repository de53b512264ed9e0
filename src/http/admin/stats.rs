//! Statistics for admins: what days and campaigns came to, and in which order a campaign's requests
//! arrived and were processed.

use std::sync::Arc;

use chrono::NaiveDate;
use poem::http::StatusCode;
use poem::web::Data;
use poem_openapi::param::{Path, Query};
use poem_openapi::{Enum, Object, OpenApi};
use serde::Serialize;
use uuid::Uuid;

use crate::access::identity::StatsRead;
use crate::domain::{CampaignId, DayError, Instant, Zone};
use crate::http::auth::Admin;
use crate::http::json::Written;
use crate::http::page::{page_cursor, page_limit};
use crate::http::problem::{Failure, FieldProblem, Problem, busy, documented};
use crate::http::views::{CampaignStatisticsView, DayStatisticsView, millis, percentage};
use crate::http::{App, Section};
use crate::operate::statistics::{
    AggregateError, Cursor, OrderAnalysis, Violation, ViolationKind, Violations,
};
use crate::parts::store::Ordered;

documented! {
    /// Problems of looking at statistics.
    Looking {
        400 => "The day has not begun (DATE_IN_FUTURE), or is more than a year ago (DATE_TOO_OLD).",
        401 => "No or no valid admin token (UNAUTHENTICATED).",
        403 => "The admin API is closed (ADMIN_CLOSED), or a user is asking (FORBIDDEN).",
        404 => "There is no such campaign (NOT_FOUND), or the day is not aggregated (NOT_AGGREGATED).",
        422 => "A value cannot be accepted (INVALID).",
    }
}

/// One change and where it stands in both orders.
#[derive(Debug, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename = "OrderedChange", rename_all = "camelCase")]
struct ChangeView {
    /// Place in the order of arrival, given by the gate.
    rank: u64,
    /// Position among the changes of the participation, from 1.
    sequence: u32,
    /// Its event; events are in the order of processing.
    event_id: Uuid,
    /// When the event was made, to the millisecond.
    processed_at: Instant,
}

impl From<Ordered> for ChangeView {
    fn from(change: Ordered) -> Self {
        // The time of a version 7 UUID is in its first 48 bits.
        let millis = i64::try_from(change.event.0.as_u128() >> 80).unwrap_or_default();
        Self {
            rank: change.rank,
            sequence: change.sequence,
            event_id: change.event.0,
            processed_at: chrono::DateTime::from_timestamp_millis(millis).unwrap_or_default(),
        }
    }
}

/// An arrival and its place in the order of processing.
#[derive(Debug, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename = "Arrival", rename_all = "camelCase")]
struct ArrivalView {
    /// Place in the order of arrival, given by the gate.
    rank: u64,
    /// Place in the order of processing, from 1, among the participations looked at.
    processed_as: u64,
    /// Its event.
    event_id: Uuid,
    /// When the event was made, to the millisecond.
    processed_at: Instant,
}

/// In which order a campaign's requests arrived and were processed.
#[derive(Debug, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename = "OrderAnalysis", rename_all = "camelCase")]
struct OrderAnalysisView {
    /// Number of the campaign.
    campaign_id: i64,
    /// Its name.
    campaign_name: String,
    /// How long the answer took, in milliseconds.
    query_time_ms: f64,
    /// The first rank looked at; null: there is none.
    #[oai(nullable)]
    first_rank: Option<u64>,
    /// The last rank looked at; null: there is none.
    #[oai(nullable)]
    last_rank: Option<u64>,
    /// Changes looked at, at most 100,000 in one answer.
    changes: u64,
    /// Participations among them.
    participations: u64,
    /// Participations processed in the order in which they arrived.
    in_order: u64,
    /// Participations processed before somebody who had arrived earlier.
    arrival_violations: u64,
    /// Changes processed before an earlier change of the same participation.
    change_violations: u64,
    /// Share of the participations processed before somebody earlier, `0.25%`.
    violation_rate: String,
    /// Events deleted because their time was over: they are not looked at.
    purged_events: u64,
    /// The first arrivals of those looked at.
    items: Vec<ArrivalView>,
    /// Asks for the rest of the campaign; null: this was all.
    #[oai(nullable)]
    next_cursor: Option<String>,
}

impl From<OrderAnalysis> for OrderAnalysisView {
    fn from(analysis: OrderAnalysis) -> Self {
        let arrival = |(change, processed_as): (Ordered, u64)| {
            let change = ChangeView::from(change);
            ArrivalView {
                rank: change.rank,
                processed_as,
                event_id: change.event_id,
                processed_at: change.processed_at,
            }
        };
        let (participations, violations) = (analysis.participations, analysis.arrival_violations);
        Self {
            campaign_id: analysis.campaign.id.0,
            campaign_name: analysis.campaign.name,
            query_time_ms: millis(analysis.took),
            first_rank: analysis.ranks.map(|(first, _)| first),
            last_rank: analysis.ranks.map(|(_, last)| last),
            changes: analysis.changes,
            participations,
            in_order: participations.saturating_sub(violations),
            arrival_violations: violations,
            change_violations: analysis.change_violations,
            violation_rate: percentage(violations, participations),
            purged_events: analysis.purged,
            items: analysis.arrivals.into_iter().map(arrival).collect(),
            next_cursor: analysis.next.map(|next| next.to_string()),
        }
    }
}

/// What is out of order.
#[derive(Clone, Copy, Debug, Serialize, Enum)]
#[serde(rename_all = "snake_case")]
#[oai(rename = "OrderViolationKind", rename_all = "snake_case")]
enum KindWord {
    /// Two participations: the one that arrived later was processed earlier.
    Arrival,
    /// Two changes of a participation: the later one was processed earlier.
    Change,
}

/// A change that was processed before one it should have come after.
#[derive(Debug, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename = "OrderViolation", rename_all = "camelCase")]
struct ViolationView {
    /// What is out of order.
    kind: KindWord,
    /// The change that was processed too early.
    change: ChangeView,
    /// What it should have come after: of several, what was processed last.
    after: ChangeView,
}

impl From<Violation> for ViolationView {
    fn from(violation: Violation) -> Self {
        Self {
            kind: match violation.kind {
                ViolationKind::Arrival => KindWord::Arrival,
                ViolationKind::Change => KindWord::Change,
            },
            change: violation.change.into(),
            after: violation.after.into(),
        }
    }
}

/// Violations in order of arrival.
#[derive(Debug, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename = "OrderViolationList", rename_all = "camelCase")]
struct ViolationList {
    /// The violations of this page.
    items: Vec<ViolationView>,
    /// Asks for the next page, also where this one has few items or none; null: this is the last.
    #[oai(nullable)]
    next_cursor: Option<String>,
}

/// Statistics for admins.
pub struct AdminStatsApi;

#[OpenApi(tag = "Section::Admin")]
impl AdminStatsApi {
    /// What a day comes to, read from the rows.
    ///
    /// Slow where the day was busy: `/api/admin/stats/daily` has the same from what was kept. One such
    /// answer at a time; others are told to come back.
    #[oai(
        path = "/api/admin/stats/raw",
        method = "get",
        operation_id = "rawStatistics"
    )]
    async fn raw(
        &self,
        app: Data<&Arc<App>>,
        _admin: Admin<StatsRead>,
        /// Which date, at most a year ago.
        date: Query<NaiveDate>,
        /// IANA name of the time zone whose day it is; that of `aggregation.zone` when left out.
        zone: Query<Option<String>>,
    ) -> Result<Written<DayStatisticsView>, Failure<Looking>> {
        let found = app.aggregator.raw(date.0, read_zone(zone.0)?).await?;
        Ok(Written(DayStatisticsView::at(found, app.clock.now())))
    }

    /// What a day came to when it was aggregated.
    ///
    /// How participations stand may have changed since: aggregating the day again with `force` tells.
    #[oai(
        path = "/api/admin/stats/daily",
        method = "get",
        operation_id = "dailyStatistics"
    )]
    async fn daily(
        &self,
        app: Data<&Arc<App>>,
        _admin: Admin<StatsRead>,
        /// Which date, at most a year ago.
        date: Query<NaiveDate>,
        /// IANA name of the time zone; days are kept for that of `aggregation.zone` alone.
        zone: Query<Option<String>>,
    ) -> Result<Written<DayStatisticsView>, Failure<Looking>> {
        let found = app.aggregator.daily(date.0, read_zone(zone.0)?).await?;
        Ok(Written(DayStatisticsView::at(found, app.clock.now())))
    }

    /// What a campaign came to over a period, by day.
    #[oai(
        path = "/api/admin/stats/campaign/:id",
        method = "get",
        operation_id = "campaignStatistics"
    )]
    async fn campaign(
        &self,
        app: Data<&Arc<App>>,
        _admin: Admin<StatsRead>,
        /// Number of the campaign.
        id: Path<i64>,
        /// The first day, at most a year ago.
        #[oai(name = "startDate")]
        start_date: Query<NaiveDate>,
        /// The last day.
        #[oai(name = "endDate")]
        end_date: Query<NaiveDate>,
        /// IANA name of the time zone; days are kept for that of `aggregation.zone` alone.
        zone: Query<Option<String>>,
    ) -> Result<Written<CampaignStatisticsView>, Failure<Looking>> {
        let period = (start_date.0, end_date.0);
        let zone = read_zone(zone.0)?;
        let found = app.aggregator.campaign(CampaignId(id.0), period, zone);
        Ok(Written(found.await?.into()))
    }

    /// In which order a campaign's requests arrived and were processed.
    ///
    /// They arrive in the order of their rank and are processed in the order of their events. Looks at up
    /// to 100,000 changes at a time; `nextCursor` goes on, and knows what was met before.
    #[oai(
        path = "/api/admin/stats/order-analysis/:id",
        method = "get",
        operation_id = "orderAnalysis"
    )]
    async fn order_analysis(
        &self,
        app: Data<&Arc<App>>,
        _admin: Admin<StatsRead>,
        /// Number of the campaign.
        id: Path<i64>,
        /// Arrivals that are told one by one.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `nextCursor` of the answer before.
        cursor: Query<Option<String>>,
    ) -> Result<Written<OrderAnalysisView>, Failure<Looking>> {
        let cursor: Option<Cursor> = page_cursor(cursor.0.as_deref())?;
        let analysis = app.aggregator.order_analysis(
            CampaignId(id.0),
            cursor.unwrap_or_default(),
            page_limit(limit.0).shown(),
        );
        Ok(Written(analysis.await?.into()))
    }

    /// List what was processed out of order, in order of arrival.
    #[oai(
        path = "/api/admin/stats/order-violations/:id",
        method = "get",
        operation_id = "orderViolations"
    )]
    async fn order_violations(
        &self,
        app: Data<&Arc<App>>,
        _admin: Admin<StatsRead>,
        /// Number of the campaign.
        id: Path<i64>,
        /// Violations on a page.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `nextCursor` of the page before.
        cursor: Query<Option<String>>,
    ) -> Result<Written<ViolationList>, Failure<Looking>> {
        let cursor: Option<Cursor> = page_cursor(cursor.0.as_deref())?;
        let found = app.aggregator.order_violations(
            CampaignId(id.0),
            cursor.unwrap_or_default(),
            page_limit(limit.0).shown(),
        );
        let Violations { items, next } = found.await?;
        Ok(Written(ViolationList {
            items: items.into_iter().map(Into::into).collect(),
            next_cursor: next.map(|next| next.to_string()),
        }))
    }
}

fn read_zone(name: Option<String>) -> Result<Option<Zone>, Problem> {
    name.map(|name| {
        name.parse().map_err(|_| {
            Problem::invalid_field("zone", "is not the IANA name of a time zone, as Asia/Seoul")
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
                format!("days are kept for {zone} alone; /api/admin/stats/raw takes any zone"),
            ),
            AggregateError::NotAggregated => Self::new(
                StatusCode::NOT_FOUND,
                "NOT_AGGREGATED",
                "Not aggregated",
                "This day is not aggregated.",
            ),
            AggregateError::Running(run) => Self::new(
                StatusCode::CONFLICT,
                "AGGREGATION_RUNNING",
                "An aggregation is running",
                "Another day, or this one, is being aggregated.",
            )
            .with_member("jobExecutionId", run.id.0)
            .with_member("date", run.day.date.to_string()),
            AggregateError::UnknownCampaign => Self::not_found("There is no such campaign."),
            AggregateError::Busy => busy(),
            AggregateError::Store(error) => error.into(),
        }
    }
}

fn wrong_day(parameter: &'static str, error: DayError) -> Problem {
    let (code, title, problem) = match error {
        DayError::Future => ("DATE_IN_FUTURE", "Date in the future", "has not begun yet"),
        DayError::TooOld => ("DATE_TOO_OLD", "Date too old", "is more than a year ago"),
    };
    let detail = format!("{parameter}: {problem}.");
    Problem::new(StatusCode::BAD_REQUEST, code, title, detail)
        .with_error(FieldProblem::new(parameter, problem))
}
