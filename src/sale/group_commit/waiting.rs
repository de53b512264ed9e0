//! Groups of commands, each with the replies that wait for it.

use std::collections::HashMap;
use std::mem;
use std::time::{Duration, Instant};

use chrono::TimeDelta;

use super::{ChangeResult, CommitResult, DecidedResult, Job, NotCommitted, WriterConfig};
use crate::domain::{self, CampaignId, KeyChoice};
use crate::parts::store::{Applicant, Applicants, Closing, Entries, Group, Making, Wished};
use crate::runtime::batcher::Reply;

/// How long a group may take with its retries: after that, nobody waits for it.
const GROUP_MAX: Duration = Duration::from_secs(8);
/// Transactions that a batch makes one after another for one campaign because of several changes of one participation.
/// Further ones are answered that the queue is full, so that nobody makes others wait by repeating a change.
const GROUPS_MAX: usize = 2;

/// One command, and who waits for its result.
pub(super) enum Command {
    Commit(Box<Job>, Reply<CommitResult>),
    Admit {
        applicant: Applicant,
        closing: Closing,
        /// How long the relay leaves the event to the request.
        hold: Option<TimeDelta>,
        reply: Reply<DecidedResult>,
    },
    Change(Wished, Reply<ChangeResult>),
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
    pub(super) changes: Vec<(Wished, Reply<ChangeResult>)>,
    /// By when the last transaction ends, unless a lease ends earlier.
    ends: Instant,
}

/// The new participations of a group.
pub(super) enum Entrants {
    None,
    /// Admitted by the gate in one epoch.
    Admitted(Vec<(Job, Reply<CommitResult>)>),
    /// To be admitted by the database.
    Applicants {
        applicants: Vec<(Applicant, Reply<DecidedResult>)>,
        closing: Closing,
        /// How long the relay leaves the events to the requests.
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
            (Command::Change(wished, _), _) => {
                self.changes.iter().all(|(other, _)| other.id != wished.id)
            }
            (Command::Commit(..) | Command::Admit { .. }, Entrants::None) => true,
            (Command::Commit(..), Entrants::Applicants { .. })
            | (Command::Admit { .. }, Entrants::Admitted(_)) => false,
        }
    }

    /// Adds a command that it takes.
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
            (Command::Change(wished, reply), _) => self.changes.push((wished, reply)),
        }
    }

    /// Takes out the entries whose lease ends before `least`.
    pub(super) fn take_late(&mut self, least: Instant) -> Self {
        let mut late = self.empty();
        if let Entrants::Admitted(jobs) = &mut self.entries {
            let is_late = |(job, _): &mut (Job, _)| job.lease_deadline < least;
            late.entries = Entrants::Admitted(jobs.extract_if(.., is_late).collect());
        }
        late
    }

    /// By when the last transaction ends: no later than the shortest lease.
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

    /// The commands as the store takes them.
    pub(super) fn group(&self, key_choice: KeyChoice, now: domain::Timestamp) -> Group<'_> {
        let entries = match &self.entries {
            Entrants::None => Entries::None,
            Entrants::Admitted(jobs) => match jobs.first() {
                None => Entries::None,
                Some((first, _)) => Entries::Admitted {
                    campaign: &first.campaign,
                    epoch: first.epoch,
                    intakes: jobs.iter().map(|(job, _)| &job.intake).collect(),
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
            wishes: self.changes.iter().map(|(wished, _)| wished).collect(),
            key_choice,
        }
    }

    /// Commands in it.
    pub(super) fn len(&self) -> usize {
        self.entries.len() + self.changes.len()
    }

    /// Whether it is one change.
    pub(super) fn is_one_change(&self) -> bool {
        self.entries.len() == 0 && self.changes.len() == 1
    }

    /// Takes the changes out.
    pub(super) fn take_changes(&mut self) -> Self {
        Self {
            changes: mem::take(&mut self.changes),
            ..self.empty()
        }
    }

    /// Two parts, of which one may succeed where the whole failed: the entries and the changes, or two halves.
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

/// Leaves the first half, rounded up.
fn split_half<T>(all: &mut Vec<T>) -> Vec<T> {
    all.split_off(all.len().div_ceil(2))
}
