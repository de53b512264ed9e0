//! The check of some campaigns in one snapshot of the store.

use super::figures::Figures;
use super::log_plan::LogPlan;
use super::plan::{Part, Plan};
use super::reading::{self, PurgedSegments, Reading, read_logs, read_parts};
use super::trust::Trust;
use super::{EventOrder, breaches};
use crate::domain::{CampaignId, Topic};
use crate::parts::store::{Books, Ground, Kept, KeptLog, LogSums, Segment, Snapshot, StoreError};

/// The result for one campaign.
#[derive(Clone, Debug)]
pub(super) struct CampaignCheck {
    pub(super) books: Books,
    pub(super) figures: Figures,
    pub(super) breaches: Vec<String>,
    /// The stored sums may be wrong, and not the campaign.
    pub(super) is_doubtful: bool,
    /// Sums that may be stored.
    pub(super) keep: Vec<Kept>,
    pub(super) keep_logs: Vec<KeptLog>,
    /// Segments whose stored sums are to be deleted.
    pub(super) forget: Vec<Segment>,
}

/// Checks these campaigns, which are in order of id. Missing campaigns are left out.
pub(super) async fn check(
    snapshot: &Snapshot,
    ids: &[CampaignId],
    order: EventOrder,
    trust: &Trust,
) -> Result<Vec<CampaignCheck>, StoreError> {
    let (Some(first), Some(last)) = (ids.first(), ids.last()) else {
        return Ok(Vec::new());
    };
    let books = snapshot.books(ids).await?;
    let kept = snapshot.kept(ids).await?;
    let kept_logs = snapshot.kept_logs(ids).await?;
    let of = |id: CampaignId| of_campaign(&kept, id, |kept| kept.segment);
    let plans: Vec<(Books, Plan, LogPlan)> = books
        .into_iter()
        .map(|books| {
            let logs = of_campaign(&kept_logs, books.id, |kept| kept.segment);
            let plan = Plan::of(&books, of(books.id), |kept| trust.ranks.has(kept.segment));
            let log = LogPlan::of(&books, logs, |kept| trust.logs.has(kept.segment));
            (books, plan, log)
        })
        .collect();
    let purged = snapshot.purged(ids).await?;
    let mut reads = read_parts(snapshot, &plans).await?;
    let mut log_reads = read_logs(snapshot, &plans).await?;
    let all: Vec<Books> = plans.iter().map(|(books, _, _)| *books).collect();
    let waiting = snapshot.waiting(&all).await?;
    let campaign_events = snapshot.events_about(Topic::Campaign, ids).await?;
    let order_events = snapshot.events_about(Topic::Order, ids).await?;
    let mut checks = Vec::new();
    for (books, plan, log) in plans {
        let reads = Reads {
            has_kept: !plan.kept.is_empty() || !log.kept.is_empty(),
            ranks: reads.remove(&books.id).unwrap_or_default(),
            log: log_reads.remove(&books.id).unwrap_or_default(),
        };
        let mut figures = figures(&books, (&plan, &log), &reads, &purged);
        figures.waiting = waiting.get(&books.id).copied().unwrap_or_default();
        figures.campaign_events = campaign_events.get(&books.id).copied().unwrap_or_default();
        figures.order_events = order_events.get(&books.id).copied().unwrap_or_default();
        checks.push((books, reads, figures));
    }
    // If every participation has one event, none can overtake another.
    let has_later = checks
        .iter()
        .any(|(_, _, figures)| figures.events > figures.participations);
    if order == EventOrder::Required && has_later {
        let overtaking = snapshot.overtaking(*first, *last).await?;
        for (books, _, figures) in &mut checks {
            figures.overtaking = overtaking.get(&books.id).copied().unwrap_or_default();
        }
    }
    let mut found = Vec::new();
    for (books, reads, mut figures) in checks {
        let is_doubtful = reads.has_kept && !breaches::adds_up(&books, &figures);
        if !is_doubtful {
            read_examples(snapshot, &books, &reads.ranks, &mut figures).await?;
        }
        found.push(CampaignCheck {
            breaches: breaches::breaches(&books, &figures),
            is_doubtful,
            keep: worth_keeping(snapshot, &books, &reads.ranks, of(books.id)),
            keep_logs: final_logs(&books, &reads.log),
            forget: unsound(&reads.ranks, of(books.id)),
            books,
            figures,
        });
    }
    Ok(found)
}

