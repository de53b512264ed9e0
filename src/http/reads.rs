//! Reads of another user's data by admins: each leaves an entry in the audit log and a security event. The entry is
//! written before the response, so that a read that cannot be recorded fails.

use poem::Request;

use super::App;
use super::auth::Caller;
use super::problem::Problem;
use super::request_context::{RequestContext, origin, report};
use crate::access::security_events::{Detail, SecurityEvent};
use crate::domain::{Actor, AuditAction, AuditNote, CampaignId, EventId, Origin, UserId};

/// The data that is read, and whose it is.
pub enum Read {
    /// The participations of a user.
    History(UserId),
    Rewards(UserId),
    /// One participation: its id, campaign and user.
    Participation(String, CampaignId, UserId),
    /// All participations of a campaign, as a file.
    Export(CampaignId),
    /// A page of the participations of a campaign.
    Participations(CampaignId),
    /// A page of accounts.
    Accounts,
    Account(UserId),
    /// Whether a user is on the allow list of a campaign.
    AllowList(CampaignId, UserId),
    /// Which dead letters, of a campaign or of all, have a key.
    DeadLetters(Option<CampaignId>),
    /// The record of a dead letter of a campaign.
    DeadLetter(EventId, Option<CampaignId>),
}

impl Read {
    fn note(&self, by: Origin) -> AuditNote {
        match self {
            Self::History(user) => AuditNote::beside(by, AuditAction::HistoryRead).of(user),
            Self::Rewards(user) => AuditNote::beside(by, AuditAction::RewardsRead).of(user),
            Self::Participation(id, campaign, _) => {
                AuditNote::about(by, AuditAction::ParticipationRead, *campaign).of(id)
            }
            Self::Participations(campaign) => {
                AuditNote::about(by, AuditAction::ParticipationRead, *campaign)
            }
            Self::Export(campaign) => {
                AuditNote::about(by, AuditAction::ParticipationExport, *campaign)
            }
            Self::Accounts => AuditNote::beside(by, AuditAction::AccountRead),
            Self::Account(account) => AuditNote::beside(by, AuditAction::AccountRead).of(account),
            Self::AllowList(campaign, user) => {
                AuditNote::about(by, AuditAction::AllowListRead, *campaign).of(user)
            }
            Self::DeadLetters(campaign) => AuditNote {
                campaign: *campaign,
                ..AuditNote::beside(by, AuditAction::DeadLetterRead)
            },
            Self::DeadLetter(event, campaign) => AuditNote {
                campaign: *campaign,
                ..AuditNote::beside(by, AuditAction::DeadLetterRead).of(event)
            },
        }
    }

    /// The event, the kind of data, and its subject; none: there are many.
    fn event(&self) -> (SecurityEvent, &'static str, Option<String>) {
        let user = |user: &UserId| Some(format!("user:{user}"));
        let campaign = |campaign: &CampaignId| Some(format!("campaign:{campaign}"));
        let (what, subject) = match self {
            Self::History(of) => ("history", user(of)),
            Self::Rewards(of) => ("rewards", user(of)),
            Self::Participation(_, _, of) => ("participation", user(of)),
            Self::Export(of) | Self::Participations(of) => ("participations", campaign(of)),
            Self::Accounts => ("accounts", None),
            Self::Account(of) => ("account", Some(Actor::Account(*of).to_string())),
            Self::AllowList(_, of) => ("allow_list", user(of)),
            Self::DeadLetters(of) => ("dead_letters", of.as_ref().and_then(campaign)),
            Self::DeadLetter(_, of) => ("dead_letter", of.as_ref().and_then(campaign)),
        };
        let event = match self {
            Self::Export(_) => SecurityEvent::DataExported,
            _ => SecurityEvent::DataRead,
        };
        (event, what, subject)
    }
}

/// The origin of the request for the audit log, if the caller accesses what belongs to another user.
pub fn by_admin(caller: &Caller, owner: UserId, request: &Request) -> Option<Origin> {
    let context = RequestContext::of(request)?;
    let actor = caller.admin_for(owner, &context.policy.auth)?;
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
        subject,
        ..Detail::default()
    });
    Ok(())
}
