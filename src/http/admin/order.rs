//! The order in which a campaign's requests arrived and were processed, for admins.

use uuid::Uuid;

use super::stats::Reading;
use crate::access::identity::StatsRead;
use crate::domain::{CampaignId, EventId, Timestamp};
use crate::http::operation::{
    Admin, AppRef, Failure, Json, OpenApi, Page, Path, Query, Section, Word, list, page_cursor,
    page_limit, view, vocabulary,
};
use crate::http::views::{millis, percentage};
use crate::operate::statistics::{Cursor, OrderAnalysis, Violation, ViolationKind, Violations};
use crate::parts::store::Ordered;

view! {
    /// A change and its position in both orders.
    pub struct ChangeView as "OrderedChange" from change: Ordered {
        /// Position in the order of arrival, which the gate assigns.
        rank: u64,
        /// Position among the changes of the participation, from 1.
        sequence: u32,
        /// Its event; the ids of events are in the order of processing.
        event_id: Uuid = change.event.0,
        /// When the event was created, to the millisecond.
        processed_at: Timestamp = created_at(change.event),
    }
}

/// When an event was created: the time of a version 7 UUID is in its first 48 bits.
fn created_at(event: EventId) -> Timestamp {
    let millis = i64::try_from(event.0.as_u128() >> 80).unwrap_or_default();
    chrono::DateTime::from_timestamp_millis(millis).unwrap_or_default()
}

view! {
    /// An arrival and its position in the order of processing.
    struct ArrivalView as "Arrival" from arrival: (Ordered, u64) {
        /// Position in the order of arrival, which the gate assigns.
        rank: u64 = arrival.0.rank,
        /// Position in the order of processing, from 1, among the analysed participations.
        processed_as: u64 = arrival.1,
        /// Its event.
        event_id: Uuid = arrival.0.event.0,
        /// When the event was created, to the millisecond.
        processed_at: Timestamp = created_at(arrival.0.event),
    }
}

view! {
    /// The order in which a campaign's requests arrived and were processed.
    struct OrderAnalysisView as "OrderAnalysis" from analysis: OrderAnalysis {
        /// Id of the campaign.
        campaign_id: i64 = analysis.campaign.id.0,
        /// Its name.
        campaign_name: String = analysis.campaign.name,
        /// Time of the analysis, in milliseconds.
        query_time_ms: f64 = millis(analysis.took),
        /// The first analysed rank; null: there is none.
        #[oai(nullable)]
        first_rank: Option<u64> = analysis.ranks.map(|(first, _)| first),
        /// The last analysed rank; null: there is none.
        #[oai(nullable)]
        last_rank: Option<u64> = analysis.ranks.map(|(_, last)| last),
        /// Analysed changes, at most 100,000 in one response.
        changes: u64,
        /// Participations among them.
        participations: u64,
        /// Participations processed in the order of arrival.
        in_order: u64 = analysis.participations.saturating_sub(analysis.arrival_violations),
        /// Participations processed before an earlier arrival.
        arrival_violations: u64,
        /// Changes processed before an earlier change of the same participation.
        change_violations: u64,
        /// Share of the participations processed before an earlier arrival, `0.25%`.
        violation_rate: String = percentage(analysis.arrival_violations, analysis.participations),
        /// Events that are not analysed, because retention deleted them.
        purged_events: u64 = analysis.purged,
        /// The first analysed arrivals.
        items: Vec<ArrivalView> = analysis.arrivals.into_iter().map(ArrivalView::from).collect(),
        /// Cursor of the rest of the campaign; null: there is no more.
        #[oai(nullable)]
        next_cursor: Option<String> = analysis.next.map(|next| next.to_string()),
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

view! {
    /// A change that was processed before one that precedes it.
    pub struct ViolationView as "OrderViolation" from violation: Violation {
        /// The kind of violation.
        kind: Word<ViolationKind> = violation.kind.into(),
        /// The change that was processed too early.
        change: ChangeView = violation.change.into(),
        /// The change that precedes it: of several, the one processed last.
        after: ChangeView = violation.after.into(),
    }
}

list! {
    /// A page of violations.
    ViolationList as "OrderViolationList": ViolationView, "In order of arrival. A page may have few items, or none."
}

/// The order of requests.
pub struct AdminOrderApi;

#[OpenApi(tag = "Section::Statistics")]
impl AdminOrderApi {
    /// Analyse the order in which a campaign's requests arrived and were processed.
    ///
    /// They arrive in the order of their ranks and are processed in the order of their events. One response analyses up
    /// to 100,000 changes; `nextCursor` continues with the state of the analysis.
    #[oai(
        path = "/api/admin/stats/order-analysis/:id",
        method = "get",
        operation_id = "getOrderAnalysis"
    )]
    async fn order_analysis(
        &self,
        app: AppRef<'_>,
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
    ///
    /// Each with the change that precedes it. `getOrderAnalysis` counts them.
    #[oai(
        path = "/api/admin/stats/order-violations/:id",
        method = "get",
        operation_id = "listOrderViolations"
    )]
    async fn order_violations(
        &self,
        app: AppRef<'_>,
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
