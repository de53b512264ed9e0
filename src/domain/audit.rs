//! Entries of the audit log: the actor, the action, and the changed fields before and after. They contain no secrets and
//! no fields that did not change.

use std::net::IpAddr;

use serde_json::Value;

use super::words::words;
use super::{Actor, CampaignId, ParticipationId, State, Status};

/// Where an action comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The actor.
    pub actor: Actor,
    /// The request; none: a command.
    pub request_id: Option<String>,
    /// The client's address.
    pub address: Option<IpAddr>,
}

impl Origin {
    /// The origin of an action on the command line.
    #[must_use]
    pub const fn of_command_line() -> Self {
        Self {
            actor: Actor::CommandLine,
            request_id: None,
            address: None,
        }
    }
}

words! {
    /// The action.
    #[allow(missing_docs, reason = "each is the word the log has for it")]
    pub enum AuditAction {
        CampaignCreate = "campaign.create",
        CampaignChange = "campaign.change",
        CampaignOpen = "campaign.open",
        CampaignPause = "campaign.pause",
        CampaignClose = "campaign.close",
        CampaignArchive = "campaign.archive",
        GateRebuild = "gate.rebuild",
        DeadLetterRead = "dead_letter.read",
        DeadLetterReplay = "dead_letter.replay",
        DeadLetterDiscard = "dead_letter.discard",
        OutboxRepublish = "outbox.republish",
        ParticipationRead = "participation.read",
        ParticipationExport = "participation.export",
        HistoryRead = "history.read",
        RewardsRead = "rewards.read",
        ParticipationCreate = "participation.create",
        ParticipationConfirm = "participation.confirm",
        ParticipationCancel = "participation.cancel",
        OrderPlace = "order.place",
        OrderConfirm = "order.confirm",
        OrderCancel = "order.cancel",
        SimulationStart = "simulation.start",
        SimulationCancel = "simulation.cancel",
        DayAggregate = "day.aggregate",
        AccountRead = "account.read",
        AccountCreate = "account.create",
        AccountChange = "account.change",
        AccountPassword = "account.password",
        AccountDelete = "account.delete",
        AccountTotp = "account.totp",
        AllowListRead = "allow_list.read",
        AllowListReplace = "allow_list.replace",
        AllowListRemove = "allow_list.remove",
    }
}

impl AuditAction {
    /// The action that moves a campaign to a state.
    #[must_use]
    pub const fn moving_to(state: State) -> Self {
        match state {
            State::Open => Self::CampaignOpen,
            State::Paused => Self::CampaignPause,
            State::Closed => Self::CampaignClose,
            State::Archived => Self::CampaignArchive,
            State::Draft | State::Scheduled => Self::CampaignChange,
        }
    }
}

/// An entry to be written.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditNote {
    /// The origin.
    pub by: Origin,
    /// The action.
    pub action: AuditAction,
    /// The campaign that it is about.
    pub campaign: Option<CampaignId>,
    /// The id of the object that it is about.
    pub subject: Option<String>,
    /// The changed fields before; none: the object did not exist.
    pub before: Option<Value>,
    /// The changed fields after; none: unknown.
    pub after: Option<Value>,
}

impl AuditNote {
    /// An action on a campaign.
    #[must_use]
    pub fn about(by: Origin, action: AuditAction, campaign: CampaignId) -> Self {
        Self {
            campaign: Some(campaign),
            ..Self::beside(by, action)
        }
    }

    /// An action without a campaign.
    #[must_use]
    pub const fn beside(by: Origin, action: AuditAction) -> Self {
        Self {
            by,
            action,
            campaign: None,
            subject: None,
            before: None,
            after: None,
        }
    }

    /// Sets the object that it is about.
    #[must_use]
    pub fn of(mut self, subject: &impl ToString) -> Self {
        self.subject = Some(subject.to_string());
        self
    }

    /// Sets the fields before.
    #[must_use]
    pub fn from(mut self, before: Value) -> Self {
        self.before = Some(before);
        self
    }

    /// Sets the fields after.
    #[must_use]
    pub fn to(mut self, after: Value) -> Self {
        self.after = Some(after);
        self
    }

    /// A change of a participation's status.
    #[must_use]
    pub fn status(
        by: Origin,
        action: AuditAction,
        (campaign, participation): (CampaignId, ParticipationId),
        (before, after): (Status, Status),
    ) -> Self {
        let status = |status: Status| serde_json::json!({ "status": status.as_str() });
        Self::about(by, action, campaign)
            .of(&participation)
            .from(status(before))
            .to(status(after))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn an_entry_about_a_status_has_the_campaign_the_participation_and_both_statuses() {
        let participation = ParticipationId(Uuid::from_u128(1));
        let entry = AuditNote::status(
            Origin::of_command_line(),
            AuditAction::ParticipationCancel,
            (CampaignId(7), participation),
            (Status::Confirmed, Status::Cancelled),
        );
        assert_eq!(entry.campaign, Some(CampaignId(7)));
        assert_eq!(entry.subject, Some(participation.to_string()));
        assert_eq!(entry.before, Some(json!({ "status": "confirmed" })));
        assert_eq!(entry.after, Some(json!({ "status": "cancelled" })));
    }
}
