//! Reads old segments one by one, each in a short snapshot of its own, and keeps what they sum up to,
//! so that the look that follows has little left to read. Says nothing of what it finds: a segment that
//! is not sound is not kept, and the look reads it again.

use std::time::Duration;

use super::look;
use super::plan::Part;
use crate::domain::Instant;
use crate::parts::store::{Segment, Snapshot, Store, StoreError};

/// How long after its last participation a segment takes no more. A lease lives for a quarter of that,
/// and the place in line is given with it. Should one come later still, the campaign's counters tell.
const REST: Duration = Duration::from_secs(60);

/// Whether a stretch whose latest participation was made then takes no more.
pub(super) fn is_at_rest(snapshot: &Snapshot, newest: Option<Instant>) -> bool {
    newest.is_none_or(|newest| snapshot.age_of(newest) > REST)
}

/// Reads a part and keeps its sums: the segment, if they are kept.
pub(super) async fn seal(store: &Store, part: Part) -> Result<Option<Segment>, StoreError> {
    let segment = part.segment();
    let snapshot = store.snapshot().await?;
    let newest = snapshot.newest_of(segment).await?;
    let rests = is_at_rest(&snapshot, newest);
    let books = snapshot.books(&[segment.campaign]).await?.pop();
    let (Some(books), true) = (books, rests) else {
        snapshot.end_current().await?;
        return Ok(None);
    };
    let generation = snapshot.generation(segment).await?;
    let purged = snapshot.purged(&[segment.campaign]).await?;
    let read = look::read(&snapshot, part, &purged).await?;
    snapshot.end_current().await?;
    if !read.is_sound() || !part.may_rest(&books) {
        return Ok(None);
    }
    let kept = look::kept(&books, &read, generation);
    Ok(super::keep(store, &[kept]).await.then_some(segment))
}
