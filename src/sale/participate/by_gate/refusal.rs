//! Refusals by the gate, which must be final for the idempotency key.

use std::time::Duration;

use super::{
    Dependencies, FIRST_ANSWER_PAUSE, FIRST_ANSWER_READS, Outcome, ParticipateError, Request, Step,
};
use crate::domain::{Campaign, CampaignId, ParticipationId, Refusal};
use crate::parts::gate::{Admission, Gate, GateError, KeyDigest, KeyRefused};
use crate::sale::participate::earlier::first_answer;
use crate::sale::participate::lookups::Known;
use crate::sale::participate::unavailable;
use crate::sale::reconcile::Patience;

/// Longest expected time of a request to the gate; it is added to the age of the first refusal.
const ON_THE_WAY_MAX: Duration = Duration::from_millis(500);

/// When the gate was asked, by this process's monotonic clock, and the duration of a lease.
#[derive(Clone, Copy)]
pub(super) struct GateCall {
    at: std::time::Instant,
    lease: Duration,
}

impl GateCall {
    pub(super) fn of(at: std::time::Instant, lease_deadline: std::time::Instant) -> Self {
        Self {
            at,
            lease: lease_deadline.saturating_duration_since(at),
        }
    }
}

impl Dependencies {
    pub(super) async fn not_admitted(
        &self,
        campaign: &Campaign,
        request: &Request,
        admission: Admission,
        asked: GateCall,
    ) -> Result<Step, ParticipateError> {
        match admission {
            Admission::Refused { refusal, remaining } => {
                self.refused_by_gate(request, refusal, remaining, Some(asked))
                    .await
            }
            Admission::Undecided { first, remaining } => {
                self.undecided(request, first, remaining, asked).await
            }
            Admission::Missing | Admission::Admitted(_) => self.no_gate(campaign, request).await,
        }
    }

    /// A refusal by the gate. With a key it is returned only when nothing can be committed under that key any more:
    /// no lease exists (the gate knows), no transaction is open (the store knows), later calls of the gate for
    /// attempts that began earlier learn when the key was refused, and no other gate is in force. `asked`: when the gate
    /// was asked; none if nothing is ever admitted to the campaign again.
    pub(super) async fn refused_by_gate(
        &self,
        request: &Request,
        refusal: Refusal,
        remaining: Option<u64>,
        asked: Option<GateCall>,
    ) -> Result<Step, ParticipateError> {
        self.note_sold_out(request, &refusal, remaining).await;
        let refused = Outcome::Refused { refusal, remaining };
        let Some(key) = &request.applicant.idempotency_key else {
            return Ok(Step::Done(refused));
        };
        match Box::pin(self.lookups.any_by_key(request, key)).await? {
            Known::Nothing => {}
            Known::Participation(participation) => {
                return first_answer(request, participation).map(Step::Done);
            }
            Known::UnderWay => return Err(ParticipateError::Outstanding),
            Known::GateClosed => return self.reopen_gate(request.campaign).await,
        }
        match asked {
            None => Ok(Step::Done(refused)),
            Some(asked) => Box::pin(self.refuse_key(request, key, asked, refused)).await,
        }
    }

    /// The gate refused the entrant some time ago. Refuses the key in the gate again, because another attempt may
    /// have been admitted since.
    async fn refuse_key(
        &self,
        request: &Request,
        key: &str,
        asked: GateCall,
        refused: Outcome,
    ) -> Result<Step, ParticipateError> {
        let (campaign, digest) = (request.campaign, KeyDigest::of(request.applicant.user, key));
        let sent_at = std::time::Instant::now();
        let age = sent_at.duration_since(asked.at) + ON_THE_WAY_MAX;
        let answer = self.gate.refuse_key(campaign, digest, age, asked.lease);
        match answer.await {
            // The request took so long that the gate has underestimated its age.
            Ok(KeyRefused::Done { .. }) if sent_at.elapsed() >= ON_THE_WAY_MAX => {
                Err(ParticipateError::Outstanding)
            }
            Ok(KeyRefused::Done { epoch }) => self.refused_in_epoch(campaign, epoch, refused).await,
            Ok(KeyRefused::Undecided) => Err(ParticipateError::Outstanding),
            // Retry: the other path decides, or the gate in the next attempt.
            Ok(KeyRefused::Missing) | Err(GateError::Away | GateError::Unavailable(_)) => {
                Ok(Step::Again)
            }
            Err(error) => Err(unavailable("gate", &error)),
        }
    }

    /// The gate has refused the key. While Redis has two primaries, another gate may have admitted an attempt under it:
    /// then the store's epoch, read afterwards, is the one of that gate, and this gate is rebuilt first.
    async fn refused_in_epoch(
        &self,
        campaign: CampaignId,
        epoch: u64,
        refused: Outcome,
    ) -> Result<Step, ParticipateError> {
        if Box::pin(self.lookups.epoch(campaign)).await? == Some(epoch) {
            return Ok(Step::Done(refused));
        }
        self.renew_gate(campaign, Some(epoch), Patience::Waits)
            .await
    }

    /// A participation of the user is being committed, or its process has died. Waits a short time for the result:
    /// "already" is returned only after a commit.
    async fn undecided(
        &self,
        request: &Request,
        first: ParticipationId,
        remaining: Option<u64>,
        asked: GateCall,
    ) -> Result<Step, ParticipateError> {
        for _ in 0..FIRST_ANSWER_READS {
            let found = self.lookups.participation(request.campaign, first);
            if let Some(found) = Box::pin(found).await? {
                if !found.status.holds_units() {
                    return Ok(Step::Again);
                }
                let refusal = Refusal::AlreadyParticipated { first };
                return self
                    .refused_by_gate(request, refusal, remaining, Some(asked))
                    .await;
            }
            tokio::time::sleep(FIRST_ANSWER_PAUSE).await;
        }
        Err(ParticipateError::Outstanding)
    }
}
