//! Reads the parts of campaigns from one snapshot of the store.

use std::collections::BTreeMap;
use std::time::Duration;

use super::log_plan::{LogPlan, last_of};
use super::plan::{Part, Plan};
use crate::domain::{CampaignId, Timestamp};
use crate::parts::store::{
    CampaignCounters, LogSums, Purged, RowSelection, Segment, Snapshot, StoreError, StoredLogSums,
    StoredSums, Sums,
};

/// How long after its last participation a segment is complete. A lease, which fixes the rank, lasts a quarter of that. A
/// later participation still changes the campaign's counters.
const COMPLETE_AFTER: Duration = Duration::from_secs(60);

/// Whether a segment with its newest participation at `newest` gets no further ones.
pub(super) fn is_complete(snapshot: &Snapshot, newest: Option<Timestamp>) -> bool {
    newest.is_none_or(|newest| snapshot.age_of(newest) > COMPLETE_AFTER)
}

/// A part and its sums.
#[derive(Clone, Copy, Debug)]
pub(super) struct SegmentReading {
    pub(super) part: Part,
    pub(super) sums: Sums,
    pub(super) is_over_limit: bool,
}

/// Purged events by campaign and segment.
pub(super) type PurgedSegments = BTreeMap<(CampaignId, i64), Purged>;

pub(super) async fn read(snapshot: &Snapshot, part: Part) -> Result<SegmentReading, StoreError> {
    let sums = snapshot.sums(part.selection()).await?;
    let sums = sums.get(&part.segment().campaign).copied();
    let mut read = SegmentReading {
        part,
        sums: sums.unwrap_or_default(),
        is_over_limit: false,
    };
    if read.sums.suspects > 0 {
        read.is_over_limit = !snapshot.over_limit(part.selection()).await?.is_empty();
    }
    Ok(read)
}

/// Reads the parts of these plans: all small campaigns at once, the parts of others one by one.
pub(super) async fn read_parts(
    snapshot: &Snapshot,
    plans: &[(CampaignCounters, Plan, LogPlan)],
) -> Result<BTreeMap<CampaignId, Vec<SegmentReading>>, StoreError> {
    let mut reads: BTreeMap<CampaignId, Vec<SegmentReading>> = BTreeMap::new();
    let mut small = Vec::new();
    for (counters, plan, _) in plans {
        for part in &plan.parts {
            if let Part::Whole(id) = part {
                small.push(*id);
            } else {
                let read = read(snapshot, *part).await?;
                reads.entry(counters.id).or_default().push(read);
            }
        }
    }
    if small.is_empty() {
        return Ok(reads);
    }
    let sums = snapshot.sums(RowSelection::Whole(&small)).await?;
    let suspects = |id: &&CampaignId| sums.get(id).is_some_and(|sums| sums.suspects > 0);
    let suspicious: Vec<CampaignId> = small.iter().filter(suspects).copied().collect();
    let over_limit = if suspicious.is_empty() {
        Vec::new()
    } else {
        snapshot
            .over_limit(RowSelection::Whole(&suspicious))
            .await?
    };
    for id in small {
        reads.entry(id).or_default().push(SegmentReading {
            part: Part::Whole(id),
            sums: sums.get(&id).copied().unwrap_or_default(),
            is_over_limit: over_limit.contains(&id),
        });
    }
    Ok(reads)
}

/// Reads the parts of the streams of these plans, in the same way.
pub(super) async fn read_logs(
    snapshot: &Snapshot,
    plans: &[(CampaignCounters, Plan, LogPlan)],
) -> Result<BTreeMap<CampaignId, Vec<(Part, LogSums)>>, StoreError> {
    let mut reads: BTreeMap<CampaignId, Vec<(Part, LogSums)>> = BTreeMap::new();
    let mut small = Vec::new();
    for (counters, _, log) in plans {
        for part in &log.parts {
            if let Part::Whole(id) = part {
                small.push(*id);
            } else {
                let sums = snapshot.log_sums_in(part.selection()).await?;
                reads.entry(counters.id).or_default().push((*part, sums));
            }
        }
    }
    if !small.is_empty() {
        let sums = snapshot.log_sums(&small).await?;
        for id in small {
            let sums = sums.get(&id).copied().unwrap_or_default();
            reads.entry(id).or_default().push((Part::Whole(id), sums));
        }
    }
    Ok(reads)
}

/// The sums of a part of a stream, to be stored.
pub(super) fn stored_log_sums(
    counters: &CampaignCounters,
    segment: Segment,
    sums: LogSums,
) -> StoredLogSums {
    StoredLogSums {
        segment,
        last: last_of(segment, counters),
        purged_events: counters.purged_events,
        events: sums.events,
        digest: sums.digest,
    }
}

/// The sums of a correct part, to be stored.
pub(super) fn stored_sums(
    counters: &CampaignCounters,
    read: &SegmentReading,
    generation: u64,
) -> StoredSums {
    StoredSums {
        segment: read.part.segment(),
        generation,
        participations: read.sums.participations,
        units: read.sums.units,
        changes: read.sums.changes,
        digest: read.sums.change_digest,
        per_user_limit: counters.per_user_limit,
        is_valid: true,
    }
}
