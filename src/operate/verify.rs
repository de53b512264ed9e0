//! Verifies the invariants on a running system, per campaign: what the gate admitted = participations
//! = outbox = published + parked + pending, nobody over their limit, nothing oversold, no event before
//! an earlier one of its participation. An event that was published and deleted since counts as both.
//!
//! What is said of a campaign comes from one snapshot of the store, so no traffic can make a sound
//! campaign look wrong. So that snapshots are short and little is read, old stretches are read
//! beforehand (`sealing`) and what they sum up to is kept until a participation in them changes; a
//! share of them is read again each time, so that what nobody announced is found, too. Where kept sums
//! and a campaign's counters do not agree, nothing is said before all of that campaign was read again
//! in one snapshot.

mod gate;
mod grants;
mod judge;
mod look;
mod plan;
mod sealing;
mod table;

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Serialize;

pub use self::grants::{Grants, Keys};
pub use self::table::table;

use self::look::{Looked, kept_of};
use self::plan::Plan;
use super::{ReconcileError, Reconciler};
use crate::domain::CampaignId;
use crate::parts::gate::GateState;
use crate::parts::store::{Books, Kept, SEGMENT_RANKS, Segment, Store, StoreError};

/// Campaigns read in one page.
const PAGE: u32 = 1_000;
/// Campaigns and participations that are looked at in one snapshot, unless one campaign alone has more.
const LOOK_CAMPAIGNS_MAX: usize = 500;
const LOOK_ROWS_MAX: u64 = 4 * SEGMENT_RANKS;
/// Statements that run at once.
const PARALLEL: usize = 2;
/// Questions to the gate that are under way at once.
const GATE_PARALLEL: usize = 16;
/// Each run reads this share of what is kept again: in an hour of runs a minute apart, all of it.
const AGAIN_SHARE: u32 = 60;
/// What is older than this is read again in any case.
const AGE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// What is verified, and how thoroughly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Only this one; none: all, archived ones included.
    pub campaign: Option<CampaignId>,
    /// What is read.
    pub depth: Depth,
    /// Whether events of a participation wait for each other.
    pub order: Order,
}

/// How much is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Depth {
    /// What is new, what has changed, and a share of the rest.
    #[default]
    Due,
    /// Everything.
    Full,
}

/// Whether later events of a participation wait for an earlier one that cannot be published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// They wait, so one that does not is a breach.
    #[default]
    Kept,
    /// They pass, because the relay is configured so.
    Skipped,
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

impl Reconciler {
    /// Verifies every campaign.
    pub async fn verify(&self) -> Result<Vec<Finding>, ReconcileError> {
        self.verify_within(&Scope::default()).await
    }

