//! Participations as clients see them.

use poem_openapi::types::Example;
use poem_openapi::{Enum, Object};
use serde::Serialize;
use uuid::Uuid;

use super::GrantedView;
use crate::domain::{Instant, Participation, Status};

/// Where a participation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Enum)]
#[serde(rename_all = "snake_case")]
#[oai(rename = "Status", rename_all = "snake_case")]
pub enum StatusWord {
    /// Holds its units until paid for.
    Reserved,
    /// Final yes.
    Confirmed,
    /// Given back by the user or an admin.
    Cancelled,
    /// Not paid for in time.
    Expired,
}

impl From<Status> for StatusWord {
    fn from(status: Status) -> Self {
        match status {
            Status::Reserved => Self::Reserved,
            Status::Confirmed => Self::Confirmed,
            Status::Cancelled => Self::Cancelled,
            Status::Expired => Self::Expired,
        }
    }
}

impl From<StatusWord> for Status {
    fn from(word: StatusWord) -> Self {
        match word {
            StatusWord::Reserved => Self::Reserved,
            StatusWord::Confirmed => Self::Confirmed,
            StatusWord::Cancelled => Self::Cancelled,
            StatusWord::Expired => Self::Expired,
        }
    }
}

/// A participation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename = "Participation", rename_all = "camelCase", example)]
pub struct ParticipationView {
    /// Its id, a version 7 UUID.
    pub participation_id: Uuid,
    /// What it takes part in.
    pub campaign_id: i64,
    /// Whose it is.
    pub user_id: i64,
    /// Units.
    pub quantity: u32,
    /// Place in line, from 1.
    pub rank: u64,
    /// Where it stands.
    pub status: StatusWord,
    /// Units left right after it; null: unlimited.
    #[oai(nullable)]
    pub remaining: Option<u64>,
    /// What it costs, in the smallest unit of the currency; left out where it costs nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[oai(skip_serializing_if_is_none)]
    pub amount: Option<u64>,
    /// How it was paid; left out until it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[oai(skip_serializing_if_is_none)]
    pub payment_reference: Option<String>,
    /// When a reservation runs out; left out for all others.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[oai(skip_serializing_if_is_none)]
    pub expires_at: Option<Instant>,
    /// When it was made; left out of the answer to the request that makes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[oai(skip_serializing_if_is_none)]
    pub created_at: Option<Instant>,
}

impl ParticipationView {
    /// As the answer to the request that made it.
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

    /// As it stands now.
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
            status: StatusWord::Confirmed,
            remaining: Some(24),
            amount: None,
            payment_reference: None,
            expires_at: None,
            created_at: None,
        }
    }
}

/// A participation, and what it was granted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename = "ParticipationRecord", rename_all = "camelCase")]
pub struct ParticipationRecord {
    /// The participation as it stands now.
    #[serde(flatten)]
    #[oai(flatten)]
    pub participation: ParticipationView,
    /// What it was granted; null: nothing, or not yet.
    #[oai(nullable)]
    pub reward: Option<GrantedView>,
    /// When that was; null: nothing was granted, or not yet.
    #[oai(nullable)]
    pub rewarded_at: Option<Instant>,
}

/// A page of participations.
#[derive(Debug, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename_all = "camelCase")]
pub struct ParticipationList {
    /// Newest first.
    pub items: Vec<ParticipationRecord>,
    /// Asks for the next page; null: this was the last.
    #[oai(nullable)]
    pub next_cursor: Option<String>,
}
