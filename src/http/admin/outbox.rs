//! The outbox for admins: how much waits and where, and who publishes it.

use std::sync::Arc;

use poem::web::Data;
use poem_openapi::{Object, OpenApi};
use serde::Serialize;

use crate::access::identity::CampaignRead;
use crate::http::auth::Admin;
use crate::http::json::Written;
use crate::http::problem::{Failure, documented};
use crate::http::{App, Section};
use crate::parts::store::{OutboxCounts, RelaySeat};

documented! {
    /// Problems of looking at the outbox.
    Looking {
        401 => "No or no valid token (UNAUTHENTICATED, INVALID_TOKEN).",
        403 => "The token lacks the scope (MISSING_SCOPE), a user is asking (FORBIDDEN), or the admin API is closed (ADMIN_CLOSED).",
    }
}

/// How many events wait, by where they are, and who publishes them.
#[derive(Debug, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename = "Outbox", rename_all = "camelCase")]
struct OutboxView {
    /// Waiting to be published.
    pending: u64,
    /// Waiting to be tried again.
    retry: u64,
    /// Waiting behind one of the same key that is to be tried again.
    blocked: u64,
    /// Given up: dead letters.
    dead: u64,
    /// Dead letters that somebody threw away.
    discarded: u64,
    /// For how long the oldest pending event has waited, in seconds; null: none is pending.
    #[oai(nullable)]
    oldest_age_seconds: Option<f64>,
    /// The relays that are alive.
    relays: Vec<RelayView>,
}

/// A relay that is alive.
#[derive(Debug, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename = "Relay", rename_all = "camelCase")]
struct RelayView {
    /// Its name, unlike any other's.
    owner: String,
    /// Its share of the 64 buckets of the outbox.
    buckets: u64,
    /// For how long its leases still hold, in seconds.
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
    /// What waits to be published, and who publishes it.
    #[oai(path = "/api/admin/outbox", method = "get", operation_id = "outbox")]
    async fn outbox(
        &self,
        app: Data<&Arc<App>>,
        _admin: Admin<CampaignRead>,
    ) -> Result<Written<OutboxView>, Failure<Looking>> {
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
        Ok(Written(OutboxView {
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
