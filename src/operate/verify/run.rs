//! One run of a verification: seals old segments, then checks the campaigns snapshot by snapshot.

use std::collections::{BTreeMap, HashSet};

use futures_util::{StreamExt, TryStreamExt, stream};

use super::check::{CampaignCheck, check, kept_of};
use super::plan::Plan;
use super::seal::{keep, seal};
use super::{Depth, Finding, Scope, Verification, VerifyError};
use crate::domain::CampaignId;
use crate::parts::gate::GateState;
use crate::parts::store::{Books, Kept, SEGMENT_RANKS, Segment, StoreError};

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
    /// Segments to be read again.
    pub(super) due: HashSet<Segment>,
    /// Segments read in this run.
    pub(super) fresh: HashSet<Segment>,
}

impl Run<'_> {
    fn trusts(&self, kept: &Kept) -> bool {
        self.fresh.contains(&kept.segment)
            || (self.scope.depth == Depth::Incremental && !self.due.contains(&kept.segment))
    }

    pub(super) async fn page(&mut self, books: &[Books]) -> Result<Vec<Finding>, VerifyError> {
        let store = &self.verification.store;
        let ids: Vec<CampaignId> = books.iter().map(|books| books.id).collect();
        let kept = store.kept(&ids).await?;
        let plan = |run: &Self, books: &Books| {
            let kept = kept_of(&kept, books.id);
            Plan::of(books, kept, |kept| run.trusts(kept))
        };
        let long = books.iter().filter_map(|books| {
            let plan = plan(self, books);
            (plan.rows(books) > SEGMENT_RANKS).then_some((books, plan))
        });
        let parts: Vec<_> = long
            .flat_map(|(books, plan)| {
                let parts = plan.parts.into_iter();
                parts.filter(|part| part.may_rest(books))
            })
            .collect();
        let sealed: Vec<Option<Segment>> = stream::iter(parts)
            .map(|part| seal(store, part))
            .buffer_unordered(PARALLEL)
            .try_collect()
            .await?;
        self.fresh.extend(sealed.into_iter().flatten());
        // The segments sealed just now are kept, so the second plan has what is left to read.
        let kept = store.kept(&ids).await?;
        let rows = books.iter().map(|books| {
            let kept = kept_of(&kept, books.id);
            let plan = Plan::of(books, kept, |kept| self.trusts(kept));
            (books.id, plan.rows(books))
        });
        let snapshots = snapshots(rows);
        let run = &*self;
        let findings: Vec<Vec<Finding>> = stream::iter(snapshots)
            .map(|ids| async move { run.findings(&ids).await })
            .buffered(PARALLEL)
            .try_collect()
            .await?;
        Ok(findings.into_iter().flatten().collect())
    }

    async fn findings(&self, ids: &[CampaignId]) -> Result<Vec<Finding>, VerifyError> {
        let gates = self.gates(ids).await?;
        let checks = self.check(ids, |kept| self.trusts(kept)).await?;
        let mut findings = Vec::new();
        for check in checks {
            let id = check.books.id;
            let again = if check.is_doubtful {
                let again = self.check(&[id], |_| false).await?;
                again.into_iter().next().unwrap_or(check)
            } else {
                check
            };
            let gate = gates.get(&id).copied().flatten();
            let breach = self.verification.gate_breach(&again.books, gate).await?;
            findings.push(finding(again, gate, breach));
        }
        Ok(findings)
    }

    /// Checks campaigns in one snapshot, and keeps the sums of complete segments that are sound.
    async fn check(
        &self,
        ids: &[CampaignId],
        is_trusted: impl Fn(&Kept) -> bool,
    ) -> Result<Vec<CampaignCheck>, StoreError> {
        let store = &self.verification.store;
        let snapshot = store.snapshot().await?;
        let checks = check(&snapshot, ids, self.scope.order, is_trusted).await?;
        snapshot.end_current().await?;
        let sound = checks.iter().filter(|check| !check.is_doubtful);
        let kept: Vec<Kept> = sound.flat_map(|check| check.keep.clone()).collect();
        keep(store, &kept).await;
        let forget: Vec<Segment> = checks
            .iter()
            .flat_map(|check| check.forget.clone())
            .collect();
        if let Err(failure) = store.forget_segments(&forget).await {
            tracing::warn!(%failure, "the kept sums of unsound segments are not deleted");
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
    let CampaignCheck { books, figures, .. } = check;
    Finding {
        campaign_id: books.id.0,
        total_stock: books.total_stock,
        committed_units: books.committed_units,
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
