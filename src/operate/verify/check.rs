//! The check of some campaigns in one snapshot of the store.

use super::figures::Figures;
use super::log_plan::LogPlan;
use super::plan::{Part, Plan};
use super::reading::{self, PurgedSegments, SegmentReading, read_logs, read_parts};
use super::usable_sums::UsableSums;
use super::{EventOrder, breaches};
use crate::domain::{CampaignId, Topic};
use crate::parts::store::{
    CampaignCounters, LogSums, Purged, RowSelection, Segment, Snapshot, StoreError, StoredLogSums,
    StoredSums,
};

/// The result for one campaign.
#[derive(Clone, Debug)]
pub(super) struct CampaignCheck {
    pub(super) counters: CampaignCounters,
    pub(super) figures: Figures,
    pub(super) breaches: Vec<String>,
    /// The stored sums may be wrong, and not the campaign.
    pub(super) is_doubtful: bool,
    /// Sums that may be stored.
    pub(super) sums_to_store: Vec<StoredSums>,
    pub(super) log_sums_to_store: Vec<StoredLogSums>,
    /// Segments whose stored sums are to be deleted.
    pub(super) forget: Vec<Segment>,
}

/// Checks these campaigns, which are in order of id. Missing campaigns are left out.
pub(super) async fn check(
    snapshot: &Snapshot,
    ids: &[CampaignId],
    order: EventOrder,
    usable_sums: &UsableSums,
) -> Result<Vec<CampaignCheck>, StoreError> {
    let (Some(first), Some(last)) = (ids.first(), ids.last()) else {
        return Ok(Vec::new());
    };
    let counters = snapshot.counters(ids).await?;
    let stored = snapshot.stored_sums(ids).await?;
    let stored_log_sums = snapshot.stored_log_sums(ids).await?;
    let of = |id: CampaignId| of_campaign(&stored, id, |stored| stored.segment);
    let plans: Vec<(CampaignCounters, Plan, LogPlan)> = counters
        .into_iter()
        .map(|counters| {
            let logs = of_campaign(&stored_log_sums, counters.id, |stored| stored.segment);
            let plan = Plan::of(&counters, of(counters.id), |stored| {
                usable_sums.ranks.has(stored.segment)
            });
            let log = LogPlan::of(&counters, logs, |stored| {
                usable_sums.logs.has(stored.segment)
            });
            (counters, plan, log)
        })
        .collect();
    let purged = snapshot.purged(ids).await?;
    let mut reads = read_parts(snapshot, &plans).await?;
    let mut log_reads = read_logs(snapshot, &plans).await?;
    let all: Vec<CampaignCounters> = plans.iter().map(|(counters, _, _)| *counters).collect();
    let waiting = snapshot.waiting(&all).await?;
    let campaign_events = snapshot.events_about(Topic::Campaign, ids).await?;
    let order_events = snapshot.events_about(Topic::Order, ids).await?;
    let mut checks = Vec::new();
    for (counters, plan, log) in plans {
        let reads = Reads {
            has_stored: !plan.stored.is_empty() || !log.stored.is_empty(),
            ranks: reads.remove(&counters.id).unwrap_or_default(),
            log: log_reads.remove(&counters.id).unwrap_or_default(),
        };
        let mut figures = figures(&counters, (&plan, &log), &reads, &purged);
        let id = &counters.id;
        figures.waiting = waiting.get(id).copied().unwrap_or_default();
        figures.campaign_events = campaign_events.get(id).copied().unwrap_or_default();
        figures.order_events = order_events.get(id).copied().unwrap_or_default();
        checks.push((counters, reads, figures));
    }
    // If every participation has one event, none can overtake another.
    let has_later = checks
        .iter()
        .any(|(_, _, figures)| figures.events > figures.participations);
    if order == EventOrder::Required && has_later {
        let overtaking = snapshot.overtaking(*first, *last).await?;
        for (counters, _, figures) in &mut checks {
            figures.overtaking = overtaking.get(&counters.id).copied().unwrap_or_default();
        }
    }
    let mut found = Vec::new();
    for (counters, reads, mut figures) in checks {
        let is_doubtful = reads.has_stored && !breaches::adds_up(&counters, &figures);
        if !is_doubtful {
            read_examples(snapshot, &counters, &reads.ranks, &mut figures).await?;
        }
        found.push(CampaignCheck {
            breaches: breaches::breaches(&counters, &figures),
            is_doubtful,
            sums_to_store: sums_to_store(snapshot, &counters, &reads.ranks, of(counters.id)),
            log_sums_to_store: final_logs(&counters, &reads.log),
            forget: unsound(&reads.ranks, of(counters.id)),
            counters,
            figures,
        });
    }
    Ok(found)
}

