//! The state of the installation for admins: the outbox, the replicas that publish it, the breakers and the health of
//! the parts.

use crate::access::identity::CampaignRead;
use crate::domain::{Timestamp, Topic};
use crate::http::operation::{
    Admin, AdminReading, AppRef, Failure, Json, OpenApi, Section, Word, view, vocabulary,
};
use crate::http::views::PartView;
use crate::operate::system::{BreakerState, Guards, SystemState};
use crate::parts::store::RelayLease;

vocabulary!(
    BreakerState,
    "BreakerState",
    "The state of a breaker: `closed` lets calls pass, `open` blocks them, `probing` lets one pass as a test.",
    Closed = "closed",
    Open = "open",
    Probing = "probing"
);

view! {
    /// A breaker of the replica that responds.
    struct BreakerView as "Breaker" from breaker: &(Guards, BreakerState) {
        /// What it guards: `gate`, `broker`, or the topic `participation` or `campaign`.
        name: String = name(breaker.0).to_owned(),
        /// Its state.
        state: Word<BreakerState> = breaker.1.into(),
    }
}

view! {
    /// The unpublished events of all replicas.
    struct WaitingView as "Waiting" from state: &SystemState {
        /// Events to be published.
        pending: u64 = state.outbox.pending,
        /// Events to be retried.
        retry: u64 = state.outbox.retry,
        /// Events blocked by an earlier one with the same key.
        blocked: u64 = state.outbox.blocked,
        /// Parked events: dead letters.
        dead: u64 = state.outbox.dead,
        /// Age of the oldest pending event, in seconds; null: none is pending.
        #[oai(nullable)]
        oldest_age_seconds: Option<f64> = state.oldest.map(|age| age.as_secs_f64()),
    }
}

view! {
    /// A replica with a live relay.
    struct ReplicaView as "Replica"
    of(lease: &RelayLease, here: Option<&str>) {
        /// Its unique name.
        owner: String = lease.owner.clone(),
        /// The buckets that it publishes, of the 64 of the outbox.
        buckets: Vec<u16> = lease.buckets.clone(),
        /// Time until its leases expire, in seconds.
        lease_seconds: f64 = lease.lease_left.as_secs_f64(),
        /// Whether it is the one that responds.
        here: bool = here == Some(lease.owner.as_str()),
    }
}

view! {
    /// The state of the installation, at most a second old unless counting the events takes longer.
    struct SystemView as "Installation"
    of(state: &SystemState, parts: Vec<PartView>) {
        /// When it was read.
        at: Timestamp,
        /// The unpublished events.
        outbox: WaitingView = state.into(),
        /// The replicas that publish.
        replicas: Vec<ReplicaView> = state
            .relays
            .iter()
            .map(|lease| ReplicaView::of(lease, state.here.as_deref()))
            .collect(),
        /// The breakers of the replica that responds.
        breakers: Vec<BreakerView> = state.breakers.iter().map(BreakerView::from).collect(),
        /// The health of the parts, as seen by the replica that responds.
        parts: Vec<PartView> = parts,
    }
}

const fn name(guards: Guards) -> &'static str {
    match guards {
        Guards::Gate => "gate",
        Guards::Broker => "broker",
        Guards::Topic(Topic::Participation) => "participation",
        Guards::Topic(Topic::Campaign) => "campaign",
        Guards::Topic(Topic::Order) => "order",
    }
}

/// The installation.
pub struct AdminSystemApi;

#[OpenApi(tag = "Section::Operations")]
impl AdminSystemApi {
    /// Get the state of the installation.
    ///
    /// All clients share one read a second, so that it is cheap to poll.
    #[oai(path = "/api/admin/system", method = "get", operation_id = "getSystem")]
    async fn system(
        &self,
        app: AppRef<'_>,
        _admin: Admin<CampaignRead>,
    ) -> Result<Json<SystemView>, Failure<AdminReading>> {
        let (state, parts) = tokio::join!(app.system.state(), app.health.check());
        let parts = parts.iter().map(PartView::from).collect();
        Ok(Json(SystemView::of(state?.as_ref(), parts)))
    }
}
