//! The installation for those who watch it: what waits to be published, which replicas publish what,
//! what the breakers hold back, and whether the parts answer.

use std::sync::Arc;

use poem::web::Data;
use poem_openapi::{Enum, Object, OpenApi};
use serde::Serialize;

use crate::access::identity::CampaignRead;
use crate::domain::{Instant, Stream};
use crate::http::auth::Admin;
use crate::http::health::PartView;
use crate::http::json::Written;
use crate::http::problem::{Failure, documented};
use crate::http::{App, Section};
use crate::operate::system::{BreakerState, Guards, SystemState};
use crate::parts::store::RelaySeat;

documented! {
    /// Problems of watching the installation.
    Watching {
        401 => "No or no valid token (UNAUTHENTICATED, INVALID_TOKEN).",
        403 => "The token lacks the scope (MISSING_SCOPE), a user is asking (FORBIDDEN), or the admin API is closed (ADMIN_CLOSED).",
    }
}

/// What a breaker does with records or calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Enum)]
#[serde(rename_all = "snake_case")]
#[oai(rename = "BreakerState", rename_all = "snake_case")]
enum BreakerWord {
    /// Lets them go.
    Closed,
    /// Holds them back.
    Open,
    /// Lets one go, to find out whether the others can.
    Probing,
}

impl From<BreakerState> for BreakerWord {
    fn from(state: BreakerState) -> Self {
        match state {
            BreakerState::Closed => Self::Closed,
            BreakerState::Open => Self::Open,
            BreakerState::Probing => Self::Probing,
        }
    }
}

/// A breaker of the replica that answers.
#[derive(Debug, Serialize, Object)]
#[oai(rename = "Breaker")]
struct BreakerView {
    /// What it stands before: `gate`, `broker`, or a topic, `participation` or `campaign`.
    name: String,
    /// What it does.
    state: BreakerWord,
}

/// What waits to be published, of all replicas.
#[derive(Debug, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename = "Waiting", rename_all = "camelCase")]
struct WaitingView {
    /// Waiting to be published.
    pending: u64,
    /// Waiting to be tried again.
    retry: u64,
    /// Waiting behind one of the same key that is to be tried again.
    blocked: u64,
    /// Given up: dead letters.
    dead: u64,
    /// For how long the oldest pending event has waited, in seconds; null: none is pending.
    #[oai(nullable)]
    oldest_age_seconds: Option<f64>,
}

/// A replica whose relay is alive.
#[derive(Debug, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename = "Replica", rename_all = "camelCase")]
struct ReplicaView {
    /// Its name, unlike any other's.
    owner: String,
    /// The buckets of the outbox, of 64, that it publishes.
    buckets: Vec<u16>,
    /// For how long its leases still hold, in seconds.
    lease_seconds: f64,
    /// Whether it is the one that answers.
    here: bool,
}

/// The installation at a moment, at most a second old unless counting what waits takes long.
#[derive(Debug, Serialize, Object)]
#[oai(rename = "System")]
struct SystemView {
    /// When this was read.
    at: Instant,
    /// What waits to be published.
    outbox: WaitingView,
    /// The replicas that publish.
    replicas: Vec<ReplicaView>,
    /// The breakers of the replica that answers.
    breakers: Vec<BreakerView>,
    /// Whether the parts answer the replica that answers.
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
    /// How the installation does.
    ///
    /// Cheap to ask every second, by however many: it is read once for all of them.
    #[oai(path = "/api/admin/system", method = "get", operation_id = "system")]
    async fn system(
        &self,
        app: Data<&Arc<App>>,
        _admin: Admin<CampaignRead>,
    ) -> Result<Written<SystemView>, Failure<Watching>> {
        let (state, parts) = tokio::join!(app.system.state(), app.health.check());
        let parts = parts.iter().map(PartView::from).collect();
        Ok(Written(SystemView::of(state?.as_ref(), parts)))
    }
}
