//! The state of the installation for admins: the outbox, the replicas that publish it, the breakers and the health of
//! the parts.

use std::sync::Arc;

use poem::web::Data;
use poem_openapi::{Object, OpenApi};
use serde::Serialize;

use crate::access::identity::CampaignRead;
use crate::domain::{Instant, Stream};
use crate::http::auth::Admin;
use crate::http::health::PartView;
use crate::http::json::Json;
use crate::http::problem::{Failure, documented};
use crate::http::words::{Word, vocabulary};
use crate::http::{App, Section};
use crate::operate::system::{BreakerState, Guards, SystemState};
use crate::parts::store::RelaySeat;

documented! {
    Reading: [ADMIN] {}
}

vocabulary!(
    BreakerState,
    "BreakerState",
    "The state of a breaker: `closed` lets calls pass, `open` blocks them, `probing` lets one pass as a test.",
    Closed = "closed",
    Open = "open",
    Probing = "probing"
);

/// A breaker of the replica that responds.
#[derive(Debug, Serialize, Object)]
#[oai(rename = "Breaker")]
struct BreakerView {
    /// What it guards: `gate`, `broker`, or the topic `participation` or `campaign`.
    name: String,
    /// Its state.
    state: Word<BreakerState>,
}

/// The unpublished events of all replicas.
#[derive(Debug, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename = "Waiting", rename_all = "camelCase")]
struct WaitingView {
    /// Events to be published.
    pending: u64,
    /// Events to be retried.
    retry: u64,
    /// Events blocked by an earlier one with the same key.
    blocked: u64,
    /// Parked events: dead letters.
    dead: u64,
    /// Age of the oldest pending event, in seconds; null: none is pending.
    #[oai(nullable)]
    oldest_age_seconds: Option<f64>,
}

/// A replica with a live relay.
#[derive(Debug, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename = "Replica", rename_all = "camelCase")]
struct ReplicaView {
    /// Its unique name.
    owner: String,
    /// The buckets that it publishes, of the 64 of the outbox.
    buckets: Vec<u16>,
    /// Time until its leases expire, in seconds.
    lease_seconds: f64,
    /// Whether it is the one that responds.
    here: bool,
}

/// The state of the installation, at most a second old unless counting the events takes longer.
#[derive(Debug, Serialize, Object)]
#[oai(rename = "System")]
struct SystemView {
    /// When it was read.
    at: Instant,
    /// The unpublished events.
    outbox: WaitingView,
    /// The replicas that publish.
    replicas: Vec<ReplicaView>,
    /// The breakers of the replica that responds.
    breakers: Vec<BreakerView>,
    /// The health of the parts, as seen by the replica that responds.
    parts: Vec<PartView>,
}

impl SystemView {
    fn of(state: &SystemState, parts: Vec<PartView>) -> Self {
        let here = state.here.as_deref();
        let breakers = state.breakers.iter().map(|(guards, state)| BreakerView {
            name: name(*guards).to_owned(),
            state: (*state).into(),
        });
        Self {
            at: state.at,
            outbox: WaitingView {
                pending: state.outbox.pending,
                retry: state.outbox.retry,
                blocked: state.outbox.blocked,
                dead: state.outbox.dead,
                oldest_age_seconds: state.oldest.map(|age| age.as_secs_f64()),
            },
            replicas: state
                .relays
                .iter()
                .map(|seat| replica(seat, here))
                .collect(),
            breakers: breakers.collect(),
            parts,
        }
    }
}

fn replica(seat: &RelaySeat, here: Option<&str>) -> ReplicaView {
    ReplicaView {
        owner: seat.owner.clone(),
        buckets: seat.buckets.clone(),
        lease_seconds: seat.lease_left.as_secs_f64(),
        here: here == Some(seat.owner.as_str()),
    }
}

const fn name(guards: Guards) -> &'static str {
    match guards {
        Guards::Gate => "gate",
        Guards::Broker => "broker",
        Guards::Topic(Stream::Participation) => "participation",
        Guards::Topic(Stream::Campaign) => "campaign",
    }
}

/// The installation.
pub struct AdminSystemApi;

#[OpenApi(tag = "Section::Admin")]
impl AdminSystemApi {
    /// Get the state of the installation.
    ///
    /// All clients share one read a second, so that it is cheap to poll.
    #[oai(path = "/api/admin/system", method = "get", operation_id = "system")]
    async fn system(
        &self,
        app: Data<&Arc<App>>,
        _admin: Admin<CampaignRead>,
    ) -> Result<Json<SystemView>, Failure<Reading>> {
        let (state, parts) = tokio::join!(app.system.state(), app.health.check());
        let parts = parts.iter().map(PartView::from).collect();
        Ok(Json(SystemView::of(state?.as_ref(), parts)))
    }
}
