//! One run of a verification: seals old segments, then checks the campaigns snapshot by snapshot.

use std::collections::BTreeMap;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::check::{CampaignCheck, check, of_campaign};
use super::log_plan::LogPlan;
use super::plan::Plan;
use super::seal::{seal, seal_log, store_log_sums, store_sums};
use super::usable_sums::UsableSums;
use super::{Finding, Scope, Verification, VerifyError};
use crate::domain::CampaignId;
use crate::parts::gate::GateState;
use crate::parts::store::{
    CampaignCounters, SEGMENT_RANKS, Segment, StoreError, StoredLogSums, StoredSums,
};

/// Campaigns and participations checked in one snapshot, unless one campaign alone has more.
const SNAPSHOT_CAMPAIGNS_MAX: usize = 500;
const SNAPSHOT_ROWS_MAX: u64 = 4 * SEGMENT_RANKS;
/// Statements that run at once.
const PARALLEL: usize = 2;
/// Concurrent calls of the gate.
const GATE_PARALLEL: usize = 16;

/// One run of verification.
pub(super) struct Run<'a> {
    pub(super) verification: &'a Verification,
    pub(super) scope: Scope,
    pub(super) usable_sums: UsableSums,
}

impl Run<'_> {
    pub(super) async fn page(
        &mut self,
        counters: &[CampaignCounters],
    ) -> Result<Vec<Finding>, VerifyError> {
        let ids: Vec<CampaignId> = counters.iter().map(|counters| counters.id).collect();
        self.seal(counters, &ids).await?;
        // The sums of the segments sealed just now are stored, so these plans read only the rest.
        let rows: Vec<(CampaignId, u64)> = self
            .plans(counters, &ids)
            .await?
            .iter()
            .map(|(counters, plan, log)| (counters.id, plan.rows(counters) + log.rows(counters)))
            .collect();
        let snapshots = snapshots(rows.into_iter());
        let run = &*self;
        let findings: Vec<Vec<Finding>> = stream::iter(snapshots)
            .map(|ids| async move { run.findings(&ids).await })
            .buffered(PARALLEL)
            .try_collect()
            .await?;
        Ok(findings.into_iter().flatten().collect())
    }

    /// The current plans of the campaigns.
    async fn plans<'b>(
        &self,
        counters: &'b [CampaignCounters],
        ids: &[CampaignId],
    ) -> Result<Vec<(&'b CampaignCounters, Plan, LogPlan)>, StoreError> {
        let store = &self.verification.store;
        let stored = store.stored_sums(ids).await?;
        let stored_log_sums = store.stored_log_sums(ids).await?;
        let plans = counters.iter().map(|counters| {
            let stored = of_campaign(&stored, counters.id, |stored| stored.segment);
            let logs = of_campaign(&stored_log_sums, counters.id, |stored| stored.segment);
            let UsableSums { ranks, logs: log } = &self.usable_sums;
            (
                counters,
                Plan::of(counters, stored, |stored| ranks.has(stored.segment)),
                LogPlan::of(counters, logs, |stored| log.has(stored.segment)),
            )
        });
        Ok(plans.collect())
    }

    /// Reads the final segments of long campaigns beforehand.
    async fn seal(
        &mut self,
        counters: &[CampaignCounters],
        ids: &[CampaignId],
    ) -> Result<(), StoreError> {
        let store = &self.verification.store;
        let (mut ranks, mut logs) = (Vec::new(), Vec::new());
        for (counters, plan, log) in self.plans(counters, ids).await? {
            if plan.rows(counters) > SEGMENT_RANKS {
                ranks.extend(
                    plan.parts
                        .into_iter()
                        .filter(|part| part.is_final(counters)),
                );
            }
            if log.rows(counters) > SEGMENT_RANKS {
                logs.extend(log.parts.into_iter().filter(|part| part.is_final(counters)));
            }
        }
        let ranks: Vec<Option<Segment>> = stream::iter(ranks)
            .map(|part| seal(store, part))
            .buffer_unordered(PARALLEL)
            .try_collect()
            .await?;
        let logs: Vec<Option<Segment>> = stream::iter(logs)
            .map(|part| seal_log(store, part))
            .buffer_unordered(PARALLEL)
            .try_collect()
            .await?;
        self.usable_sums.ranks.refresh(ranks.into_iter().flatten());
        self.usable_sums.logs.refresh(logs.into_iter().flatten());
        Ok(())
    }

    async fn findings(&self, ids: &[CampaignId]) -> Result<Vec<Finding>, VerifyError> {
        let gates = self.gates(ids).await?;
        let checks = self.check(ids, &self.usable_sums).await?;
        let mut findings = Vec::new();
        for check in checks {
            let id = check.counters.id;
            let again = if check.is_doubtful {
                let again = self.check(&[id], &UsableSums::none()).await?;
                again.into_iter().next().unwrap_or(check)
            } else {
                check
            };
            let gate = gates.get(&id).copied().flatten();
            let breach = self.verification.gate_breach(&again.counters, gate).await?;
            findings.push(finding(again, gate, breach));
        }
        Ok(findings)
    }

    /// Checks campaigns in one snapshot, and stores the sums of segments that are complete and correct.
    async fn check(
        &self,
        ids: &[CampaignId],
        usable_sums: &UsableSums,
    ) -> Result<Vec<CampaignCheck>, StoreError> {
        let store = &self.verification.store;
        let snapshot = store.snapshot().await?;
        let checks = check(&snapshot, ids, self.scope.order, usable_sums).await?;
        snapshot.end_current().await?;
        let sound = || checks.iter().filter(|check| !check.is_doubtful);
        let stored: Vec<StoredSums> = sound()
            .flat_map(|check| check.sums_to_store.clone())
            .collect();
        store_sums(store, &stored).await;
        let logs: Vec<StoredLogSums> = sound()
            .flat_map(|check| check.log_sums_to_store.clone())
            .collect();
        store_log_sums(store, &logs).await;
        let forget: Vec<Segment> = checks
            .iter()
            .flat_map(|check| check.forget.clone())
            .collect();
        if let Err(failure) = store.forget_segments(&forget).await {
            tracing::warn!(%failure, "stored sums of incorrect segments were not deleted");
        }
        Ok(checks)
    }

    async fn gates(
        &self,
        ids: &[CampaignId],
    ) -> Result<BTreeMap<CampaignId, Option<GateState>>, VerifyError> {
        let gate = &self.verification.gate;
        stream::iter(ids.to_vec())
            .map(|id| async move { Ok((id, gate.inspect(id).await?)) })
            .buffer_unordered(GATE_PARALLEL)
            .try_collect()
            .await
    }
}

