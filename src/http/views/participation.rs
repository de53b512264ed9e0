//! Participations as clients see them.

use poem_openapi::Object;
use poem_openapi::types::Example;
use serde::Serialize;
use uuid::Uuid;

use super::{GrantedView, list};
use crate::domain::{Instant, Participation, Status};
use crate::http::created::Resource;
use crate::http::words::{Word, vocabulary};

vocabulary!(Status, "Status", "The status of a participation.");

/// A participation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename = "Participation", rename_all = "camelCase", example)]
pub struct ParticipationView {
    /// Its id, a version 7 UUID.
    pub participation_id: Uuid,
    /// Id of the campaign.
    pub campaign_id: i64,
    /// Id of the user.
    pub user_id: i64,
    /// Units.
    pub quantity: u32,
    /// Rank in the campaign, from 1.
    pub rank: u64,
    /// Its status.
    pub status: Word<Status>,
    /// Units left after it; null: unlimited.
    #[oai(nullable)]
    pub remaining: Option<u64>,
    /// Its price, in the smallest unit of the currency; left out if it is free.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[oai(skip_serializing_if_is_none)]
    pub amount: Option<u64>,
    /// Reference of its payment; left out until it is paid.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[oai(skip_serializing_if_is_none)]
    pub payment_reference: Option<String>,
    /// When the reservation expires; left out for any other status.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[oai(skip_serializing_if_is_none)]
    pub expires_at: Option<Instant>,
    /// When it was created; left out of the response to the request that creates it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[oai(skip_serializing_if_is_none)]
    pub created_at: Option<Instant>,
}

impl ParticipationView {
    /// For the response to the request that creates it.
    #[must_use]
    pub fn answer(participation: &Participation) -> Self {
        Self {
            participation_id: participation.id.0,
            campaign_id: participation.campaign_id.0,
            user_id: participation.user_id.0,
            quantity: participation.quantity,
            rank: participation.rank,
            status: participation.status.into(),
            remaining: participation.remaining,
            amount: participation.amount,
            payment_reference: participation.payment_reference.clone(),
            expires_at: participation.expires_at,
            created_at: None,
        }
    }

    /// Its current state.
    #[must_use]
    pub fn record(participation: &Participation) -> Self {
        Self {
            created_at: Some(participation.created_at),
            ..Self::answer(participation)
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

/// A participation and its reward.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename = "ParticipationRecord", rename_all = "camelCase")]
pub struct ParticipationRecord {
    /// The participation.
    #[serde(flatten)]
    #[oai(flatten)]
    pub participation: ParticipationView,
    /// Its reward; null: none, or not granted yet.
    #[oai(nullable)]
    pub reward: Option<GrantedView>,
    /// When the reward was granted; null: none, or not yet.
    #[oai(nullable)]
    pub rewarded_at: Option<Instant>,
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
