//! Reads old segments one by one, each in its own short snapshot, and stores their sums, so that the check that follows
//! has little left to read. It reports no violation: the sums of an incorrect segment are not stored, and the check reads
//! it again.

use super::plan::Part;
use super::reading;
use crate::parts::store::{Books, Kept, KeptLog, Segment, Store, StoreError};

/// Reads a part and stores its sums. Returns the segment, if they are stored.
pub(super) async fn seal(store: &Store, part: Part) -> Result<Option<Segment>, StoreError> {
    let segment = part.segment();
    let snapshot = store.snapshot().await?;
    let newest = snapshot.newest_of(segment).await?;
    let is_complete = reading::is_complete(&snapshot, newest);
    let books = snapshot.books(&[segment.campaign]).await?.pop();
    let (Some(books), true) = (books, is_complete) else {
        snapshot.end_current().await?;
        return Ok(None);
    };
    let generation = snapshot.generation(segment).await?;
    let read = reading::read(&snapshot, part).await?;
    snapshot.end_current().await?;
    if read.is_over_limit || !part.is_final(&books) {
        return Ok(None);
    }
    let kept = reading::kept(&books, &read, generation);
    Ok(keep(store, &[kept]).await.then_some(segment))
}

/// Reads a part of a stream and stores its sums. Returns the segment, if they are stored.
pub(super) async fn seal_log(store: &Store, part: Part) -> Result<Option<Segment>, StoreError> {
    let segment = part.segment();
    let snapshot = store.snapshot().await?;
    let books = snapshot.books(&[segment.campaign]).await?.pop();
    let sums = snapshot.log_sums_in(part.ground()).await?;
    snapshot.end_current().await?;
    let is_last =
        |books: &Books| Segment::of(books.id, books.event_sequence).number <= segment.number;
    // The stream may have grown beyond its last segment since the plan was made.
    let is_final = |books: &Books| match part {
        Part::Within(_) => true,
        Part::Whole(_) | Part::From(_) => books.is_over() && is_last(books),
    };
    let Some(books) = books.filter(is_final) else {
        return Ok(None);
    };
    let kept = reading::kept_log(&books, segment, sums);
    Ok(keep_logs(store, &[kept]).await.then_some(segment))
}

/// Stores sums of streams, and returns whether that succeeded.
pub(super) async fn keep_logs(store: &Store, kept: &[KeptLog]) -> bool {
    is_kept(&store.keep_logs(kept).await)
}

/// Stores sums of segments, and returns whether that succeeded.
pub(super) async fn keep(store: &Store, kept: &[Kept]) -> bool {
    is_kept(&store.keep_segments(kept).await)
}

/// A failure is no error: stored sums only save work, and the database user may have no right to write.
fn is_kept(result: &Result<(), StoreError>) -> bool {
    if let Err(failure) = result {
        tracing::debug!(%failure, "sums were not stored");
    }
    result.is_ok()
}