/// The stored sums of one campaign, from a list in order of campaign.
pub(super) fn of_campaign<T>(kept: &[T], id: CampaignId, segment: impl Fn(&T) -> Segment) -> &[T] {
    let from = kept.partition_point(|kept| segment(kept).campaign < id);
    let until = kept.partition_point(|kept| segment(kept).campaign <= id);
    kept.get(from..until).unwrap_or_default()
}

/// The sums read of one campaign.
struct Reads {
    /// Whether stored sums are used as well.
    has_kept: bool,
    ranks: Vec<Reading>,
    log: Vec<(Part, LogSums)>,
}

fn figures(
    books: &Books,
    (plan, log_plan): (&Plan, &LogPlan),
    reads: &Reads,
    purged: &PurgedSegments,
) -> Figures {
    let kept = log_plan.kept.iter().map(KeptLog::sums);
    let read = reads.log.iter().map(|(_, sums)| *sums);
    let log = kept.chain(read).fold(LogSums::default(), LogSums::with);
    let reads = &reads.ranks;
    let mut figures = Figures {
        events: log.events,
        event_digest: log.digest,
        purged_counted: books.purged_events,
        segments_kept: u64::try_from(plan.kept.len()).unwrap_or_default(),
        segments_read: u64::try_from(reads.len()).unwrap_or_default(),
        ..Figures::default()
    };
    for kept in &plan.kept {
        figures.participations += kept.participations;
        figures.units += kept.units;
        figures.changes += kept.changes;
        figures.change_digest = figures.change_digest.wrapping_add(kept.digest);
    }
    for read in reads {
        figures.participations += read.sums.participations;
        figures.units += read.sums.units;
        figures.changes += read.sums.changes;
        let digest = read.sums.change_digest;
        figures.change_digest = figures.change_digest.wrapping_add(digest);
    }
    for ((_, segment), purged) in purged.range((books.id, i64::MIN)..=(books.id, i64::MAX)) {
        if *segment >= 0 {
            figures.purged += purged.events;
            figures.events += purged.events;
            figures.event_digest = figures.event_digest.wrapping_add(purged.digest);
        } else if *segment == -1 {
            figures.campaign_events_purged += purged.events;
        } else {
            figures.order_events_purged += purged.events;
        }
    }
    figures
}

/// Reads examples of the rows that break an invariant.
async fn read_examples(
    snapshot: &Snapshot,
    books: &Books,
    reads: &[Reading],
    figures: &mut Figures,
) -> Result<(), StoreError> {
    let id = books.id;
    if reads.iter().any(|read| read.is_over_limit) {
        figures.over_limit = snapshot.users_over_limit(id).await?;
    }
    if !figures.has_its_events() {
        let whole = Ground::Whole(std::slice::from_ref(&id));
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

fn worth_keeping(
    snapshot: &Snapshot,
    books: &Books,
    reads: &[Reading],
    before: &[Kept],
) -> Vec<Kept> {
    let complete = reads.iter().filter(|read| {
        reading::is_complete(snapshot, read.sums.newest)
            && read.part.is_final(books)
            && !read.is_over_limit
    });
    complete
        .map(|read| {
            let segment = read.part.segment();
            let before = before.iter().find(|kept| kept.segment == segment);
            reading::kept(books, read, before.map_or(0, |kept| kept.generation))
        })
        .collect()
}

/// The sums of segments of a stream that get no more events.
fn final_logs(books: &Books, reads: &[(Part, LogSums)]) -> Vec<KeptLog> {
    let complete = reads.iter().filter(|(part, _)| part.is_final(books));
    complete
        .map(|(part, sums)| reading::kept_log(books, part.segment(), *sums))
        .collect()
}

fn unsound(reads: &[Reading], before: &[Kept]) -> Vec<Segment> {
    let unsound = reads.iter().filter(|read| read.is_over_limit);
    let segments = unsound.map(|read| read.part.segment());
    let is_kept = |segment: &Segment| {
        let mut valid = before.iter().filter(|kept| kept.is_valid);
        valid.any(|kept| kept.segment == *segment)
    };
    segments.filter(is_kept).collect()
}
