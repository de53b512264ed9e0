//! The JSON objects of responses, and the vocabularies in them. The domain does not know these shapes.

mod campaign;
mod daily;
mod order;
mod part;
mod participation;
mod reward;
mod simulation;
mod status;

use chrono::SecondsFormat;

pub use campaign::{CampaignList, CampaignView, StockView};
pub use daily::{CampaignStatisticsView, DayStatisticsView, millis, percentage};
pub use order::{CartView, OrderList, OrderView, ReviewList, ReviewView};
pub use part::PartView;
pub use participation::{ParticipationList, ParticipationRecord, ParticipationView};
pub use reward::{
    CouponUseView, GrantedView, IssuedCouponView, LedgerEntryView, LedgerView, RewardsView,
};
pub use simulation::SimulationView;
pub use status::StatusView;

use crate::domain::Timestamp;

/// A time in responses: RFC 3339, UTC, with as many digits as it needs.
pub fn format_time(at: Timestamp) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// Defines an object of a response: its struct, its schema and, with `from` or `of`, how it is made. Doc comments are the
/// descriptions in the OpenAPI document. A field without a value is copied from the field of that name.
macro_rules! view {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident as $title:literal $(, $option:ident)* {
            $($(#[$field_meta:meta])* $field:ident: $field_type:ty),+ $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, serde::Serialize, poem_openapi::Object)]
        #[serde(rename_all = "camelCase")]
        #[oai(rename = $title, rename_all = "camelCase" $(, $option)*)]
        $vis struct $name {
            $($(#[$field_meta])* pub $field: $field_type),+
        }
    };
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident as $title:literal $(, $option:ident)* from $source:ident: $type:ty {
            $($(#[$field_meta:meta])* $field:ident: $field_type:ty $(= $value:expr)?),+ $(,)?
        }
    ) => {
        $crate::http::views::view! {
            $(#[$meta])*
            $vis struct $name as $title $(, $option)* {
                $($(#[$field_meta])* $field: $field_type),+
            }
        }

        impl From<$type> for $name {
            fn from($source: $type) -> Self {
                Self {
                    $($field: $crate::http::views::view!(@value $source.$field $(, $value)?)),+
                }
            }
        }
    };
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident as $title:literal $(, $option:ident)*
        of($source:ident: $type:ty $(, $other:ident: $other_type:ty)+) {
            $($(#[$field_meta:meta])* $field:ident: $field_type:ty $(= $value:expr)?),+ $(,)?
        }
    ) => {
        $crate::http::views::view! {
            $(#[$meta])*
            $vis struct $name as $title $(, $option)* {
                $($(#[$field_meta])* $field: $field_type),+
            }
        }

        impl $name {
            #[doc = concat!("Makes the `", $title, "`.")]
            pub fn of($source: $type $(, $other: $other_type)+) -> Self {
                Self {
                    $($field: $crate::http::views::view!(@value $source.$field $(, $value)?)),+
                }
            }
        }
    };
    (@value $source:ident.$field:ident) => {
        $source.$field
    };
    (@value $source:ident.$field:ident, $value:expr) => {
        $value
    };
}
pub(super) use view;

/// A page of a list: its items, and the cursor of the next page.
macro_rules! list {
    ($(#[$doc:meta])* $name:ident as $title:literal: $item:ty, $items:literal) => {
        $crate::http::views::view! {
            $(#[$doc])*
            pub struct $name as $title {
                #[doc = $items]
                items: Vec<$item>,
                /// Cursor of the next page; null: this is the last page.
                #[oai(nullable)]
                next_cursor: Option<String>,
            }
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

view! {
    /// The service's clock.
    pub struct TimeView as "TimeView" {
        /// The time by the service's clock: what decides whether a campaign is open.
        now: Timestamp,
        /// The same in milliseconds since 1970.
        epoch_millis: i64,
    }
}
