//! Sweeps the gates of all campaigns: ends expired leases, corrects gates that differ from the store, and lets the state
//! of ended campaigns expire. The failure of one campaign's gate does not end a sweep.

use super::outcome::Corrected;
use super::{Patience, ReconcileError, Reconciler, Renewed, Swept};
use crate::domain::{Campaign, CampaignId, ParticipationId};
use crate::parts::gate::HeldLease;
use crate::runtime::failpoint;

/// Leases of a campaign swept at a time.
const SWEEP_BATCH: usize = 1_000;
/// Ended campaigns whose gates are configured in one sweep.
const ENDED_PAGE: u64 = 200;

impl Reconciler {
    /// Ends expired leases: settles them if the store has the participation, and releases them otherwise. No writer
    /// commits after its lease, so this is final. Then compares the gate with the store, and rebuilds it if it has
    /// drifted.
    pub async fn sweep(&self) -> Result<Swept, ReconcileError> {
        let mut swept = Swept::default();
        let ended = self.sweep_all(&mut swept).await;
        // A sweep that fails has already changed some gates.
        self.metrics.count(swept);
        ended.map(|()| swept)
    }

    async fn sweep_all(&self, swept: &mut Swept) -> Result<(), ReconcileError> {
        let mut campaigns = self.live_campaigns().await?;
        self.put_failed_last(&mut campaigns);
        for campaign in &campaigns {
            if let Err(error) = self.sweep_campaign(campaign, swept).await {
                self.skip(campaign.id, error)?;
            }
        }
        swept.over = self.expire_closed_campaigns().await?;
        Ok(())
    }

    async fn sweep_campaign(
        &self,
        campaign: &Campaign,
        swept: &mut Swept,
    ) -> Result<(), ReconcileError> {
        while self.sweep_some(campaign.id, swept).await? == SWEEP_BATCH {}
        match self.check_drift(campaign).await? {
            Corrected::Nothing => {}
            Corrected::Settings => swept.configured += 1,
            Corrected::All => swept.rebuilt += 1,
        }
        Ok(())
    }

    /// Returns the number of expired leases.
    async fn sweep_some(
        &self,
        campaign: CampaignId,
        swept: &mut Swept,
    ) -> Result<usize, ReconcileError> {
        let expired = self.gate.expired(campaign, SWEEP_BATCH).await?;
        self.end_leases(campaign, &expired, swept).await?;
        Ok(expired.len())
    }

    /// Settles or releases leases under which nothing can be committed any more.
    pub(super) async fn end_leases(
        &self,
        campaign: CampaignId,
        leases: &[HeldLease],
        swept: &mut Swept,
    ) -> Result<(), ReconcileError> {
        if leases.is_empty() {
            return Ok(());
        }
        let ids: Vec<ParticipationId> = leases.iter().map(|lease| lease.participation).collect();
        let committed = self.store.committed_among(&ids).await?;
        failpoint::point("sweep.asked");
        self.gate.settle(campaign, &committed).await?;
        failpoint::point("sweep.settled");
        let lost: Vec<HeldLease> = leases
            .iter()
            .filter(|lease| !committed.contains(&lease.participation))
            .copied()
            .collect();
        self.gate.release_listed(campaign, &lost).await?;
        swept.released += lost.len();
        swept.settled += committed.len();
        Ok(())
    }

    /// Configures the gates of ended campaigns, in case the replica that ended them died before it did: their keys
    /// expire from then on. Returns their number.
    async fn expire_closed_campaigns(&self) -> Result<usize, ReconcileError> {
        let mut over = self.store.over_in_gate(ENDED_PAGE).await?;
        self.put_failed_last(&mut over);
        let mut configured = Vec::with_capacity(over.len());
        let mut ended = Ok(());
        for campaign in &over {
            match self.configure(campaign, Patience::None).await {
                Ok(Renewed::InStep) => configured.push(campaign.id),
                Ok(Renewed::Closed | Renewed::Later) => {}
                Err(error) => ended = self.skip(campaign.id, error),
            }
            if ended.is_err() {
                break;
            }
        }
        self.store.note_gate_expires(&configured).await?;
        ended.map(|()| configured.len())
    }
}