    /// Verifies what the scope says; the findings are in order of campaign.
    pub async fn verify_within(&self, scope: &Scope) -> Result<Vec<Finding>, ReconcileError> {
        let due = match scope.depth {
            Depth::Due => self.store.segments_due(AGAIN_SHARE, AGE_MAX).await?,
            Depth::Full => HashSet::new(),
        };
        let mut run = Run {
            reconciler: self,
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
    reconciler: &'a Reconciler,
    scope: Scope,
    /// Segments that are to be read again.
    due: HashSet<Segment>,
    /// Segments that were, in this run.
    fresh: HashSet<Segment>,
}

impl Run<'_> {
    fn trusts(&self, kept: &Kept) -> bool {
        self.fresh.contains(&kept.segment)
            || (self.scope.depth == Depth::Due && !self.due.contains(&kept.segment))
    }

    async fn page(&mut self, books: &[Books]) -> Result<Vec<Finding>, ReconcileError> {
        let store = &self.reconciler.store;
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
            .map(|part| sealing::seal(store, part))
            .buffer_unordered(PARALLEL)
            .try_collect()
            .await?;
        self.fresh.extend(sealed.into_iter().flatten());
        // What was sealed just now counts as known, so the second plan says what is left to read.
        let kept = store.kept(&ids).await?;
        let rows = books.iter().map(|books| {
            let kept = kept_of(&kept, books.id);
            let plan = Plan::of(books, kept, |kept| self.trusts(kept));
            (books.id, plan.rows(books))
        });
        let looks = looks(rows);
        let run = &*self;
        let findings: Vec<Vec<Finding>> = stream::iter(looks)
            .map(|ids| async move { run.findings(&ids).await })
            .buffered(PARALLEL)
            .try_collect()
            .await?;
        Ok(findings.into_iter().flatten().collect())
    }

    async fn findings(&self, ids: &[CampaignId]) -> Result<Vec<Finding>, ReconcileError> {
        let gates = self.gates(ids).await?;
        let looked = self.look(ids, |kept| self.trusts(kept)).await?;
        let mut findings = Vec::new();
        for looked in looked {
            let id = looked.books.id;
            let again = if looked.is_doubtful {
                let again = self.look(&[id], |_| false).await?;
                again.into_iter().next().unwrap_or(looked)
            } else {
                looked
            };
            let gate = gates.get(&id).copied().flatten();
            let breach = self.reconciler.gate_breach(&again.books, gate).await?;
            findings.push(finding(again, gate, breach));
        }
        Ok(findings)
    }

    /// Looks at campaigns in a snapshot, and keeps what can be kept of it.
    async fn look(
        &self,
        ids: &[CampaignId],
        is_trusted: impl Fn(&Kept) -> bool,
    ) -> Result<Vec<Looked>, StoreError> {
        let store = &self.reconciler.store;
        let snapshot = store.snapshot().await?;
        let looked = look::look(&snapshot, ids, self.scope.order, is_trusted).await?;
        snapshot.end_current().await?;
        let worth = looked.iter().filter(|looked| !looked.is_doubtful);
        let kept: Vec<Kept> = worth.flat_map(|looked| looked.keep.clone()).collect();
        keep(store, &kept).await;
        let forget: Vec<Segment> = looked
            .iter()
            .flat_map(|looked| looked.forget.clone())
            .collect();
        if let Err(failure) = store.forget_segments(&forget).await {
            tracing::warn!(%failure, "sums of unsound segments not forgotten");
        }
        Ok(looked)
    }

    async fn gates(
        &self,
        ids: &[CampaignId],
    ) -> Result<BTreeMap<CampaignId, Option<GateState>>, ReconcileError> {
        let gate = &self.reconciler.gate;
        stream::iter(ids.to_vec())
            .map(|id| async move { Ok((id, gate.inspect(id).await?)) })
            .buffer_unordered(GATE_PARALLEL)
            .try_collect()
            .await
    }
}

/// Keeps sums; whether they are. It goes on without: they save work and prove nothing, and whoever
/// verifies need not be allowed to write.
async fn keep(store: &Store, kept: &[Kept]) -> bool {
    if kept.is_empty() {
        return true;
    }
    match store.keep_segments(kept).await {
        Ok(()) => true,
        Err(failure) => {
            tracing::debug!(%failure, "sums of sound segments not kept");
            false
        }
    }
}

/// Campaigns in order, cut into looks.
fn looks(campaigns: impl Iterator<Item = (CampaignId, u64)>) -> Vec<Vec<CampaignId>> {
    let mut looks: Vec<Vec<CampaignId>> = Vec::new();
    let mut room = 0;
    for (id, rows) in campaigns {
        match looks.last_mut() {
            Some(look) if rows <= room && look.len() < LOOK_CAMPAIGNS_MAX => {
                look.push(id);
                room -= rows;
            }
            _ => {
                looks.push(vec![id]);
                room = LOOK_ROWS_MAX.saturating_sub(rows);
            }
        }
    }
    looks
}

fn finding(looked: Looked, gate: Option<GateState>, gate_breach: Option<String>) -> Finding {
    let Looked { books, figures, .. } = looked;
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
        breaches: looked.breaches.into_iter().chain(gate_breach).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn campaigns_are_looked_at_together_up_to_a_bound() {
        let small = (1..=1_200).map(|id| (CampaignId(id), 10));
        let sizes: Vec<usize> = looks(small).iter().map(Vec::len).collect();
        assert_eq!(sizes, [500, 500, 200]);
        let rows = [1, LOOK_ROWS_MAX, 1, LOOK_ROWS_MAX * 9, 1, 1];
        let large = (1..).map(CampaignId).zip(rows);
        let sizes: Vec<usize> = looks(large).iter().map(Vec::len).collect();
        assert_eq!(sizes, [1, 1, 1, 1, 2]);
    }
}
