//! Groups of commands, each with the replies that wait for it.

use std::collections::HashMap;
use std::mem;
use std::time::{Duration, Instant};

use chrono::TimeDelta;

use super::{ChangeResult, CommitJob, CommitResult, DecidedResult, NotCommitted, WriterConfig};
use crate::domain::{self, CampaignId, KeyChoice};
use crate::parts::store::{Applicant, Applicants, ChangeRequest, Closing, Entries, Group, Making};
use crate::runtime::batcher::Reply;

/// Time limit of a group with its retries: later, nobody waits for it.
const GROUP_MAX: Duration = Duration::from_secs(8);
/// Maximum number of consecutive transactions of a batch for one campaign, if one participation has several changes.
/// Further changes are answered that the queue is full, so that nobody delays others by repeating a change.
const GROUPS_MAX: usize = 2;

/// One command, and its reply.
pub(super) enum Command {
    Commit(Box<CommitJob>, Reply<CommitResult>),
    Admit {
        applicant: Applicant,
        closing: Closing,
        /// How long the relay does not publish the event, because the request does.
        hold: Option<TimeDelta>,
        reply: Reply<DecidedResult>,
    },
    Change(ChangeRequest, Reply<ChangeResult>),
}

/// A command in the queue.
pub(super) struct Queued {
    pub(super) campaign: CampaignId,
    pub(super) command: Command,
    pub(super) since: Instant,
}

/// A group that waits for its commit: each command with its reply.
pub(super) struct Waiting {
    pub(super) campaign: CampaignId,
    pub(super) entries: Entrants,
    pub(super) changes: Vec<(ChangeRequest, Reply<ChangeResult>)>,
    /// End of the last transaction, unless a lease ends earlier.
    ends: Instant,
}

/// The new participations of a group.
pub(super) enum Entrants {
    None,
    /// Admitted by the gate in one epoch.
    Admitted(Vec<(CommitJob, Reply<CommitResult>)>),
    /// To be admitted by the database.
    Applicants {
        applicants: Vec<(Applicant, Reply<DecidedResult>)>,
        closing: Closing,
        /// How long the relay does not publish the events, because the requests do.
        hold: Option<TimeDelta>,
    },
}

/// The groups of a batch by campaign, to be committed in order.
pub(super) fn gather(batch: Vec<Queued>) -> HashMap<CampaignId, Vec<Waiting>> {
    let mut campaigns: HashMap<CampaignId, Vec<Waiting>> = HashMap::new();
    for queued in batch {
        let groups = campaigns.entry(queued.campaign).or_default();
        let found = groups.iter().position(|group| group.takes(&queued.command));
        match (found, queued.command) {
            (None, Command::Change(_, reply)) if groups.len() >= GROUPS_MAX => {
                reply(Err(NotCommitted::Busy));
            }
            (None, command) => {
                let mut group = Waiting::of(queued.campaign);
                group.push(command);
                groups.push(group);
            }
            (Some(found), command) => {
                if let Some(group) = groups.get_mut(found) {
                    group.push(command);
                }
            }
        }
    }
    campaigns
}

impl Waiting {
    fn of(campaign: CampaignId) -> Self {
        Self {
            campaign,
            entries: Entrants::None,
            changes: Vec::new(),
            ends: Instant::now() + GROUP_MAX,
        }
    }

    /// Whether a command can be part of the same transaction.
    fn takes(&self, command: &Command) -> bool {
        match (command, &self.entries) {
            (Command::Commit(job, _), Entrants::Admitted(jobs)) => jobs
                .first()
                .is_none_or(|(first, _)| first.epoch == job.epoch),
            (
                Command::Admit { closing, hold, .. },
                Entrants::Applicants {
                    closing: own_closing,
                    hold: own_hold,
                    ..
                },
            ) => closing == own_closing && hold == own_hold,
            (Command::Change(change_request, _), _) => self
                .changes
                .iter()
                .all(|(other, _)| other.id != change_request.id),
            (Command::Commit(..) | Command::Admit { .. }, Entrants::None) => true,
            (Command::Commit(..), Entrants::Applicants { .. })
            | (Command::Admit { .. }, Entrants::Admitted(_)) => false,
        }
    }

