//! What clients see of campaigns and participations. The domain does not know these shapes.

mod campaign;
mod daily;
mod participation;
mod reward;
mod simulation;
mod status;

use chrono::SecondsFormat;
use poem_openapi::Object;
use serde::Serialize;

pub use campaign::{CampaignList, CampaignView, KindWord, RewardView, StateWord, StockView};
pub use daily::{CampaignStatisticsView, DayStatisticsView, millis, percentage};
pub use participation::{ParticipationList, ParticipationRecord, ParticipationView, StatusWord};
pub use reward::{
    CouponUseView, GrantedView, IssuedCouponView, LedgerEntryView, LedgerView, RewardsView,
};
pub use simulation::SimulationView;
pub use status::StatusView;

use crate::domain::Instant;

/// A moment as clients see it: RFC 3339, UTC, with as many digits as it needs.
pub fn time(at: Instant) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// The service's clock.
#[derive(Debug, Serialize, Object)]
pub struct TimeView {
    /// The time by the service's clock: what decides whether a campaign is open.
    pub now: Instant,
    /// The same in milliseconds since 1970.
    #[serde(rename = "epochMillis")]
    #[oai(rename = "epochMillis")]
    pub epoch_millis: i64,
}
