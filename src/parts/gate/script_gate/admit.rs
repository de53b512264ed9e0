//! The call of the script that admits entrants. It must not decide.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::ScriptGate;
use crate::domain::CampaignId;
use crate::parts::gate::answers::admissions;
use crate::parts::gate::script::Script;
use crate::parts::gate::{Admission, EXACT_MAX, Entrant, GateError, Key, KeyDigest};

impl ScriptGate {
    /// The entrants of one call.
    pub(super) async fn admit_some(
        &self,
        campaign: CampaignId,
        entrants: &[Entrant],
        lease: Duration,
    ) -> Result<Vec<Admission>, GateError> {
        let state = self.keys(campaign, ["state", "users", "leases"]);
        let mut keys = state.to_vec();
        let mut args = Vec::with_capacity(3 + 3 * entrants.len());
        let lease_us = micros(lease);
        self.longest_lease_us.fetch_max(lease_us, Ordering::Relaxed);
        args.push(lease_us.to_string());
        args.push(self.owner.clone());
        args.push(entrants.len().to_string());
        for entrant in entrants {
            args.push(entrant.participation.to_string());
            args.push(entrant.user.to_string());
            args.push(entrant.quantity.to_string());
        }
        for (entrant, nth) in entrants.iter().zip(1..) {
            let (digest, word) = match entrant.key {
                Key::None => continue,
                Key::Decide(digest) => (digest, "DECIDE"),
                Key::Refuse(digest) => (digest, "REFUSE"),
            };
            keys.push(self.idempotency_key(campaign, digest));
            args.push(i32::to_string(&nth));
            args.push(word.to_owned());
        }
        let reply = self.run(Script::Admit, &keys, &args).await?;
        admissions(reply, entrants.len())
    }

    pub(super) fn idempotency_key(&self, campaign: CampaignId, digest: KeyDigest) -> String {
        self.key(campaign, &format!("key:{digest}"))
    }
}

/// In microseconds, as Lua counts.
pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).map_or(EXACT_MAX, |us| us.min(EXACT_MAX))
}
