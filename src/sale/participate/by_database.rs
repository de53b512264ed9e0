//! The database path, while the gate is away or closed: the database admits and commits in one transaction.

use super::{
    CommitMode, Dependencies, Outcome, ParticipateError, Replayed, Request, SYNC_HOLD, Step,
};
use tokio::sync::oneshot;

use crate::domain::CampaignId;
use crate::parts::gate::Key;
use crate::parts::store::{Applicant, Closing, Decision};
use crate::sale::group_commit::{Decided, DecidedResult, NotCommitted};

impl Dependencies {
    pub(super) async fn by_database(
        &self,
        request: &Request,
        key: Key,
        closing: Closing,
        mode: CommitMode,
    ) -> Result<Step, ParticipateError> {
        // The user is not on the campaign's list now, but may have been, and only the gate knows the leases.
        if matches!(key, Key::Refuse(_)) {
            return Err(ParticipateError::Outstanding);
        }
        let _span = request.span("database.commit");
        let (campaign, applicant) = (request.campaign, request.applicant.clone());
        let result = match mode {
            CommitMode::Grouped => self.admit_grouped(campaign, applicant, closing).await?,
            CommitMode::Alone => {
                let admitted = self
                    .writer
                    .admit_alone(campaign, applicant, closing, SYNC_HOLD);
                let result = admitted.await;
                if let Ok(Decided {
                    event: Some(event), ..
                }) = &result
                {
                    self.sync.publish_now(&self.store, &self.clock, event).await;
                }
                result
            }
        };
        match result.map(|decided| decided.decision) {
            Ok(Decision::Accepted(participation)) => Ok(Step::Done(Outcome::Accepted {
                participation,
                replayed: Replayed::First,
            })),
            Ok(Decision::Refused { refusal, remaining }) => {
                let refused = self.refused_by_database(request, refusal, remaining);
                Ok(Step::Done(refused.await?))
            }
            Ok(Decision::Outstanding) => Err(ParticipateError::Outstanding),
            Err(NotCommitted::Conflict) => match self.earlier_answer(request).await? {
                Some(outcome) => Ok(Step::Done(outcome)),
                None => Ok(Step::Again),
            },
            Err(NotCommitted::GateOpen) => Ok(Step::Again),
            Err(NotCommitted::UnknownCampaign) => Err(ParticipateError::UnknownCampaign),
            Err(_) => Err(ParticipateError::Unavailable { part: "store" }),
        }
    }

    async fn admit_grouped(
        &self,
        campaign: CampaignId,
        applicant: Applicant,
        closing: Closing,
    ) -> Result<DecidedResult, ParticipateError> {
        let (place, occupancy) = self
            .writer
            .reserve(campaign)
            .ok_or(ParticipateError::Busy)?;
        let (reply, result) = oneshot::channel();
        place.admit(
            applicant,
            closing,
            Box::new(move |decided| {
                // Occupied until now, also if the client has disconnected.
                drop(occupancy);
                drop(reply.send(decided));
            }),
        );
        Ok(result.await.unwrap_or(Err(NotCommitted::Unknown)))
    }
}
