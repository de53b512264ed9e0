//! The JSON objects of responses, and the vocabularies in them. The domain does not know these shapes.

mod campaign;
mod daily;
mod participation;
mod reward;
mod simulation;
mod status;

use chrono::SecondsFormat;
use poem_openapi::Object;
use serde::Serialize;

pub use campaign::{CampaignList, CampaignView, StockView};
pub use daily::{CampaignStatisticsView, DayStatisticsView, millis, percentage};
pub use participation::{ParticipationList, ParticipationRecord, ParticipationView};
pub use reward::{
    CouponUseView, GrantedView, IssuedCouponView, LedgerEntryView, LedgerView, RewardsView,
};
pub use simulation::SimulationView;
pub use status::StatusView;

use crate::domain::Instant;

/// A time in responses: RFC 3339, UTC, with as many digits as it needs.
pub fn format_time(at: Instant) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// A page of a list: its items, and the cursor of the next page.
macro_rules! list {
    ($(#[$doc:meta])* $name:ident as $title:literal: $item:ty, $items:literal) => {
        $(#[$doc])*
        #[derive(Debug, Serialize, Object)]
        #[serde(rename_all = "camelCase")]
        #[oai(rename = $title, rename_all = "camelCase")]
        pub struct $name {
            #[doc = $items]
            pub items: Vec<$item>,
            /// Cursor of the next page; null: this is the last page.
            #[oai(nullable)]
            pub next_cursor: Option<String>,
        }

        impl $name {
            /// The page, with the view of each item.
            pub fn of<T>(page: $crate::http::page::Page<T>, view: impl FnMut(T) -> $item) -> Self {
                Self {
                    items: page.items.into_iter().map(view).collect(),
                    next_cursor: page.next_cursor,
                }
            }
        }
    };
}
pub(super) use list;

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
