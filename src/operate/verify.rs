//! Verifies the invariants on a running system, per campaign: what the gate admitted = participations
//! = outbox = published + parked + pending, nobody over their limit, nothing oversold, no event before
//! an earlier one of its participation. An event that was published and deleted since counts as both.
//!
//! A campaign is checked in one snapshot of the store, so traffic cannot make a sound campaign look wrong. To
//! keep snapshots short, old segments are read beforehand (`seal`), and their sums are kept until a
//! participation in them changes; each run reads a share of them again, so that it finds unannounced changes,
//! too. Where kept sums and a campaign's counters differ, all of that campaign is read again in one snapshot
//! before anything is reported.

mod breaches;
mod check;
mod figures;
mod gate;
mod grants;
mod plan;
mod reading;
mod seal;
mod table;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Serialize;

pub use self::grants::{Grants, Keys};
pub use self::table::table;

use self::check::{CampaignCheck, check, kept_of};
use self::plan::Plan;
use crate::domain::CampaignId;
use crate::parts::gate::{Gate, GateError, GateState};
use crate::parts::store::{Books, Kept, SEGMENT_RANKS, Segment, Store, StoreError};

/// Campaigns read in one page.
const PAGE: u32 = 1_000;
/// Campaigns and participations checked in one snapshot, unless one campaign alone has more.
const SNAPSHOT_CAMPAIGNS_MAX: usize = 500;
const SNAPSHOT_ROWS_MAX: u64 = 4 * SEGMENT_RANKS;
/// Statements that run at once.
const PARALLEL: usize = 2;
/// Concurrent calls of the gate.
const GATE_PARALLEL: usize = 16;
/// One in so many kept segments is read again in each run: all of them in an hour of runs a minute apart.
const AGAIN_SHARE: u32 = 60;
/// Kept sums that are older are always read again.
const AGE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Why the invariants could not be verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The store did not answer.
    #[error("read the campaigns")]
    Store(#[from] StoreError),
    /// The gate did not answer.
    #[error("read the gate's state")]
    Gate(#[from] GateError),
}

/// What is verified, and how thoroughly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Only this campaign; none: all, archived ones included.
    pub campaign: Option<CampaignId>,
    /// How much is read.
    pub depth: Depth,
    /// Whether events of a participation have to be published in order.
    pub order: EventOrder,
}

/// How much is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Depth {
    /// New and changed segments, and a share of the rest.
    #[default]
    Incremental,
    /// Everything.
    Full,
}

/// Whether a later event of a participation has to wait for an earlier one that cannot be published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EventOrder {
    /// It has to: an event out of order is a breach.
    #[default]
    Required,
    /// It does not: the relay is configured to skip.
    NotRequired,
}

/// One campaign's figures and what is wrong with them. Events, published and purged are those about
/// participations; pending and parked are all.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "each field is the figure of that name")]
pub struct Finding {
    pub campaign_id: i64,
    pub total_stock: Option<u64>,
    pub committed_units: u64,
    pub gate_units: Option<u64>,
    pub gate_leases: Option<u64>,
    pub participations: u64,
    pub changes: u64,
    pub events: u64,
    pub published: u64,
    pub purged: u64,
    pub pending: u64,
    pub parked: u64,
    pub campaign_events: u64,
    pub segments_read: u64,
    pub segments_kept: u64,
    pub breaches: Vec<String>,
}

/// Verifies the campaigns of a store and a gate.
#[derive(Clone)]
pub struct Verification {
    store: Store,
    gate: Arc<dyn Gate>,
}

impl Verification {
    /// A verification of this store and this gate.
    #[must_use]
    pub fn new(store: Store, gate: Arc<dyn Gate>) -> Self {
        Self { store, gate }
    }

    /// Verifies every campaign.
    pub async fn run(&self) -> Result<Vec<Finding>, VerifyError> {
        self.run_within(&Scope::default()).await
    }

    /// Verifies what the scope includes; the findings are in order of campaign.
    pub async fn run_within(&self, scope: &Scope) -> Result<Vec<Finding>, VerifyError> {
        let due = match scope.depth {
            Depth::Incremental => self.store.segments_due(AGAIN_SHARE, AGE_MAX).await?,
            Depth::Full => HashSet::new(),
        };
        let mut run = Run {
            verification: self,
            scope: *scope,
            due,
            fresh: HashSet::new(),
        };
        if let Some(id) = scope.campaign {
            let books: Vec<Books> = self.store.books_of(id).await?.into_iter().collect();
            return run.page(&books).await;
        }
        let mut findings = Vec::new();
        let mut after = None;
        loop {
            let page = self.store.books(after, PAGE).await?;
            findings.extend(run.page(&page).await?);
            after = page.last().map(|books| books.id);
            if page.len() < usize::try_from(PAGE).unwrap_or_default() {
                break;
            }
        }
        for (id, what) in self.store.strays().await? {
            findings.push(Finding {
                campaign_id: id.0,
                breaches: vec![format!(
                    "I3 there are {what} of a campaign that is not there"
                )],
                ..Finding::default()
            });
        }
        Ok(findings)
    }
}

/// One run of verification.
struct Run<'a> {
    verification: &'a Verification,
    scope: Scope,
    /// Segments to be read again.
    due: HashSet<Segment>,
    /// Segments read in this run.
    fresh: HashSet<Segment>,
}

impl Run<'_> {
    fn trusts(&self, kept: &Kept) -> bool {
        self.fresh.contains(&kept.segment)
            || (self.scope.depth == Depth::Incremental && !self.due.contains(&kept.segment))
    }

    async fn page(&mut self, books: &[Books]) -> Result<Vec<Finding>, VerifyError> {
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
            .map(|part| seal::seal(store, part))
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

/// Keeps sums, and returns whether that succeeded. A failure is no error: kept sums only save work, and the
/// user who verifies may have no right to write.
async fn keep(store: &Store, kept: &[Kept]) -> bool {
    if kept.is_empty() {
        return true;
    }
    match store.keep_segments(kept).await {
        Ok(()) => true,
        Err(failure) => {
            tracing::debug!(%failure, "the sums of sound segments are not kept");
            false
        }
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
