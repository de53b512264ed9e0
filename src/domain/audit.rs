//! What an admin did, as the audit log tells it: who, what, what it was before and what it is now. Only
//! what the action was about is in it: never a secret, and no body beyond the fields that changed.

use std::net::IpAddr;

use serde_json::Value;

use super::words::words;
use super::{Actor, CampaignId, ParticipationId, State, Status};

/// Where an action comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Who.
    pub actor: Actor,
    /// In which request; none: it was none.
    pub request_id: Option<String>,
    /// From which address: behind proxies of ours, the one they name.
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

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is the word the log has for it")]
pub enum AuditAction {
    CampaignCreate,
    CampaignChange,
    CampaignOpen,
    CampaignPause,
    CampaignClose,
    CampaignArchive,
    GateRebuild,
    DeadLetterRead,
    DeadLetterReplay,
    DeadLetterDiscard,
    ParticipationRead,
    ParticipationExport,
    HistoryRead,
    RewardsRead,
    ParticipationCreate,
    ParticipationConfirm,
    ParticipationCancel,
    SimulationStart,
    SimulationCancel,
    DayAggregate,
    AccountRead,
    AccountCreate,
    AccountChange,
    AccountPassword,
    AccountTotp,
    AllowListRead,
    AllowListReplace,
    AllowListRemove,
}

words!(AuditAction {
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
    ParticipationRead = "participation.read",
    ParticipationExport = "participation.export",
    HistoryRead = "history.read",
    RewardsRead = "rewards.read",
    ParticipationCreate = "participation.create",
    ParticipationConfirm = "participation.confirm",
    ParticipationCancel = "participation.cancel",
    SimulationStart = "simulation.start",
    SimulationCancel = "simulation.cancel",
    DayAggregate = "day.aggregate",
    AccountRead = "account.read",
    AccountCreate = "account.create",
    AccountChange = "account.change",
    AccountPassword = "account.password",
    AccountTotp = "account.totp",
    AllowListRead = "allow_list.read",
    AllowListReplace = "allow_list.replace",
    AllowListRemove = "allow_list.remove",
});

impl AuditAction {
    /// What moving a campaign to a state is called.
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
    /// Who did it.
    pub by: Origin,
    /// What.
    pub action: AuditAction,
    /// To which campaign, or to something of it.
    pub campaign: Option<CampaignId>,
    /// To which thing of it, by its id.
    pub subject: Option<String>,
    /// The fields it changed as they were; none: it was not there.
    pub before: Option<Value>,
    /// The same fields as they are now; none: that is not known.
    pub after: Option<Value>,
}

impl AuditNote {
    /// An action on a campaign.
    #[must_use]
    pub const fn about(by: Origin, action: AuditAction, campaign: CampaignId) -> Self {
        Self {
            by,
            action,
            campaign: Some(campaign),
            subject: None,
            before: None,
            after: None,
        }
    }

    /// An action that is about no campaign.
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

    /// Names the thing it is about.
    #[must_use]
    pub fn of(mut self, subject: &impl ToString) -> Self {
        self.subject = Some(subject.to_string());
        self
    }

    /// Says what it was before.
    #[must_use]
    pub fn from(mut self, before: Value) -> Self {
        self.before = Some(before);
        self
    }

    /// Says what it is now.
    #[must_use]
    pub fn to(mut self, after: Value) -> Self {
        self.after = Some(after);
        self
    }

    /// What became of a participation.
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
