//! Reads of what belongs to somebody else, by those who may: each leaves an entry in the audit log and a
//! security event. The entry is written before the answer, so what cannot be recorded is not answered.

use poem::Request;

use super::App;
use super::auth::{Caller, report};
use super::origin::{Entry, origin};
use super::problem::Problem;
use crate::domain::{AuditAction, AuditNote, CampaignId, Origin, UserId};
use crate::security::{Detail, SecurityEvent};

/// What was read of whom.
pub enum Read {
    /// The participations of a user.
    History(UserId),
    /// The rewards of a user.
    Rewards(UserId),
    /// One participation: its id, campaign and user.
    Participation(String, CampaignId, UserId),
    /// All participations of a campaign, as a file.
    Export(CampaignId),
}

impl Read {
    fn note(&self, by: Origin) -> AuditNote {
        match self {
            Self::History(user) => AuditNote::beside(by, AuditAction::HistoryRead).of(user),
            Self::Rewards(user) => AuditNote::beside(by, AuditAction::RewardsRead).of(user),
            Self::Participation(id, campaign, _) => {
                AuditNote::about(by, AuditAction::ParticipationRead, *campaign).of(id)
            }
            Self::Export(campaign) => {
                AuditNote::about(by, AuditAction::ParticipationExport, *campaign)
            }
        }
    }

    fn event(&self) -> (SecurityEvent, &'static str, String) {
        let read = SecurityEvent::DataRead;
        match self {
            Self::History(user) => (read, "history", format!("user:{user}")),
            Self::Rewards(user) => (read, "rewards", format!("user:{user}")),
            Self::Participation(_, _, user) => (read, "participation", format!("user:{user}")),
            Self::Export(campaign) => (
                SecurityEvent::DataExported,
                "participations",
                format!("campaign:{campaign}"),
            ),
        }
    }
}

/// The admin who acts for a user, if it is one.
pub fn by_admin(caller: &Caller, owner: UserId, request: &Request) -> Option<Origin> {
    let entry = Entry::of(request)?;
    let actor = caller.admin_for(owner, &entry.policy.auth)?;
    Some(origin(&actor, request))
}

/// Records a read by an admin.
pub async fn record(app: &App, request: &Request, by: Origin, read: Read) -> Result<(), Problem> {
    let actor = by.actor.to_string();
    app.store.note(&read.note(by)).await?;
    let (event, what, subject) = read.event();
    report(request, event, |_| Detail {
        actor: Some(actor),
        reason: Some(what),
        subject: Some(subject),
        ..Detail::default()
    });
    Ok(())
}
