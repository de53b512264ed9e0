//! A participation to be committed: the applicant, the rank, and the rows made from both. The rows are the same for
//! the gate and the database path.

use chrono::TimeDelta;

use serde_json::json;

use crate::domain::{
    AuditAction, AuditNote, Campaign, KeyChoice, OrderId, Origin, OutboxEvent, Participation,
    ParticipationId, Status, Timestamp, UserId,
};

/// A request to take part.
#[derive(Clone, Debug)]
pub struct Applicant {
    /// Created before the admission.
    pub participation: ParticipationId,
    /// The user.
    pub user: UserId,
    /// Units, at least 1.
    pub quantity: u32,
    /// The client's key, unique per user.
    pub idempotency_key: Option<String>,
    /// W3C trace context, for the event.
    pub traceparent: Option<String>,
    /// When the request arrived, by this process's monotonic clock.
    pub since: std::time::Instant,
    /// The admin who requests it for the user, for the audit log.
    pub by: Option<Box<Origin>>,
    /// The order, if it is a line: it is reserved until the order is decided.
    pub order: Option<OrderId>,
}

/// The result of an admission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RankAssignment {
    /// Rank, from 1.
    pub rank: u64,
    /// Units left after this one; none: unlimited.
    pub remaining: Option<u64>,
}

/// How rows are made.
#[derive(Clone, Copy, Debug)]
pub struct Making {
    /// The key of events.
    pub key_choice: KeyChoice,
    /// The commit time.
    pub now: Timestamp,
    /// How long the relay does not read the event, because the request publishes it.
    pub hold: Option<TimeDelta>,
}

/// A participation to be committed, and its event.
#[derive(Clone, Debug)]
pub struct NewParticipation {
    /// The participation.
    pub participation: Participation,
    /// The client's key, unique per user.
    pub idempotency_key: Option<String>,
    /// The outbox row of the change.
    pub event: OutboxEvent,
    /// Until when the relay does not read the row, because the request publishes it.
    pub hold_until: Option<Timestamp>,
    /// The admin who requested it for the user.
    pub by: Option<Box<Origin>>,
    /// The order of which it is a line.
    pub order: Option<OrderId>,
}

impl NewParticipation {
    /// Whether the participation waits for a payment, or its event for its request.
    #[must_use]
    pub const fn is_held(&self) -> bool {
        self.participation.expires_at.is_some() || self.hold_until.is_some()
    }

    /// The same, with holds of the same length that begin at this time.
    #[must_use]
    pub fn held_from(self, from: Timestamp) -> Self {
        let made = self.participation.created_at;
        Self {
            participation: self.participation.held_from(from),
            hold_until: self.hold_until.map(|until| from + (until - made)),
            ..self
        }
    }

    /// The rows of an admitted applicant.
    #[must_use]
    pub fn of(
        campaign: &Campaign,
        applicant: &Applicant,
        assignment: RankAssignment,
        making: &Making,
    ) -> Self {
        let now = making.now;
        let hold = TimeDelta::seconds(i64::from(campaign.hold_seconds));
        let participation = Participation {
            id: applicant.participation,
            campaign_id: campaign.id,
            user_id: applicant.user,
            quantity: applicant.quantity,
            rank: assignment.rank,
            status: if campaign.is_paid() || applicant.order.is_some() {
                Status::Reserved
            } else {
                Status::Confirmed
            },
            remaining: assignment.remaining,
            amount: campaign
                .price
                .map(|price| price.saturating_mul(u64::from(applicant.quantity))),
            payment_reference: None,
            expires_at: (campaign.is_paid() && applicant.order.is_none()).then(|| now + hold),
            created_at: now,
        };
        let mut event = OutboxEvent::about(&participation, 1, making.key_choice, now);
        event.traceparent.clone_from(&applicant.traceparent);
        // Events with a key that participations share are published in order of commit: by the relay only.
        let shared = event.shares_its_key();
        Self {
            hold_until: making.hold.filter(|_| !shared).map(|hold| now + hold),
            idempotency_key: applicant.idempotency_key.clone(),
            by: applicant.by.clone(),
            order: applicant.order,
            participation,
            event,
        }
    }

    /// The entry for the audit log, if an admin requested it.
    pub(super) fn note(&self) -> Option<AuditNote> {
        let (by, made) = (self.by.as_deref()?.clone(), &self.participation);
        let after = json!({
            "userId": made.user_id,
            "quantity": made.quantity,
            "rank": made.rank,
            "status": made.status,
        });
        let note = AuditNote::about(by, AuditAction::ParticipationCreate, made.campaign_id);
        Some(note.of(&made.id).to(after))
    }
}