/// Campaigns in order, grouped by snapshot.
fn snapshots(campaigns: impl Iterator<Item = (CampaignId, u64)>) -> Vec<Vec<CampaignId>> {
    let mut snapshots: Vec<Vec<CampaignId>> = Vec::new();
    let mut room = 0;
    for (id, rows) in campaigns {
        match snapshots.last_mut() {
            Some(ids) if rows <= room && ids.len() < SNAPSHOT_CAMPAIGNS_MAX => {
                ids.push(id);
                room -= rows;
            }
            _ => {
                snapshots.push(vec![id]);
                room = SNAPSHOT_ROWS_MAX.saturating_sub(rows);
            }
        }
    }
    snapshots
}

fn finding(check: CampaignCheck, gate: Option<GateState>, gate_breach: Option<String>) -> Finding {
    let CampaignCheck {
        counters, figures, ..
    } = check;
    Finding {
        campaign_id: counters.id.0,
        total_stock: counters.total_stock,
        committed_units: counters.committed_units,
        gate_units: gate.map(|gate| gate.units),
        gate_leases: gate.map(|gate| gate.leases),
        participations: figures.participations,
        changes: figures.changes,
        events: figures.events,
        published: figures.published(),
        purged: figures.purged,
        pending: figures.waiting.pending,
        parked: figures.waiting.parked,
        campaign_events: figures.campaign_events,
        campaign_events_unpublished: figures.waiting.of_campaign,
        order_events: figures.order_events,
        order_events_unpublished: figures.waiting.of_orders,
        segments_read: figures.segments_read,
        segments_kept: figures.segments_kept,
        breaches: check.breaches.into_iter().chain(gate_breach).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn campaigns_share_a_snapshot_up_to_a_bound() {
        let small = (1..=1_200).map(|id| (CampaignId(id), 10));
        let sizes: Vec<usize> = snapshots(small).iter().map(Vec::len).collect();
        assert_eq!(sizes, [500, 500, 200]);
        let rows = [1, SNAPSHOT_ROWS_MAX, 1, SNAPSHOT_ROWS_MAX * 9, 1, 1];
        let large = (1..).map(CampaignId).zip(rows);
        let sizes: Vec<usize> = snapshots(large).iter().map(Vec::len).collect();
        assert_eq!(sizes, [1, 1, 1, 1, 2]);
    }
}