    /// Adds a command that can be part of the group.
    fn push(&mut self, command: Command) {
        match (command, &mut self.entries) {
            (Command::Commit(job, reply), Entrants::Admitted(jobs)) => jobs.push((*job, reply)),
            (Command::Commit(job, reply), entries) => {
                *entries = Entrants::Admitted(vec![(*job, reply)]);
            }
            (
                Command::Admit {
                    applicant, reply, ..
                },
                Entrants::Applicants { applicants, .. },
            ) => {
                applicants.push((applicant, reply));
            }
            (
                Command::Admit {
                    applicant,
                    closing,
                    hold,
                    reply,
                },
                entries,
            ) => {
                let applicants = vec![(applicant, reply)];
                *entries = Entrants::Applicants {
                    applicants,
                    closing,
                    hold,
                };
            }
            (Command::Change(change_request, reply), _) => {
                self.changes.push((change_request, reply));
            }
        }
    }

    /// Removes the entries whose lease ends before `least`, and returns them.
    pub(super) fn take_late(&mut self, least: Instant) -> Self {
        let mut late = self.empty();
        if let Entrants::Admitted(jobs) = &mut self.entries {
            let is_late = |(job, _): &mut (CommitJob, _)| job.lease_deadline < least;
            late.entries = Entrants::Admitted(jobs.extract_if(.., is_late).collect());
        }
        late
    }

    /// End of the last transaction: not later than the end of the shortest lease.
    pub(super) fn deadline(&self) -> Instant {
        match &self.entries {
            Entrants::Admitted(jobs) => {
                let leases = jobs.iter().map(|(job, _)| job.lease_deadline);
                leases.fold(self.ends, Instant::min)
            }
            Entrants::None | Entrants::Applicants { .. } => self.ends,
        }
    }

    /// How long one transaction may take.
    pub(super) const fn transaction_max(&self, config: &WriterConfig) -> Duration {
        match self.entries {
            Entrants::Admitted(_) => config.transaction_max,
            Entrants::None | Entrants::Applicants { .. } => config.unleased_max,
        }
    }

    /// The commands in the form of the store.
    pub(super) fn group(&self, key_choice: KeyChoice, now: domain::Timestamp) -> Group<'_> {
        let entries = match &self.entries {
            Entrants::None => Entries::None,
            Entrants::Admitted(jobs) => match jobs.first() {
                None => Entries::None,
                Some((first, _)) => Entries::Admitted {
                    campaign: &first.campaign,
                    epoch: first.epoch,
                    new_participations: jobs
                        .iter()
                        .map(|(job, _)| &job.new_participation)
                        .collect(),
                },
            },
            Entrants::Applicants {
                applicants,
                closing,
                hold,
            } => Entries::Applicants(Applicants {
                applicants: applicants.iter().map(|(applicant, _)| applicant).collect(),
                making: Making {
                    key_choice,
                    now,
                    hold: *hold,
                },
                closing: *closing,
            }),
        };
        Group {
            campaign: self.campaign,
            entries,
            change_requests: self
                .changes
                .iter()
                .map(|(change_request, _)| change_request)
                .collect(),
            key_choice,
        }
    }

    /// The number of commands.
    pub(super) fn len(&self) -> usize {
        self.entries.len() + self.changes.len()
    }

    /// Whether it is one change.
    pub(super) fn is_one_change(&self) -> bool {
        self.entries.len() == 0 && self.changes.len() == 1
    }

    /// Removes the changes, and returns them.
    pub(super) fn take_changes(&mut self) -> Self {
        Self {
            changes: mem::take(&mut self.changes),
            ..self.empty()
        }
    }

    /// Splits it into two parts, one of which may succeed when the whole fails: entries and changes, or two halves.
    pub(super) fn split(mut self) -> (Self, Self) {
        let second = if self.entries.len() > 0 && !self.changes.is_empty() {
            self.take_changes()
        } else {
            Self {
                entries: self.entries.split_half(),
                changes: split_half(&mut self.changes),
                ..self.empty()
            }
        };
        (self, second)
    }

    const fn empty(&self) -> Self {
        Self {
            campaign: self.campaign,
            entries: Entrants::None,
            changes: Vec::new(),
            ends: self.ends,
        }
    }
}

impl Entrants {
    fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Admitted(jobs) => jobs.len(),
            Self::Applicants { applicants, .. } => applicants.len(),
        }
    }

    fn split_half(&mut self) -> Self {
        match self {
            Self::None => Self::None,
            Self::Admitted(jobs) => Self::Admitted(split_half(jobs)),
            Self::Applicants {
                applicants,
                closing,
                hold,
            } => Self::Applicants {
                applicants: split_half(applicants),
                closing: *closing,
                hold: *hold,
            },
        }
    }
}

/// Keeps the first half, rounded up, and returns the rest.
fn split_half<T>(all: &mut Vec<T>) -> Vec<T> {
    all.split_off(all.len().div_ceil(2))
}
