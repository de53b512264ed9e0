//! Recent answers of all replicas, beside the gate, for display only: admission does not depend on them.

use std::time::Duration;

use super::GateError;
use super::reply::unknown;
use super::script::Script;
use super::script_gate::ScriptGate;
use crate::domain::CampaignId;

/// Answers, and the time they took together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answered {
    /// How many.
    pub count: u64,
    /// Sum of the times from request to answer.
    pub took: Duration,
}

impl ScriptGate {
    /// Stores the recent answers of a replica for a campaign, for `term` by the clock of the engine.
    pub async fn note_recent(
        &self,
        campaign: CampaignId,
        replica: &str,
        answered: Answered,
        term: Duration,
    ) -> Result<(), GateError> {
        let keys = [self.recent_key(campaign)];
        let args = [
            replica.to_owned(),
            answered.count.to_string(),
            answered.took.as_micros().to_string(),
            term.as_micros().to_string(),
        ];
        match self
            .run(Script::RecentNote, &keys, &args)
            .await?
            .text()?
            .as_str()
        {
            "NOTED" => Ok(()),
            code => Err(unknown(code)),
        }
    }

    /// The recent answers of all other replicas for a campaign, as far as they have stored them.
    pub async fn recent_of_others(
        &self,
        campaign: CampaignId,
        replica: &str,
    ) -> Result<Answered, GateError> {
        let keys = [self.recent_key(campaign)];
        let args = [replica.to_owned()];
        let reply = self.run(Script::RecentSum, &keys, &args).await?;
        let mut fields = reply.fields()?;
        Ok(Answered {
            count: fields.count()?,
            took: Duration::from_micros(fields.count()?),
        })
    }
}
