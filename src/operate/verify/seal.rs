//! Reads old segments one by one, each in a short snapshot of its own, and keeps their sums, so that the check
//! that follows has little left to read. It reports no breach: an unsound segment is not kept, and the check
//! reads it again.

use super::plan::Part;
use super::reading;
use crate::parts::store::{Kept, Segment, Store, StoreError};

/// Reads a part and keeps its sums: the segment, if they are kept.
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
    if read.is_over_limit || !part.may_rest(&books) {
        return Ok(None);
    }
    let kept = reading::kept(&books, &read, generation);
    Ok(keep(store, &[kept]).await.then_some(segment))
}

/// Keeps sums, and returns whether that succeeded. A failure is no error: kept sums only save work, and the
/// user who verifies may have no right to write.
pub(super) async fn keep(store: &Store, kept: &[Kept]) -> bool {
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
