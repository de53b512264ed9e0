//! The outbox for admins: its unpublished events and its relays.

use std::time::Duration;

use crate::access::identity::CampaignRead;
use crate::http::operation::{Admin, AdminReading, AppRef, Failure, Json, OpenApi, Section, view};
use crate::parts::store::{OutboxCounts, RelayLease};

view! {
    /// The events of the outbox by state, and its relays.
    struct OutboxView as "Outbox"
    of(counts: OutboxCounts, age: Option<Duration>, leases: Vec<RelayLease>) {
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
        oldest_age_seconds: Option<f64> = age.map(|age| age.as_secs_f64()),
        /// The live relays.
        relays: Vec<RelayView> = leases.into_iter().map(RelayView::from).collect(),
    }
}

view! {
    /// A live relay.
    struct RelayView as "Relay" from lease: RelayLease {
        /// Its unique name.
        owner: String,
        /// Number of its buckets, of the 64 of the outbox.
        buckets: u64 = u64::try_from(lease.buckets.len()).unwrap_or(u64::MAX),
        /// Time until its leases expire, in seconds.
        lease_seconds: f64 = lease.lease_left.as_secs_f64(),
    }
}

pub struct AdminOutboxApi;

#[OpenApi(tag = "Section::Operations")]
impl AdminOutboxApi {
    /// Get the outbox: its unpublished events and its relays.
    ///
    /// Dead letters and discarded events are counted, too.
    #[oai(path = "/api/admin/outbox", method = "get", operation_id = "getOutbox")]
    async fn outbox(
        &self,
        app: AppRef<'_>,
        _admin: Admin<CampaignRead>,
    ) -> Result<Json<OutboxView>, Failure<AdminReading>> {
        let store = &app.store;
        let counts = store.outbox_counts(None).await?;
        let age = store.oldest_pending_age().await?;
        let leases = store.relay_leases().await?;
        Ok(Json(OutboxView::of(counts, age, leases)))
    }
}
