//! Refusals by the gate, which have to hold for the idempotency key.

use std::time::Duration;

use super::{
    Dependencies, FIRST_ANSWER_PAUSE, FIRST_ANSWER_READS, Outcome, ParticipateError, Request, Step,
};
use crate::domain::{Campaign, ParticipationId, Refusal};
use crate::parts::gate::{Admission, Gate, GateError, KeyDigest, KeyRefused};
use crate::sale::participate::earlier::first_answer;
use crate::sale::participate::lookups::Known;
use crate::sale::participate::unavailable;

/// How long a no may be on its way to the gate: its age is told as if it took so long.
const ON_THE_WAY_MAX: Duration = Duration::from_millis(500);

/// When the gate was asked, by this process's monotonic clock, and how long what it gave would have been kept.
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

    /// A no of the gate. With a key it is said only when nothing can be committed under that key any more:
    /// no lease is held, which the gate knows; no transaction is open, which the store knows; and whoever
    /// asks the gate later, having begun earlier, is told when the key was refused. `asked`: when the gate was
    /// asked, unless nothing is admitted to the campaign any more, ever.
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

    /// The gate refused the key some time ago. It refuses it once more: what was admitted since may be committed.
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
            // What was admitted while it was on its way may be older than it thinks.
            Ok(KeyRefused::Done) if sent_at.elapsed() >= ON_THE_WAY_MAX => {
                Err(ParticipateError::Outstanding)
            }
            Ok(KeyRefused::Done) => Ok(Step::Done(refused)),
            Ok(KeyRefused::Undecided) => Err(ParticipateError::Outstanding),
            // Another way decides, or this one once more.
            Ok(KeyRefused::Missing) | Err(GateError::Away | GateError::Unavailable(_)) => {
                Ok(Step::Again)
            }
            Err(error) => Err(unavailable("gate", &error)),
        }
    }

    /// A participation of the user is on its way into the store, or whoever had it died. Waits a
    /// little to see which: "already" is said only of what is committed.
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
