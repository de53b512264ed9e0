//! Reads for verification, in one consistent snapshot, and the sums that it stores. It judges nothing.
//!
//! Ranks are given in ascending order, so a campaign's rows are divided into segments of ranks, and the sums of a
//! segment that was found sound are stored in `verified_segment`. A segment's row has a generation. A change of a
//! participation raises it in the same transaction (`invalidate_segment`), and sums are stored only if the
//! generation is still that of their snapshot. So no sum outlives a change, whichever commits first: the change
//! waits for the row and invalidates it, or has raised the generation already. New participations raise nothing,
//! because the writer must not pay for verification; the sums of segments that may still grow are not stored, and
//! the campaign's counters reveal a late row.
//!
//! A stream is divided into segments of sequences in the same way, whose sums are in `verified_log`. Its events never
//! change, so these sums hold until the segment grows or events of the campaign are deleted. The campaign's row counts
//! both.
//!
//! The statements that sum up or compare rows are text: the query builder has no hint for a joined table, and sums
//! over the arithmetic of the digest, or over windows, are easier to read as text (decision 0018).

mod counters;
mod digest;
mod log;
mod offenders;
mod published;
mod stored_log_sums;
mod stored_sums;
mod sums;
mod waiting;

pub use counters::CampaignCounters;
pub use log::{LogSums, StoredLogSums};
pub use published::{EventRow, EventSums};
pub use stored_sums::StoredSums;
pub use sums::{Purged, RowSelection, Sums};
pub use waiting::Waiting;

pub(super) use digest::of_event as weight_of_event;

use std::ops::RangeInclusive;
use std::time::Duration;

use super::bounded::Tx;
use super::{Store, StoreError, connection};
use crate::domain::{CampaignId, Timestamp};

/// Ranks, or sequences, in a segment.
pub const SEGMENT_RANKS: u64 = 65_536;

/// The range number n, from 0, of `SEGMENT_RANKS` ranks of a campaign, or of sequences of its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Segment {
    /// The campaign.
    pub campaign: CampaignId,
    /// The number.
    pub number: u64,
}

impl Segment {
    /// The segment of a rank. Ranks begin at 1; lower ones belong to the first segment.
    #[must_use]
    pub const fn of(campaign: CampaignId, rank: u64) -> Self {
        Self {
            campaign,
            number: rank.saturating_sub(1) / SEGMENT_RANKS,
        }
    }

    /// All segments of a campaign.
    #[must_use]
    pub const fn all_of(campaign: CampaignId) -> RangeInclusive<Self> {
        let first = Self {
            campaign,
            number: 0,
        };
        let last = Self {
            campaign,
            number: u64::MAX,
        };
        first..=last
    }

    /// The first rank after it.
    pub(super) const fn end(self) -> u64 {
        self.start() + SEGMENT_RANKS
    }

    pub(in crate::parts::store) const fn start(self) -> u64 {
        self.number * SEGMENT_RANKS + 1
    }
}

/// A read-only snapshot of the store. Keep it short: while it is open the database retains all deleted rows.
pub struct Snapshot {
    pub(super) store: Store,
    pub(super) tx: Tx,
}

impl Store {
    /// A snapshot of the store now, on the primary.
    pub async fn snapshot(&self) -> Result<Snapshot, StoreError> {
        self.prove_primary().await?;
        self.snapshot_of_any_server().await
    }

    /// A snapshot of the store; it may be old, and its [`Snapshot::end_current`] may fail.
    pub(super) async fn snapshot_of_any_server(&self) -> Result<Snapshot, StoreError> {
        Ok(Snapshot {
            store: self.clone(),
            tx: connection::snapshot(&self.db).await?,
        })
    }
}

impl Snapshot {
    /// The age of the snapshot.
    #[must_use]
    pub fn age_of(&self, at: Timestamp) -> Duration {
        let age = self.store.clock.now().signed_duration_since(at);
        age.to_std().unwrap_or_default()
    }

    /// Ends the snapshot; fails if its data may be old, because the server accepts no writes.
    pub async fn end_current(self) -> Result<(), StoreError> {
        self.store.end_current(self.tx).await
    }

    /// Ends the snapshot.
    pub async fn end(self) -> Result<(), StoreError> {
        Ok(self.tx.rollback().await?)
    }
}
