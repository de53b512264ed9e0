//! The gate for admins: its state of a campaign, and the memory of that.

use crate::access::identity::CampaignRead;
use crate::domain::{CampaignId, Timestamp};
use crate::http::operation::{
    Admin, AppRef, Failure, Json, OpenApi, Path, Section, documented, view,
};
use crate::parts::gate::{Footprint, GateState, Settings};

documented! {
    Reading: [ADMIN, PARAMETERS] {}
}

view! {
    /// The settings of the campaign in the gate.
    struct GateSettingsView as "GateSettings" from settings: &Settings {
        /// Epoch of the campaign when they were read.
        epoch: u64,
        /// Version of the campaign.
        version: u64,
        /// State of the campaign.
        state: String = settings.state.as_str().to_owned(),
        /// Start of the window; null: no start.
        #[oai(nullable)]
        opens_at: Option<Timestamp>,
        /// End of the window, exclusive; null: no end.
        #[oai(nullable)]
        closes_at: Option<Timestamp>,
        /// Units in stock; null: unlimited.
        #[oai(nullable)]
        total_stock: Option<u64>,
        /// Units that one user may hold.
        per_user_limit: u32,
        /// Units that one request may ask for.
        max_quantity: u32,
    }
}

view! {
    /// The gate's state of a campaign.
    struct GateView as "GateView"
    of(footprint: &Footprint, campaign: CampaignId, state: Option<&GateState>) {
        /// Id of the campaign.
        campaign_id: i64 = campaign.0,
        /// Epoch of the state; null: there is none, and the next participation rebuilds it.
        #[oai(nullable)]
        epoch: Option<u64> = state.map(|state| state.epoch),
        /// Units that are committed or leased; null: there is no state.
        #[oai(nullable)]
        units: Option<u64> = state.map(|state| state.units),
        /// The settings of the campaign; null: there is no state.
        #[oai(nullable)]
        settings: Option<GateSettingsView> = state.map(|state| (&state.settings).into()),
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
        expires_in_seconds: Option<f64> = footprint.expires_in.map(|left| left.as_secs_f64()),
    }
}

pub struct AdminGateApi;

#[OpenApi(prefix_path = "/api/admin/campaigns", tag = "Section::AdminCampaigns")]
impl AdminGateApi {
    /// Get the gate's state of a campaign, and its memory.
    ///
    /// If the gate has no state of the campaign, all counts are 0.
    #[oai(path = "/:id/gate", method = "get", operation_id = "getCampaignGate")]
    async fn gate(
        &self,
        app: AppRef<'_>,
        _admin: Admin<CampaignRead>,
        /// Id of the campaign.
        id: Path<i64>,
    ) -> Result<Json<GateView>, Failure<Reading>> {
        let campaign = CampaignId(id.0);
        let (state, footprint) = app.reconciler.inspect(campaign).await?;
        Ok(Json(GateView::of(&footprint, campaign, state.as_ref())))
    }
}
