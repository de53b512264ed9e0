//! One look at some campaigns: everything of them that has to be read, from one snapshot of the store.

use std::collections::BTreeMap;

use super::Order;
use super::judge;
use super::plan::{Part, Plan};
use super::sealing;
use crate::domain::{CampaignId, EventId, ParticipationId, UserId};
use crate::parts::store::{
    Books, Ground, Kept, Purged, Segment, Snapshot, StoreError, Sums, Waiting,
};

/// What a campaign sums up to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Figures {
    pub(super) participations: u64,
    pub(super) units: u64,
    pub(super) changes: u64,
    /// Events about participations, those that are deleted included.
    pub(super) events: u64,
    /// Of those, deleted.
    pub(super) purged: u64,
    /// Deleted events, also those about the campaign itself, by segment and by its own counter.
    pub(super) purged_in_all: u64,
    pub(super) purged_counted: u64,
    pub(super) campaign_events: u64,
    pub(super) waiting: Waiting,
    pub(super) segments_kept: u64,
    pub(super) segments_read: u64,
    /// Parts whose events are not those of their changes.
    pub(super) unsound_parts: u64,
    pub(super) overtaking: u64,
    /// A few of those that break an invariant.
    pub(super) over_limit: (u64, Vec<(UserId, u64)>),
    pub(super) without_event: Vec<ParticipationId>,
    pub(super) without_change: Vec<EventId>,
    pub(super) astray: Vec<EventId>,
    pub(super) overtaken: Vec<(EventId, EventId)>,
}

impl Figures {
    pub(super) fn waiting_of_participations(&self) -> u64 {
        let waiting = self.waiting.pending + self.waiting.parked;
        waiting.saturating_sub(self.waiting.of_campaign)
    }

    pub(super) fn events_there(&self) -> u64 {
        self.events.saturating_sub(self.purged)
    }

    pub(super) fn published(&self) -> u64 {
        self.events.saturating_sub(self.waiting_of_participations())
    }
}

/// A part that was read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Read {
    pub(super) part: Part,
    pub(super) sums: Sums,
    purged: Purged,
    is_over_limit: bool,
}

impl Read {
    /// Whether each change has its event, and each event its change.
    fn has_its_events(&self) -> bool {
        let Self { sums, purged, .. } = self;
        sums.changes == sums.events + purged.events
            && sums.change_digest == sums.event_digest.wrapping_add(purged.digest)
    }

    pub(super) fn is_sound(&self) -> bool {
        self.has_its_events() && !self.is_over_limit
    }
}

/// What a look found of one campaign.
#[derive(Clone, Debug)]
pub(super) struct Looked {
    pub(super) books: Books,
    pub(super) figures: Figures,
    pub(super) breaches: Vec<String>,
    /// What may be wrong are sums that were kept.
    pub(super) is_doubtful: bool,
    /// Sums that may be kept.
    pub(super) keep: Vec<Kept>,
    /// Segments whose sums may not.
    pub(super) forget: Vec<Segment>,
}

/// What of the campaigns' deleted events is where.
pub(super) type PurgedSegments = BTreeMap<(CampaignId, Option<u64>), Purged>;

/// Looks at these campaigns, which are in order of id. One that is not there is left out.
pub(super) async fn look(
    snapshot: &Snapshot,
    ids: &[CampaignId],
    order: Order,
    is_trusted: impl Fn(&Kept) -> bool,
) -> Result<Vec<Looked>, StoreError> {
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
    let mut looked = Vec::new();
    for (books, plan) in plans {
        let reads = reads.remove(&books.id).unwrap_or_default();
        let mut figures = figures(&books, &plan, &reads, &purged);
        figures.campaign_events = campaign_events.get(&books.id).copied().unwrap_or_default();
        figures.waiting = waiting.get(&books.id).copied().unwrap_or_default();
        looked.push((books, plan, reads, figures));
    }
    // Where every participation has one event, none can overtake another.
    let has_later = looked.iter().any(|(_, _, _, figures)| {
        figures.events > figures.participations || figures.unsound_parts > 0
    });
    if order == Order::Kept && has_later {
        let overtaking = snapshot.overtaking(*first, *last).await?;
        for (books, _, _, figures) in &mut looked {
            figures.overtaking = overtaking.get(&books.id).copied().unwrap_or_default();
        }
    }
    let mut found = Vec::new();
    for (books, plan, reads, mut figures) in looked {
        name_offenders(snapshot, &books, &reads, &mut figures).await?;
        found.push(Looked {
            breaches: judge::breaches(&books, &figures),
            is_doubtful: !plan.kept.is_empty() && !judge::adds_up(&books, &figures),
            keep: worth_keeping(snapshot, &books, &reads, of(books.id)),
            forget: unsound(&reads, of(books.id)),
            books,
            figures,
        });
    }
    Ok(found)
}

/// What is kept of one campaign, of all that is, which is in order.
pub(super) fn kept_of(kept: &[Kept], id: CampaignId) -> &[Kept] {
    let from = kept.partition_point(|kept| kept.segment.campaign < id);
    let until = kept.partition_point(|kept| kept.segment.campaign <= id);
    kept.get(from..until).unwrap_or_default()
}

