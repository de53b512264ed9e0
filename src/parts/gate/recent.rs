//! What replicas have answered lately, beside the gate, where each finds what the others did. For show alone:
//! what is handed out never depends on it.

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
    /// From the request to the answer, added up.
    pub took: Duration,
}

impl ScriptGate {
    /// Notes what a replica has answered lately for a campaign, for others to find for as long as `term`,
    /// by the clock of the engine.
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

    /// What all replicas but this one have answered lately for a campaign, as far as they have noted it.
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
