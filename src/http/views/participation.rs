//! Participations as clients see them.

use poem_openapi::types::Example;
use uuid::Uuid;

use super::{GrantedView, list, view};
use crate::domain::{Participation, Status, Timestamp};
use crate::http::created::Resource;
use crate::http::words::{Word, vocabulary};

vocabulary!(
    Status,
    "ParticipationStatus",
    "The status of a participation."
);

view! {
    /// A participation.
    #[derive(Clone, PartialEq, Eq)]
    pub struct ParticipationView as "Participation", example from participation: &Participation {
        /// Its id, a version 7 UUID.
        participation_id: Uuid = participation.id.0,
        /// Id of the campaign.
        campaign_id: i64 = participation.campaign_id.0,
        /// Id of the user.
        user_id: i64 = participation.user_id.0,
        /// Units.
        quantity: u32,
        /// Rank in the campaign, from 1.
        rank: u64,
        /// Its status.
        status: Word<Status> = participation.status.into(),
        /// Units left after it; null: unlimited.
        #[oai(nullable)]
        remaining: Option<u64>,
        /// Its price, in the smallest unit of the currency; left out if it is free.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[oai(skip_serializing_if_is_none)]
        amount: Option<u64>,
        /// Reference of its payment; left out until it is paid.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[oai(skip_serializing_if_is_none)]
        payment_reference: Option<String> = participation.payment_reference.clone(),
        /// When the reservation expires; left out for any other status.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[oai(skip_serializing_if_is_none)]
        expires_at: Option<Timestamp>,
        /// When it was created; left out of the response to the request that creates it.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[oai(skip_serializing_if_is_none)]
        created_at: Option<Timestamp> = None,
    }
}

impl ParticipationView {
    /// Its current state, with the time of its creation.
    #[must_use]
    pub fn record(participation: &Participation) -> Self {
        Self {
            created_at: Some(participation.created_at),
            ..Self::from(participation)
        }
    }
}

impl Example for ParticipationView {
    fn example() -> Self {
        Self {
            participation_id: Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001),
            campaign_id: 1,
            user_id: 42,
            quantity: 1,
            rank: 76,
            status: Word(Status::Confirmed),
            remaining: Some(24),
            amount: None,
            payment_reference: None,
            expires_at: None,
            created_at: None,
        }
    }
}

view! {
    /// A participation and its reward.
    #[derive(Clone, PartialEq, Eq)]
    pub struct ParticipationRecord as "ParticipationRecord" {
        /// The participation.
        #[serde(flatten)]
        #[oai(flatten)]
        participation: ParticipationView,
        /// Its reward; null: none, or not granted yet.
        #[oai(nullable)]
        reward: Option<GrantedView>,
        /// When the reward was granted; null: none, or not yet.
        #[oai(nullable)]
        rewarded_at: Option<Timestamp>,
    }
}

list! {
    /// A page of participations.
    ParticipationList as "ParticipationList": ParticipationRecord, "Newest first."
}

impl Resource for ParticipationView {
    const DESCRIPTION: &'static str = "Committed.";
    const LOCATION: &'static str = "Path of the participation.";

    fn path(&self) -> String {
        format!("/api/participations/{}", self.participation_id)
    }
}
