//! By the database alone, while the gate is away or closed: it admits and commits in one transaction.

use super::{
    CommitMode, Dependencies, Outcome, ParticipateError, Replayed, Request, SYNC_HOLD, Step,
};
use crate::parts::gate::Key;
use crate::parts::store::Decision;
use crate::sale::direct::{Cause, DirectAnswer};

impl Dependencies {
    pub(super) async fn by_database(
        &self,
        request: &Request,
        key: Key,
        cause: Cause,
        mode: CommitMode,
    ) -> Result<Step, ParticipateError> {
        // Who is not on the campaign's list may have been, and only a gate knows of leases.
        if matches!(key, Key::Refuse(_)) {
            return Err(ParticipateError::Outstanding);
        }
        let _span = request.span("database.commit");
        let (campaign, applicant) = (request.campaign, request.applicant.clone());
        let answer = match mode {
            CommitMode::Grouped => {
                let answer = self.direct.ask(campaign, cause, applicant).await;
                answer.ok_or(ParticipateError::Busy)?
            }
            CommitMode::Alone => {
                let _permit = self.sync.permit().await?;
                let asked = self.direct.ask_alone(campaign, cause, applicant, SYNC_HOLD);
                let (answer, event) = asked.await;
                if let Some(event) = event {
                    self.sync.publish_now(&self.store, &event).await;
                }
                answer
            }
        };
        match answer {
            DirectAnswer::Decided(Decision::Accepted(participation)) => {
                Ok(Step::Done(Outcome::Accepted {
                    participation,
                    replayed: Replayed::First,
                }))
            }
            DirectAnswer::Decided(Decision::Refused { refusal, remaining }) => {
                let refused = self.refused_by_database(request, refusal, remaining);
                Ok(Step::Done(refused.await?))
            }
            DirectAnswer::Decided(Decision::Outstanding) => Err(ParticipateError::Outstanding),
            DirectAnswer::Conflict => match self.earlier_answer(request).await? {
                Some(outcome) => Ok(Step::Done(outcome)),
                None => Ok(Step::Again),
            },
            DirectAnswer::Open => Ok(Step::Again),
            DirectAnswer::UnknownCampaign => Err(ParticipateError::UnknownCampaign),
            DirectAnswer::Unavailable | DirectAnswer::Unknown => {
                Err(ParticipateError::Unavailable { part: "store" })
            }
        }
    }
}
