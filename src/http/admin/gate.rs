//! The gate for admins: its state of a campaign, and the memory of that.

use std::sync::Arc;

use poem::web::Data;
use poem_openapi::param::Path;
use poem_openapi::{Object, OpenApi};
use serde::Serialize;

use crate::access::identity::CampaignRead;
use crate::domain::{CampaignId, Instant};
use crate::http::auth::Admin;
use crate::http::json::Json;
use crate::http::problem::{Failure, documented};
use crate::http::{App, Section};
use crate::parts::gate::{Footprint, GateState};

documented! {
    Reading: [ADMIN] {}
}

/// The settings of the campaign in the gate.
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
    /// Start of the window; null: no start.
    #[oai(nullable)]
    opens_at: Option<Instant>,
    /// End of the window, exclusive; null: no end.
    #[oai(nullable)]
    closes_at: Option<Instant>,
    /// Units in stock; null: unlimited.
    #[oai(nullable)]
    total_stock: Option<u64>,
    /// Units that one user may hold.
    per_user_limit: u32,
    /// Units that one request may ask for.
    max_quantity: u32,
}

/// The gate's state of a campaign.
#[derive(Debug, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename = "GateView", rename_all = "camelCase")]
struct GateView {
    /// Id of the campaign.
    campaign_id: i64,
    /// Epoch of the state; null: there is none, and the next participation rebuilds it.
    #[oai(nullable)]
    epoch: Option<u64>,
    /// Units that are committed or leased; null: there is no state.
    #[oai(nullable)]
    units: Option<u64>,
    /// The settings of the campaign; null: there is no state.
    #[oai(nullable)]
    settings: Option<GateSettingsView>,
    /// Users that hold a unit.
    users: u64,
    /// Admissions that are not committed yet.
    leases: u64,
    /// Returns since the last rebuild.
    returns: u64,
    /// Memory in bytes, estimated from a sample.
    bytes: u64,
    /// Seconds until the state is deleted, because the campaign is over; null: it is not.
    #[oai(nullable)]
    expires_in_seconds: Option<f64>,
}

impl GateView {
    fn of(campaign: CampaignId, state: Option<&GateState>, footprint: &Footprint) -> Self {
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
            users: footprint.users,
            leases: footprint.leases,
            returns: footprint.returns,
            bytes: footprint.bytes,
            expires_in_seconds: footprint.expires_in.map(|left| left.as_secs_f64()),
        }
    }
}

/// The gate.
pub struct AdminGateApi;

#[OpenApi(tag = "Section::Admin")]
impl AdminGateApi {
    /// Get the gate's state of a campaign, and its memory.
    ///
    /// If the gate has no state of the campaign, all counts are 0.
    #[oai(
        path = "/api/admin/campaigns/:id/gate",
        method = "get",
        operation_id = "campaignGate"
    )]
    async fn gate(
        &self,
        app: Data<&Arc<App>>,
        _admin: Admin<CampaignRead>,
        /// Id of the campaign.
        id: Path<i64>,
    ) -> Result<Json<GateView>, Failure<Reading>> {
        let campaign = CampaignId(id.0);
        let (state, footprint) = app.reconciler.inspect(campaign).await?;
        Ok(Json(GateView::of(campaign, state.as_ref(), &footprint)))
    }
}
