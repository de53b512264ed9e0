//! By the database alone, while the gate is away or closed: it admits and commits in one transaction.

use super::{Outcome, ParticipateError, Parts, Path, Replayed, Request, SYNC_HOLD, Step};
use crate::direct::{Answer, Cause};
use crate::store::{Applicant, Decision};

impl Parts {
    pub(super) async fn by_database(
        &self,
        request: &Request,
        applicant: &Applicant,
        cause: Cause,
        path: Path,
    ) -> Result<Step, ParticipateError> {
        let _span = request.span("database.commit");
        let (campaign, applicant) = (request.campaign, applicant.clone());
        let answer = match path {
            Path::Grouped => {
                let answer = self.direct.ask(campaign, cause, applicant).await;
                answer.ok_or(ParticipateError::Busy)?
            }
            Path::Alone => {
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
            Answer::Decided(Decision::Accepted(participation)) => {
                Ok(Step::Done(Outcome::Accepted {
                    participation,
                    replayed: Replayed::First,
                }))
            }
            Answer::Decided(Decision::Refused { refusal, remaining }) => {
                let refused = self.refused(request, refusal, remaining).await?;
                Ok(Step::Done(refused))
            }
            Answer::Conflict => match self.earlier_answer(request).await? {
                Some(outcome) => Ok(Step::Done(outcome)),
                None => Ok(Step::Again),
            },
            Answer::Open => Ok(Step::Again),
            Answer::UnknownCampaign => Err(ParticipateError::UnknownCampaign),
            Answer::Unavailable | Answer::Unknown => {
                Err(ParticipateError::Unavailable { part: "store" })
            }
        }
    }
}
