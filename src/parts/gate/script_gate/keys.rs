//! The names of the gate's keys. The hash tag keeps the keys of a campaign, an account or a limit on one node.

use super::ScriptGate;
use crate::domain::{CampaignId, UserId};

/// The keys that make up the state of a campaign.
pub(super) const STATE: [&str; 4] = ["state", "users", "leases", "returned"];

impl ScriptGate {
    pub(in crate::parts::gate) fn bucket_key(&self, name: &str) -> String {
        format!("{}:{{limit:{name}}}", self.prefix)
    }

    pub(in crate::parts::gate) fn account_key(&self, account: UserId, name: &str) -> String {
        format!("{}:{{account:{account}}}:{name}", self.prefix)
    }

    pub(in crate::parts::gate) fn recent_key(&self, campaign: CampaignId) -> String {
        self.key(campaign, "recent")
    }

    pub(super) fn key(&self, campaign: CampaignId, name: &str) -> String {
        format!("{}:{{campaign:{campaign}}}:{name}", self.prefix)
    }

    pub(super) fn keys<const N: usize>(
        &self,
        campaign: CampaignId,
        names: [&str; N],
    ) -> [String; N] {
        names.map(|name| self.key(campaign, name))
    }
}
