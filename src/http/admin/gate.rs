//! The gate for admins: what it knows of a campaign, and how much memory that takes.

use std::sync::Arc;

use poem::web::Data;
use poem_openapi::param::Path;
use poem_openapi::{Object, OpenApi};
use serde::Serialize;

use crate::access::identity::CampaignRead;
use crate::domain::{CampaignId, Instant};
use crate::http::auth::Admin;
use crate::http::json::Written;
use crate::http::problem::{Failure, documented};
use crate::http::{App, Section};
use crate::parts::gate::{Footprint, GateState};

documented! {
    /// Problems of looking at the gate.
    LookingAtGate {
        401 => "No or no valid token (UNAUTHENTICATED, INVALID_TOKEN).",
        403 => "The token lacks the scope (MISSING_SCOPE), a user is asking (FORBIDDEN), or the admin API is closed (ADMIN_CLOSED).",
    }
}

/// The settings that the gate admits by.
#[derive(Debug, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename = "GateSettings", rename_all = "camelCase")]
struct GateSettingsView {
    /// Epoch of the campaign when they were read.
    epoch: u64,
    /// Version of the campaign.
    version: u64,
    /// State of the campaign.
    state: String,
    /// First moment of the window; null: from the start.
    #[oai(nullable)]
    opens_at: Option<Instant>,
    /// End of the window; null: none.
    #[oai(nullable)]
    closes_at: Option<Instant>,
    /// Units there are; null: unlimited.
    #[oai(nullable)]
    total_stock: Option<u64>,
    /// Units one user may hold.
    per_user_limit: u32,
    /// Units one request may ask for.
    max_quantity: u32,
}

/// What the gate knows of a campaign.
#[derive(Debug, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename = "GateView", rename_all = "camelCase")]
struct GateView {
    /// Number of the campaign.
    campaign_id: i64,
    /// Generation of its state; null: it has none in force, and is rebuilt when somebody takes part.
    #[oai(nullable)]
    epoch: Option<u64>,
    /// Units taken, committed or leased; null: it has no state in force.
    #[oai(nullable)]
    units: Option<u64>,
    /// What it admits by; null: it has no state in force.
    #[oai(nullable)]
    settings: Option<GateSettingsView>,
    /// Users who hold a unit.
    users: u64,
    /// Admissions that wait for their commit.
    leases: u64,
    /// Returns since the last rebuild.
    returns: u64,
    /// Bytes of memory it takes, estimated from a sample.
    bytes: u64,
    /// Seconds until it is deleted, because the campaign is over; null: it is not going to be.
    #[oai(nullable)]
    expires_in_seconds: Option<f64>,
}

impl GateView {
    fn of(campaign: CampaignId, state: Option<&GateState>, takes: &Footprint) -> Self {
        Self {
            campaign_id: campaign.0,
            epoch: state.map(|state| state.epoch),
            units: state.map(|state| state.units),
            settings: state.map(|state| GateSettingsView {
                epoch: state.settings.epoch,
                version: state.settings.version,
                state: state.settings.state.as_str().to_owned(),
                opens_at: state.settings.opens_at,
                closes_at: state.settings.closes_at,
                total_stock: state.settings.total_stock,
                per_user_limit: state.settings.per_user_limit,
                max_quantity: state.settings.max_quantity,
            }),
            users: takes.users,
            leases: takes.leases,
            returns: takes.returns,
            bytes: takes.bytes,
            expires_in_seconds: takes.expires_in.map(|left| left.as_secs_f64()),
        }
    }
}

/// The gate.
pub struct AdminGateApi;

#[OpenApi(tag = "Section::Admin")]
impl AdminGateApi {
    /// What the gate knows of a campaign, and the memory it takes.
    ///
    /// Of one that the gate does not know, or not any more, all counts are 0.
    #[oai(
        path = "/api/admin/campaigns/:id/gate",
        method = "get",
        operation_id = "campaignGate"
    )]
    async fn gate(
        &self,
        app: Data<&Arc<App>>,
        _admin: Admin<CampaignRead>,
        /// Number of the campaign.
        id: Path<i64>,
    ) -> Result<Written<GateView>, Failure<LookingAtGate>> {
        let campaign = CampaignId(id.0);
        let (state, takes) = app.reconciler.look(campaign).await?;
        Ok(Written(GateView::of(campaign, state.as_ref(), &takes)))
    }
}
