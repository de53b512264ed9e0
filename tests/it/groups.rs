//! Groups of commands of one kind, for most tests of the store.

use firstcome::domain::{Campaign, CampaignId, KeyChoice, OutboxEvent, Timestamp};
use firstcome::parts::store::{
    Applicant, Applicants, ChangeRequest, Changed, Closing, CommitError, Decision, Entries,
    EntriesResult, Group, GroupOutcome, Making, Mismatch, NewParticipation, Store,
};

/// The outcome of a group of entries that the gate admitted.
#[derive(Debug, PartialEq, Eq)]
pub enum BatchOutcome {
    Committed {
        held_from: Option<Timestamp>,
        first_sequence: u64,
    },
    Mismatch(Mismatch),
    Conflict,
}

/// The outcome of a group of applicants.
#[derive(Debug)]
pub enum DirectOutcome {
    Decided(Vec<Decision>, Vec<OutboxEvent>),
    Conflict,
    Open,
}

pub trait Groups {
    async fn commit_participations(
        &self,
        campaign: &Campaign,
        epoch: u64,
        batch: &[NewParticipation],
    ) -> Result<BatchOutcome, CommitError>;

    async fn change_participations(
        &self,
        campaign: CampaignId,
        change_requests: &[ChangeRequest],
        key_choice: KeyChoice,
    ) -> Result<Changed, CommitError>;

    async fn admit_directly(
        &self,
        campaign: CampaignId,
        applicants: &[Applicant],
        making: &Making,
        closing: Closing,
    ) -> Result<DirectOutcome, CommitError>;
}

fn group(campaign: CampaignId, entries: Entries<'_>) -> Group<'_> {
    Group {
        campaign,
        entries,
        change_requests: Vec::new(),
        key_choice: KeyChoice::Participation,
    }
}

/// Entries admitted by the gate.
pub fn admitted<'a>(
    campaign: &'a Campaign,
    epoch: u64,
    batch: &'a [NewParticipation],
) -> Group<'a> {
    let entries = Entries::Admitted {
        campaign,
        epoch,
        new_participations: batch.iter().collect(),
    };
    group(campaign.id, entries)
}

impl Groups for Store {
    async fn commit_participations(
        &self,
        campaign: &Campaign,
        epoch: u64,
        batch: &[NewParticipation],
    ) -> Result<BatchOutcome, CommitError> {
        let outcome = self.commit_group(&admitted(campaign, epoch, batch)).await?;
        Ok(match outcome {
            GroupOutcome::Committed(
                EntriesResult::Admitted {
                    held_from,
                    first_sequence,
                },
                _,
            ) => BatchOutcome::Committed {
                held_from,
                first_sequence,
            },
            GroupOutcome::Mismatch(mismatch) => BatchOutcome::Mismatch(mismatch),
            GroupOutcome::Conflict => BatchOutcome::Conflict,
            other @ GroupOutcome::Committed(..) => panic!("{other:?}"),
        })
    }

    async fn change_participations(
        &self,
        campaign: CampaignId,
        change_requests: &[ChangeRequest],
        key_choice: KeyChoice,
    ) -> Result<Changed, CommitError> {
        let group = Group {
            change_requests: change_requests.iter().collect(),
            key_choice,
            ..group(campaign, Entries::None)
        };
        match self.commit_group(&group).await? {
            GroupOutcome::Committed(EntriesResult::None, changed) => Ok(changed),
            other => panic!("{other:?}"),
        }
    }

    async fn admit_directly(
        &self,
        campaign: CampaignId,
        applicants: &[Applicant],
        making: &Making,
        closing: Closing,
    ) -> Result<DirectOutcome, CommitError> {
        let entries = Entries::Applicants(Applicants {
            applicants: applicants.iter().collect(),
            making: *making,
            closing,
        });
        Ok(match self.commit_group(&group(campaign, entries)).await? {
            GroupOutcome::Committed(EntriesResult::Decided(decisions, events), _) => {
                DirectOutcome::Decided(decisions, events)
            }
            GroupOutcome::Mismatch(Mismatch::GateOpen) => DirectOutcome::Open,
            GroupOutcome::Conflict => DirectOutcome::Conflict,
            other => panic!("{other:?}"),
        })
    }
}