/// The stored sums of one campaign, from a list in order of campaign.
pub(super) fn of_campaign<T>(
    stored: &[T],
    id: CampaignId,
    segment: impl Fn(&T) -> Segment,
) -> &[T] {
    let from = stored.partition_point(|stored| segment(stored).campaign < id);
    let until = stored.partition_point(|stored| segment(stored).campaign <= id);
    stored.get(from..until).unwrap_or_default()
}

/// The sums read of one campaign.
struct Reads {
    /// Whether stored sums are used as well.
    has_stored: bool,
    ranks: Vec<SegmentReading>,
    log: Vec<(Part, LogSums)>,
}

fn figures(
    counters: &CampaignCounters,
    (plan, log_plan): (&Plan, &LogPlan),
    reads: &Reads,
    purged: &PurgedSegments,
) -> Figures {
    let stored = log_plan.stored.iter().map(StoredLogSums::sums);
    let read = reads.log.iter().map(|(_, sums)| *sums);
    let log = stored.chain(read).fold(LogSums::default(), LogSums::with);
    let reads = &reads.ranks;
    let mut figures = Figures {
        events: log.events,
        event_digest: log.digest,
        purged_counted: counters.purged_events,
        segments_kept: u64::try_from(plan.stored.len()).unwrap_or_default(),
        segments_read: u64::try_from(reads.len()).unwrap_or_default(),
        ..Figures::default()
    };
    for stored in &plan.stored {
        figures.participations += stored.participations;
        figures.units += stored.units;
        figures.changes += stored.changes;
        figures.change_digest = figures.change_digest.wrapping_add(stored.digest);
    }
    for read in reads {
        figures.participations += read.sums.participations;
        figures.units += read.sums.units;
        figures.changes += read.sums.changes;
        let digest = read.sums.change_digest;
        figures.change_digest = figures.change_digest.wrapping_add(digest);
    }
    for ((_, segment), purged) in purged.range((counters.id, i64::MIN)..=(counters.id, i64::MAX)) {
        match *segment {
            Purged::ABOUT_CAMPAIGN => figures.campaign_events_purged += purged.events,
            Purged::ABOUT_ORDERS => figures.order_events_purged += purged.events,
            _ => {
                figures.purged += purged.events;
                figures.events += purged.events;
                figures.event_digest = figures.event_digest.wrapping_add(purged.digest);
            }
        }
    }
    figures
}

/// Reads examples of the rows that break an invariant.
async fn read_examples(
    snapshot: &Snapshot,
    counters: &CampaignCounters,
    reads: &[SegmentReading],
    figures: &mut Figures,
) -> Result<(), StoreError> {
    let id = counters.id;
    if reads.iter().any(|read| read.is_over_limit) {
        figures.over_limit = snapshot.users_over_limit(id).await?;
    }
    if !figures.has_its_events() {
        let whole = RowSelection::Whole(std::slice::from_ref(&id));
        figures.without_change = snapshot.events_without_change(whole).await?;
        // After purging, missing and purged events look the same.
        if figures.purged == 0 {
            figures.without_event = snapshot.changes_without_event(whole).await?;
        }
    }
    if figures.waiting.astray > 0 {
        figures.astray = snapshot.entries_astray(id).await?;
    }
    if figures.overtaking > 0 {
        figures.overtaken = snapshot.overtaken(id).await?;
    }
    Ok(())
}

fn sums_to_store(
    snapshot: &Snapshot,
    counters: &CampaignCounters,
    reads: &[SegmentReading],
    before: &[StoredSums],
) -> Vec<StoredSums> {
    let complete = reads.iter().filter(|read| {
        reading::is_complete(snapshot, read.sums.newest)
            && read.part.is_final(counters)
            && !read.is_over_limit
    });
    complete
        .map(|read| {
            let segment = read.part.segment();
            let before = before.iter().find(|stored| stored.segment == segment);
            reading::stored_sums(counters, read, before.map_or(0, |stored| stored.generation))
        })
        .collect()
}

/// The sums of segments of a stream that get no more events.
fn final_logs(counters: &CampaignCounters, reads: &[(Part, LogSums)]) -> Vec<StoredLogSums> {
    let complete = reads.iter().filter(|(part, _)| part.is_final(counters));
    complete
        .map(|(part, sums)| reading::stored_log_sums(counters, part.segment(), *sums))
        .collect()
}

fn unsound(reads: &[SegmentReading], before: &[StoredSums]) -> Vec<Segment> {
    let unsound = reads.iter().filter(|read| read.is_over_limit);
    let segments = unsound.map(|read| read.part.segment());
    let is_stored = |segment: &Segment| {
        let mut valid = before.iter().filter(|stored| stored.is_valid);
        valid.any(|stored| stored.segment == *segment)
    };
    segments.filter(is_stored).collect()
}
