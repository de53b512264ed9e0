//! Replaces the whole state of a campaign.

use std::time::Duration;

use uuid::Uuid;

use super::keys::STATE;
use super::settings::settings_args;
use super::{ITEMS_PER_CALL_MAX, ScriptGate};
use crate::domain::CampaignId;
use crate::parts::gate::reply::unknown;
use crate::parts::gate::script::Script;
use crate::parts::gate::{GateError, Mark, Settings, UserUnits};
use crate::runtime::failpoint;

/// How long the loaded users of an abandoned rebuild stay in Redis.
const ABANDONED_REBUILD: Duration = Duration::from_secs(600);

impl ScriptGate {
    /// Loads the users in chunks next to the current state, which admits until the swap.
    pub(super) async fn replace_state(
        &self,
        campaign: CampaignId,
        (epoch, settings): (u64, &Settings),
        holders: &[UserUnits],
        mark: Mark,
    ) -> Result<bool, GateError> {
        // The attempt is part of the name, so that two rebuilds of one epoch, or the rest of a timed-out one, never
        // mix.
        let loading = self.key(campaign, &format!("loading:{epoch}:{}", Uuid::now_v7()));
        let mut units = 0;
        for chunk in holders.chunks(ITEMS_PER_CALL_MAX) {
            let mut args = Vec::with_capacity(1 + 3 * chunk.len());
            args.push(ABANDONED_REBUILD.as_millis().to_string());
            for holder in chunk {
                units += u64::from(holder.units);
                args.push(holder.user.to_string());
                args.push(holder.units.to_string());
                args.push(holder.first.to_string());
            }
            let keys = std::slice::from_ref(&loading);
            self.run(Script::Load, keys, &args).await?.count()?;
        }
        failpoint::point("rebuild.loaded");
        let [state, users, leases, returned] = self.keys(campaign, STATE);
        let mut args = [epoch, holders.len() as u64, units, mark.last_rank]
            .map(|number| number.to_string())
            .to_vec();
        args.extend(settings_args(settings));
        args.push(mark.returns.to_string());
        args.push(self.over_retention.as_millis().to_string());
        let keys = [state, users, leases, loading, returned];
        match self.run(Script::Swap, &keys, &args).await?.text()?.as_str() {
            "SWAPPED" => Ok(true),
            "STALE" => Ok(false),
            "INCOMPLETE" => Err(GateError::Protocol(
                "users of the rebuild were lost before the swap, or one user is given twice"
                    .to_owned(),
            )),
            code => Err(unknown(code)),
        }
    }
}
