//! The outbox for admins: its unpublished events and its relays.

use std::sync::Arc;

use poem::web::Data;
use poem_openapi::{Object, OpenApi};
use serde::Serialize;

use crate::access::identity::CampaignRead;
use crate::http::auth::Admin;
use crate::http::json::Json;
use crate::http::problem::{Failure, documented};
use crate::http::{App, Section};
use crate::parts::store::{OutboxCounts, RelaySeat};

documented! {
    Reading: [ADMIN] {}
}

/// The events of the outbox by state, and its relays.
#[derive(Debug, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename = "Outbox", rename_all = "camelCase")]
struct OutboxView {
    /// Events to be published.
    pending: u64,
    /// Events to be retried.
    retry: u64,
    /// Events blocked by an earlier one with the same key.
    blocked: u64,
    /// Parked events: dead letters.
    dead: u64,
    /// Discarded dead letters.
    discarded: u64,
    /// Age of the oldest pending event, in seconds; null: none is pending.
    #[oai(nullable)]
    oldest_age_seconds: Option<f64>,
    /// The live relays.
    relays: Vec<RelayView>,
}

/// A live relay.
#[derive(Debug, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename = "Relay", rename_all = "camelCase")]
struct RelayView {
    /// Its unique name.
    owner: String,
    /// Number of its buckets, of the 64 of the outbox.
    buckets: u64,
    /// Time until its leases expire, in seconds.
    lease_seconds: f64,
}

impl From<RelaySeat> for RelayView {
    fn from(seat: RelaySeat) -> Self {
        Self {
            owner: seat.owner,
            buckets: u64::try_from(seat.buckets.len()).unwrap_or(u64::MAX),
            lease_seconds: seat.lease_left.as_secs_f64(),
        }
    }
}

/// The outbox.
pub struct AdminOutboxApi;

#[OpenApi(tag = "Section::Admin")]
impl AdminOutboxApi {
    /// Get the outbox: its unpublished events and its relays.
    #[oai(path = "/api/admin/outbox", method = "get", operation_id = "outbox")]
    async fn outbox(
        &self,
        app: Data<&Arc<App>>,
        _admin: Admin<CampaignRead>,
    ) -> Result<Json<OutboxView>, Failure<Reading>> {
        let store = &app.store;
        let counts = store.outbox_counts(None).await?;
        let age = store.oldest_pending_age().await?;
        let seats = store.relay_seats().await?;
        let OutboxCounts {
            pending,
            retry,
            blocked,
            dead,
            discarded,
        } = counts;
        Ok(Json(OutboxView {
            pending,
            retry,
            blocked,
            dead,
            discarded,
            oldest_age_seconds: age.map(|age| age.as_secs_f64()),
            relays: seats.into_iter().map(RelayView::from).collect(),
        }))
    }
}
