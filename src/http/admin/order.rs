//! The order in which a campaign's requests arrived and were processed, for admins.

use std::sync::Arc;

use poem::web::Data;
use poem_openapi::param::{Path, Query};
use poem_openapi::{Object, OpenApi};
use serde::Serialize;
use uuid::Uuid;

use super::stats::Reading;
use crate::access::identity::StatsRead;
use crate::domain::{CampaignId, Instant};
use crate::http::auth::Admin;
use crate::http::json::Json;
use crate::http::page::{Page, page_cursor, page_limit};
use crate::http::problem::Failure;
use crate::http::views::{list, millis, percentage};
use crate::http::words::{Word, vocabulary};
use crate::http::{App, Section};
use crate::operate::statistics::{Cursor, OrderAnalysis, Violation, ViolationKind, Violations};
use crate::parts::store::Ordered;

/// A change and its position in both orders.
#[derive(Debug, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename = "OrderedChange", rename_all = "camelCase")]
pub struct ChangeView {
    /// Position in the order of arrival, which the gate assigns.
    rank: u64,
    /// Position among the changes of the participation, from 1.
    sequence: u32,
    /// Its event; the ids of events are in the order of processing.
    event_id: Uuid,
    /// When the event was created, to the millisecond.
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

/// An arrival and its position in the order of processing.
#[derive(Debug, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename = "Arrival", rename_all = "camelCase")]
struct ArrivalView {
    /// Position in the order of arrival, which the gate assigns.
    rank: u64,
    /// Position in the order of processing, from 1, among the analysed participations.
    processed_as: u64,
    /// Its event.
    event_id: Uuid,
    /// When the event was created, to the millisecond.
    processed_at: Instant,
}

/// The order in which a campaign's requests arrived and were processed.
#[derive(Debug, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename = "OrderAnalysis", rename_all = "camelCase")]
struct OrderAnalysisView {
    /// Id of the campaign.
    campaign_id: i64,
    /// Its name.
    campaign_name: String,
    /// Time of the analysis, in milliseconds.
    query_time_ms: f64,
    /// The first analysed rank; null: there is none.
    #[oai(nullable)]
    first_rank: Option<u64>,
    /// The last analysed rank; null: there is none.
    #[oai(nullable)]
    last_rank: Option<u64>,
    /// Analysed changes, at most 100,000 in one response.
    changes: u64,
    /// Participations among them.
    participations: u64,
    /// Participations processed in the order of arrival.
    in_order: u64,
    /// Participations processed before an earlier arrival.
    arrival_violations: u64,
    /// Changes processed before an earlier change of the same participation.
    change_violations: u64,
    /// Share of the participations processed before an earlier arrival, `0.25%`.
    violation_rate: String,
    /// Events that are not analysed, because retention deleted them.
    purged_events: u64,
    /// The first analysed arrivals.
    items: Vec<ArrivalView>,
    /// Cursor of the rest of the campaign; null: there is no more.
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

vocabulary!(
    ViolationKind,
    "OrderViolationKind",
    "`arrival`: of two participations, the later arrival was processed first. `change`: of two changes of a \
     participation, the later one was processed first.",
    Arrival = "arrival",
    Change = "change"
);

/// A change that was processed before one that precedes it.
#[derive(Debug, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename = "OrderViolation", rename_all = "camelCase")]
pub struct ViolationView {
    /// What is out of order.
    kind: Word<ViolationKind>,
    /// The change that was processed too early.
    change: ChangeView,
    /// The change that precedes it: of several, the one processed last.
    after: ChangeView,
}

impl From<Violation> for ViolationView {
    fn from(violation: Violation) -> Self {
        Self {
            kind: violation.kind.into(),
            change: violation.change.into(),
            after: violation.after.into(),
        }
    }
}

list! {
    /// A page of violations.
    ViolationList as "OrderViolationList": ViolationView, "In order of arrival. A page may have few items, or none."
}

/// The order of requests.
pub struct AdminOrderApi;

#[OpenApi(tag = "Section::Admin")]
impl AdminOrderApi {
    /// Analyse the order in which a campaign's requests arrived and were processed.
    ///
    /// They arrive in the order of their ranks and are processed in the order of their events. One response analyses up
    /// to 100,000 changes; `nextCursor` continues with the state of the analysis.
    #[oai(
        path = "/api/admin/stats/order-analysis/:id",
        method = "get",
        operation_id = "orderAnalysis"
    )]
    async fn order_analysis(
        &self,
        app: Data<&Arc<App>>,
        _admin: Admin<StatsRead>,
        /// Id of the campaign.
        id: Path<i64>,
        /// Arrivals in `items`.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `nextCursor` of the previous response.
        cursor: Query<Option<String>>,
    ) -> Result<Json<OrderAnalysisView>, Failure<Reading>> {
        let cursor: Option<Cursor> = page_cursor(cursor.0.as_deref())?;
        let analysis = app.aggregator.order_analysis(
            CampaignId(id.0),
            cursor.unwrap_or_default(),
            page_limit(limit.0).items(),
        );
        Ok(Json(analysis.await?.into()))
    }

    /// List the changes that were processed out of order, in order of arrival.
    #[oai(
        path = "/api/admin/stats/order-violations/:id",
        method = "get",
        operation_id = "orderViolations"
    )]
    async fn order_violations(
        &self,
        app: Data<&Arc<App>>,
        _admin: Admin<StatsRead>,
        /// Id of the campaign.
        id: Path<i64>,
        /// Violations on a page.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `nextCursor` of the previous page.
        cursor: Query<Option<String>>,
    ) -> Result<Json<ViolationList>, Failure<Reading>> {
        let cursor: Option<Cursor> = page_cursor(cursor.0.as_deref())?;
        let found = app.aggregator.order_violations(
            CampaignId(id.0),
            cursor.unwrap_or_default(),
            page_limit(limit.0).items(),
        );
        let Violations { items, next } = found.await?;
        let page = Page {
            items,
            next_cursor: next.map(|next| next.to_string()),
        };
        Ok(Json(ViolationList::of(page, ViolationView::from)))
    }
}
