//! Whether it is of any use to ask.

use super::Participate;
use crate::domain::CampaignId;

impl Participate {
    /// Whether a participation would find a place now. Costs next to nothing, so that the many who would
    /// not can be told before anything is done for them.
    #[must_use]
    pub fn has_place(&self, campaign: CampaignId) -> bool {
        self.parts.writer.has_place(campaign)
    }
}