/// Reads one part.
pub(super) async fn read(
    snapshot: &Snapshot,
    part: Part,
    purged: &PurgedSegments,
) -> Result<Read, StoreError> {
    let sums = snapshot.sums(part.ground()).await?;
    let sums = sums.get(&part.segment().campaign).copied();
    let mut read = with_purged(part, sums.unwrap_or_default(), purged);
    if read.sums.suspects > 0 {
        read.is_over_limit = !snapshot.over_limit(part.ground()).await?.is_empty();
    }
    Ok(read)
}

/// Reads what the plans say: all small campaigns at once, of the others one part after the other.
async fn read_parts(
    snapshot: &Snapshot,
    plans: &[(Books, Plan)],
    purged: &PurgedSegments,
) -> Result<BTreeMap<CampaignId, Vec<Read>>, StoreError> {
    let mut reads: BTreeMap<CampaignId, Vec<Read>> = BTreeMap::new();
    let mut small = Vec::new();
    for (books, plan) in plans {
        for part in &plan.parts {
            if let Part::Whole(id) = part {
                small.push(*id);
            } else {
                let read = read(snapshot, *part, purged).await?;
                reads.entry(books.id).or_default().push(read);
            }
        }
    }
    if small.is_empty() {
        return Ok(reads);
    }
    let sums = snapshot.sums(Ground::Whole(&small)).await?;
    let suspects = |id: &&CampaignId| sums.get(id).is_some_and(|sums| sums.suspects > 0);
    let suspicious: Vec<CampaignId> = small.iter().filter(suspects).copied().collect();
    let over_limit = if suspicious.is_empty() {
        Vec::new()
    } else {
        snapshot.over_limit(Ground::Whole(&suspicious)).await?
    };
    for id in small {
        let sums = sums.get(&id).copied().unwrap_or_default();
        let mut read = with_purged(Part::Whole(id), sums, purged);
        read.is_over_limit = over_limit.contains(&id);
        reads.entry(id).or_default().push(read);
    }
    Ok(reads)
}

fn with_purged(part: Part, sums: Sums, purged: &PurgedSegments) -> Read {
    let mut lost = Purged::default();
    let id = part.segment().campaign;
    for ((_, number), purged) in purged.range((id, None)..=(id, Some(u64::MAX))) {
        if number.is_some_and(|number| part.holds(number)) {
            lost.events += purged.events;
            lost.digest = lost.digest.wrapping_add(purged.digest);
        }
    }
    Read {
        part,
        sums,
        purged: lost,
        is_over_limit: false,
    }
}

fn figures(books: &Books, plan: &Plan, reads: &[Read], purged: &PurgedSegments) -> Figures {
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

/// Asks for names where something is wrong.
async fn name_offenders(
    snapshot: &Snapshot,
    books: &Books,
    reads: &[Read],
    figures: &mut Figures,
) -> Result<(), StoreError> {
    let id = books.id;
    if reads.iter().any(|read| read.is_over_limit) {
        figures.over_limit = snapshot.users_over_limit(id).await?;
    }
    let without = reads.iter().filter(|read| !read.has_its_events());
    for read in without.take(NAMED_PARTS_MAX) {
        let ground = read.part.ground();
        let foreign = snapshot.events_without_change(ground).await?;
        figures.without_change.extend(foreign);
        // Where events are deleted, one that never was looks like one that is.
        if read.purged.events == 0 {
            let missing = snapshot.changes_without_event(ground).await?;
            figures.without_event.extend(missing);
        }
    }
    figures.without_event.truncate(NAMED_MAX);
    figures.without_change.truncate(NAMED_MAX);
    if figures.waiting.astray > 0 {
        figures.astray = snapshot.entries_astray(id).await?;
    }
    if figures.overtaking > 0 {
        figures.overtaken = snapshot.overtaken(id).await?;
    }
    Ok(())
}

/// So many are named of a campaign at most, and so many of its parts are asked for them.
const NAMED_MAX: usize = 5;
const NAMED_PARTS_MAX: usize = 5;

fn worth_keeping(snapshot: &Snapshot, books: &Books, reads: &[Read], before: &[Kept]) -> Vec<Kept> {
    let resting = reads.iter().filter(|read| {
        sealing::is_at_rest(snapshot, read.sums.newest)
            && read.part.may_rest(books)
            && read.is_sound()
    });
    resting
        .map(|read| {
            let segment = read.part.segment();
            let before = before.iter().find(|kept| kept.segment == segment);
            kept(books, read, before.map_or(0, |kept| kept.generation))
        })
        .collect()
}

/// What is kept of a part that was found sound.
pub(super) fn kept(books: &Books, read: &Read, generation: u64) -> Kept {
    Kept {
        segment: read.part.segment(),
        generation,
        participations: read.sums.participations,
        units: read.sums.units,
        changes: read.sums.changes,
        per_user_limit: books.per_user_limit,
        is_valid: true,
    }
}

fn unsound(reads: &[Read], before: &[Kept]) -> Vec<Segment> {
    let unsound = reads.iter().filter(|read| !read.is_sound());
    let segments = unsound.map(|read| read.part.segment());
    let is_kept = |segment: &Segment| {
        let mut valid = before.iter().filter(|kept| kept.is_valid);
        valid.any(|kept| kept.segment == *segment)
    };
    segments.filter(is_kept).collect()
}
