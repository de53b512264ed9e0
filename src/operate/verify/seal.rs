//! Reads old segments one by one, each in its own short snapshot, and stores their sums, so that the check that follows
//! has little left to read. It reports no violation: the sums of an incorrect segment are not stored, and the check reads
//! it again.

use super::plan::Part;
use super::reading;
use crate::parts::store::{
    CampaignCounters, Segment, Store, StoreError, StoredLogSums, StoredSums,
};

/// Reads a part and stores its sums. Returns the segment, if they are stored.
pub(super) async fn seal(store: &Store, part: Part) -> Result<Option<Segment>, StoreError> {
    let segment = part.segment();
    let snapshot = store.snapshot().await?;
    let newest = snapshot.newest_of(segment).await?;
    let is_complete = reading::is_complete(&snapshot, newest);
    let counters = snapshot.counters(&[segment.campaign]).await?.pop();
    let (Some(counters), true) = (counters, is_complete) else {
        snapshot.end_current().await?;
        return Ok(None);
    };
    let generation = snapshot.generation(segment).await?;
    let read = reading::read(&snapshot, part).await?;
    snapshot.end_current().await?;
    if read.is_over_limit || !part.is_final(&counters) {
        return Ok(None);
    }
    let stored = reading::stored_sums(&counters, &read, generation);
    Ok(store_sums(store, &[stored]).await.then_some(segment))
}

/// Reads a part of a stream and stores its sums. Returns the segment, if they are stored.
pub(super) async fn seal_log(store: &Store, part: Part) -> Result<Option<Segment>, StoreError> {
    let segment = part.segment();
    let snapshot = store.snapshot().await?;
    let counters = snapshot.counters(&[segment.campaign]).await?.pop();
    let sums = snapshot.log_sums_in(part.selection()).await?;
    snapshot.end_current().await?;
    let is_last = |counters: &CampaignCounters| {
        Segment::of(counters.id, counters.event_sequence).number <= segment.number
    };
    // The stream may have grown beyond its last segment since the plan was made.
    let is_final = |counters: &CampaignCounters| match part {
        Part::Within(_) => true,
        Part::Whole(_) | Part::From(_) => counters.is_over() && is_last(counters),
    };
    let Some(counters) = counters.filter(is_final) else {
        return Ok(None);
    };
    let stored = reading::stored_log_sums(&counters, segment, sums);
    Ok(store_log_sums(store, &[stored]).await.then_some(segment))
}

/// Stores sums of streams, and returns whether that succeeded.
pub(super) async fn store_log_sums(store: &Store, stored: &[StoredLogSums]) -> bool {
    is_stored(&store.store_log_sums(stored).await)
}

/// Stores sums of segments, and returns whether that succeeded.
pub(super) async fn store_sums(store: &Store, stored: &[StoredSums]) -> bool {
    is_stored(&store.store_sums(stored).await)
}

/// A failure is no error: stored sums only save work, and the database user may have no right to write.
fn is_stored(result: &Result<(), StoreError>) -> bool {
    if let Err(failure) = result {
        tracing::debug!(%failure, "sums were not stored");
    }
    result.is_ok()
}
