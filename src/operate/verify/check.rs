//! The check of some campaigns in one snapshot of the store.

use super::EventOrder;
use super::breaches;
use super::figures::Figures;
use super::plan::Plan;
use super::reading::{self, PurgedSegments, Reading, read_parts};
use crate::domain::CampaignId;
use crate::parts::store::{Books, Kept, Segment, Snapshot, StoreError};

/// Examples reported per campaign, and parts that are read for them.
const EXAMPLES_MAX: usize = 5;
const EXAMPLE_PARTS_MAX: usize = 5;

/// The result for one campaign.
#[derive(Clone, Debug)]
pub(super) struct CampaignCheck {
    pub(super) books: Books,
    pub(super) figures: Figures,
    pub(super) breaches: Vec<String>,
    /// Kept sums may be wrong, not the campaign.
    pub(super) is_doubtful: bool,
    /// Sums that may be kept.
    pub(super) keep: Vec<Kept>,
    /// Segments whose kept sums are to be deleted.
    pub(super) forget: Vec<Segment>,
}

/// Checks these campaigns, which are in order of id. A campaign that does not exist is left out.
pub(super) async fn check(
    snapshot: &Snapshot,
    ids: &[CampaignId],
    order: EventOrder,
    is_trusted: impl Fn(&Kept) -> bool,
) -> Result<Vec<CampaignCheck>, StoreError> {
    let (Some(first), Some(last)) = (ids.first(), ids.last()) else {
        return Ok(Vec::new());
    };
    let books = snapshot.books(ids).await?;
    let kept = snapshot.kept(ids).await?;
    let of = |id: CampaignId| kept_of(&kept, id);
    let plans: Vec<(Books, Plan)> = books
        .into_iter()
        .map(|books| (books, Plan::of(&books, of(books.id), &is_trusted)))
        .collect();
    let purged = snapshot.purged(ids).await?;
    let mut reads = read_parts(snapshot, &plans, &purged).await?;
    let campaign_events = snapshot.campaign_events(ids).await?;
    let waiting = snapshot.waiting(*first, *last).await?;
    let mut checks = Vec::new();
    for (books, plan) in plans {
        let reads = reads.remove(&books.id).unwrap_or_default();
        let mut figures = figures(&books, &plan, &reads, &purged);
        figures.campaign_events = campaign_events.get(&books.id).copied().unwrap_or_default();
        figures.waiting = waiting.get(&books.id).copied().unwrap_or_default();
        checks.push((books, plan, reads, figures));
    }
    // Where every participation has one event, none can overtake another.
    let has_later = checks.iter().any(|(_, _, _, figures)| {
        figures.events > figures.participations || figures.unsound_parts > 0
    });
    if order == EventOrder::Required && has_later {
        let overtaking = snapshot.overtaking(*first, *last).await?;
        for (books, _, _, figures) in &mut checks {
            figures.overtaking = overtaking.get(&books.id).copied().unwrap_or_default();
        }
    }
    let mut found = Vec::new();
    for (books, plan, reads, mut figures) in checks {
        read_examples(snapshot, &books, &reads, &mut figures).await?;
        found.push(CampaignCheck {
            breaches: breaches::breaches(&books, &figures),
            is_doubtful: !plan.kept.is_empty() && !breaches::adds_up(&books, &figures),
            keep: worth_keeping(snapshot, &books, &reads, of(books.id)),
            forget: unsound(&reads, of(books.id)),
            books,
            figures,
        });
    }
    Ok(found)
}

/// The kept sums of one campaign, from a list in order of campaign.
pub(super) fn kept_of(kept: &[Kept], id: CampaignId) -> &[Kept] {
    let from = kept.partition_point(|kept| kept.segment.campaign < id);
    let until = kept.partition_point(|kept| kept.segment.campaign <= id);
    kept.get(from..until).unwrap_or_default()
}

fn figures(books: &Books, plan: &Plan, reads: &[Reading], purged: &PurgedSegments) -> Figures {
    let mut figures = Figures {
        purged_counted: books.purged_events,
        segments_kept: u64::try_from(plan.kept.len()).unwrap_or_default(),
        segments_read: u64::try_from(reads.len()).unwrap_or_default(),
        ..Figures::default()
    };
    for kept in &plan.kept {
        figures.participations += kept.participations;
        figures.units += kept.units;
        figures.changes += kept.changes;
        figures.events += kept.changes;
    }
    for read in reads {
        figures.participations += read.sums.participations;
        figures.units += read.sums.units;
        figures.changes += read.sums.changes;
        figures.events += read.sums.events + read.purged.events;
        figures.unsound_parts += u64::from(!read.has_its_events());
    }
    for ((_, number), purged) in purged.range((books.id, None)..=(books.id, Some(u64::MAX))) {
        figures.purged_in_all += purged.events;
        figures.purged += number.map_or(0, |_| purged.events);
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
    let without = reads.iter().filter(|read| !read.has_its_events());
    for read in without.take(EXAMPLE_PARTS_MAX) {
        let ground = read.part.ground();
        let foreign = snapshot.events_without_change(ground).await?;
        figures.without_change.extend(foreign);
        // After purging, missing and purged events look the same.
        if read.purged.events == 0 {
            let missing = snapshot.changes_without_event(ground).await?;
            figures.without_event.extend(missing);
        }
    }
    figures.without_event.truncate(EXAMPLES_MAX);
    figures.without_change.truncate(EXAMPLES_MAX);
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
            && read.part.may_rest(books)
            && read.is_sound()
    });
    complete
        .map(|read| {
            let segment = read.part.segment();
            let before = before.iter().find(|kept| kept.segment == segment);
            reading::kept(books, read, before.map_or(0, |kept| kept.generation))
        })
        .collect()
}

fn unsound(reads: &[Reading], before: &[Kept]) -> Vec<Segment> {
    let unsound = reads.iter().filter(|read| !read.is_sound());
    let segments = unsound.map(|read| read.part.segment());
    let is_kept = |segment: &Segment| {
        let mut valid = before.iter().filter(|kept| kept.is_valid);
        valid.any(|kept| kept.segment == *segment)
    };
    segments.filter(is_kept).collect()
}
