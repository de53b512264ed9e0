//! The paths of participations, which most requests have.

use super::parameters::canonical;
use crate::domain::CampaignId;

const CAMPAIGNS: &str = "/api/campaigns/";
const PARTICIPATION: &str = "/participation";
const PARTICIPATION_SYNC: &str = "/participation-sync";
/// The campaign of the path of a participation through the gate.
pub fn gated_participation_in(path: &str) -> Option<CampaignId> {
    campaign_before(PARTICIPATION, path)
}

/// The campaign of the path of a participation, on either path to the commit.
pub fn participation_in(path: &str) -> Option<CampaignId> {
    campaign_before(PARTICIPATION, path).or_else(|| campaign_before(PARTICIPATION_SYNC, path))
}

fn campaign_before(suffix: &str, path: &str) -> Option<CampaignId> {
    let id = path.strip_prefix(CAMPAIGNS)?.strip_suffix(suffix)?;
    canonical(id).map(CampaignId)
}
