//! Compares the order of arrival with the order of processing. The order of arrival is that of the ranks, which the gate
//! assigns; the order of processing is that of the campaign's stream. So positions should ascend with the ranks; a lower
//! position than an earlier rank's belongs to a participation that was processed before an earlier arrival. The order of
//! publishing is not part of this: the relay counts events that it sends out of order.

mod cursor;

use std::time::{Duration, Instant};

pub use self::cursor::Cursor;
use super::{AggregateError, Aggregator};
use crate::domain::{Campaign, CampaignId};
use crate::parts::store::{Ordered, Store, StoreError};

/// Changes read in one statement.
const PAGE: u32 = 100_000;
/// Changes read for one answer.
const CHANGES_MAX: u64 = 100_000;

/// The kind of violation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ViolationKind {
    /// Two participations: the one that arrived later was processed earlier.
    Arrival,
    /// Two changes of a participation: the later one has the earlier event.
    Change,
}

/// A change that was processed before one that precedes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The kind of violation.
    pub kind: ViolationKind,
    /// The change.
    pub change: Ordered,
    /// The preceding change: of several, the one that was processed last.
    pub after: Ordered,
}

/// The analysis of a range of a campaign's ranks.
#[derive(Clone, Debug)]
pub struct OrderAnalysis {
    /// The campaign.
    pub campaign: Campaign,
    /// Duration of the analysis.
    pub took: Duration,
    /// The first and the last rank read; none: there are none.
    pub ranks: Option<(u64, u64)>,
    /// Changes read.
    pub changes: u64,
    /// Participations among them.
    pub participations: u64,
    /// Participations processed before an earlier arrival.
    pub arrival_violations: u64,
    /// Changes processed before an earlier one of their participation.
    pub change_violations: u64,
    /// Purged events.
    pub purged: u64,
    /// The first arrivals, each with its number in the order of processing.
    pub arrivals: Vec<(Ordered, u64)>,
    /// The next position; none: the end is reached.
    pub next: Option<Cursor>,
}

/// A page of violations.
#[derive(Clone, Debug)]
pub struct Violations {
    /// In order of arrival.
    pub items: Vec<Violation>,
    /// The next position; none: the end is reached.
    pub next: Option<Cursor>,
}

/// Whether a walk continues.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    On,
    Stop,
}

impl Aggregator {
    /// Analyses a bounded range of a campaign; the first `shown` arrivals are listed.
    pub async fn order_analysis(
        &self,
        id: CampaignId,
        cursor: Cursor,
        shown: usize,
    ) -> Result<OrderAnalysis, AggregateError> {
        let _permit = self.reading_permit()?;
        let store = &self.inner.dependencies.store;
        let began = Instant::now();
        let campaign = store.campaign(id).await?;
        let campaign = campaign.ok_or(AggregateError::UnknownCampaign)?;
        let mut analysis = OrderAnalysis {
            campaign,
            took: Duration::ZERO,
            ranks: None,
            changes: 0,
            participations: 0,
            arrival_violations: 0,
            change_violations: 0,
            purged: store.purged_count(id).await?,
            arrivals: Vec::new(),
            next: None,
        };
        let mut arrived: Vec<Ordered> = Vec::new();
        let next = walk(store, id, cursor, |change, violation| {
            analysis.changes += 1;
            let first = analysis.ranks.map_or(change.rank, |(first, _)| first);
            analysis.ranks = Some((first, change.rank));
            if change.sequence == 1 {
                analysis.participations += 1;
                arrived.push(change);
            }
            match violation.map(|violation| violation.kind) {
                Some(ViolationKind::Arrival) => analysis.arrival_violations += 1,
                Some(ViolationKind::Change) => analysis.change_violations += 1,
                None => {}
            }
            Step::On
        });
        analysis.next = next.await?;
        analysis.arrivals = numbered(arrived, shown);
        analysis.took = began.elapsed();
        Ok(analysis)
    }

    /// Lists violations; a page may have fewer than `limit`, or none, and still not be the last.
    pub async fn order_violations(
        &self,
        id: CampaignId,
        cursor: Cursor,
        limit: usize,
    ) -> Result<Violations, AggregateError> {
        let _permit = self.reading_permit()?;
        let store = &self.inner.dependencies.store;
        if store.campaign(id).await?.is_none() {
            return Err(AggregateError::UnknownCampaign);
        }
        let mut items = Vec::new();
        let next = walk(store, id, cursor, |_, violation| {
            items.extend(violation);
            if items.len() < limit {
                Step::On
            } else {
                Step::Stop
            }
        });
        let next = next.await?;
        Ok(Violations { items, next })
    }
}

/// Walks along a campaign's changes. Returns the next position, unless the end is reached.
async fn walk(
    store: &Store,
    id: CampaignId,
    mut at: Cursor,
    mut see: impl FnMut(Ordered, Option<Violation>) -> Step,
) -> Result<Option<Cursor>, StoreError> {
    let mut seen = 0;
    loop {
        let from = at.last.map_or(0, |last| last.rank);
        let page = store.changes_by_rank(id, from, PAGE).await?;
        let is_last = u32::try_from(page.len()).unwrap_or(u32::MAX) < PAGE;
        let before = at.last;
        let fresh = page.into_iter().filter(|change| {
            before.is_none_or(|last| (change.rank, change.sequence) > (last.rank, last.sequence))
        });
        for change in fresh {
            let violation = at.read(change);
            seen += 1;
            if see(change, violation) == Step::Stop || seen >= CHANGES_MAX {
                return Ok(Some(at));
            }
        }
        if is_last || at.last == before {
            return Ok(None);
        }
    }
}

/// The first arrivals, each with its number in the order of processing, from 1.
fn numbered(arrived: Vec<Ordered>, shown: usize) -> Vec<(Ordered, u64)> {
    let mut processed: Vec<u64> = arrived.iter().map(|change| change.position).collect();
    processed.sort_unstable();
    let number = |position: u64| {
        let nth = processed.partition_point(|other| *other < position);
        u64::try_from(nth).unwrap_or(u64::MAX).saturating_add(1)
    };
    let first = arrived.into_iter().take(shown);
    first
        .map(|change| (change, number(change.position)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::cursor::tests::change;
    use super::*;

    #[test]
    fn arrivals_have_their_place_in_the_order_of_processing() {
        let changes = vec![change(1, 1, 10), change(2, 1, 40), change(3, 1, 20)];
        let numbers: Vec<u64> = numbered(changes, 2)
            .iter()
            .map(|(_, number)| *number)
            .collect();
        assert_eq!(numbers, [1, 3]);
    }
}
