//! `[writer]`: group commit, and the batchers that are sized like it.

use std::time::Duration;

use super::Config;
use crate::runtime::batcher::BatcherConfig;
use crate::runtime::retry;
use crate::runtime::settings::settings;
use crate::sale::group_commit::WriterConfig;

/// How long a transaction may take. For admissions it is at most a third of the lease; each lease has at least this
/// time left when the transaction begins.
const TRANSACTION_MAX: Duration = Duration::from_secs(5);

settings! {
    /// `[writer]`: group commit.
    Writer in "writer" {
        /// Batchers of the writer and of admission; a campaign always has the same one
        batchers: usize = 4, in 1..=64;
        /// Capacity of each batcher; when it is full the answer is 503
        capacity: usize = 1_024, in 1..=1_000_000;
        /// Longest wait in a batcher. A batcher accepts what it can finish within this time, at least two full batches
        /// and at most `capacity`; everything above is answered 503 at once ([0005](decisions/0005-shedding.md))
        wait_max: Duration = Duration::from_millis(100),
            in Duration::from_millis(5)..=Duration::from_secs(60);
        /// Participations in one transaction
        batch_rows_max: usize = 256, in 1..=1_000;
        /// Requests of the synchronous path that commit and publish at the same time; the others wait
        sync_concurrency_max: usize = 32, in 1..;
    }
}

impl Config {
    /// The configuration of the writer.
    #[must_use]
    pub fn writer(&self) -> WriterConfig {
        WriterConfig {
            batchers: BatcherConfig {
                count: self.writer.batchers,
                capacity: self.writer.capacity,
                batch_max: self.writer.batch_rows_max,
                wait_max: self.writer.wait_max,
                pace: Duration::ZERO,
            },
            transaction_max: TRANSACTION_MAX.min(self.gate.lease / 3),
            unleased_max: TRANSACTION_MAX,
            contention: retry::Policy {
                initial: Duration::from_millis(5),
                max: Duration::from_millis(200),
                multiplier: 2.0,
                attempts_max: 6,
            },
        }
    }

    /// The batchers of admission.
    #[must_use]
    pub fn admission(&self) -> BatcherConfig {
        BatcherConfig {
            batch_max: self.gate.batch_max,
            pace: self.gate.pace,
            ..self.writer().batchers
        }
    }

    /// The batchers of lookups in the store: the same number of requests may wait for a lookup as for a commit.
    #[must_use]
    pub fn lookups(&self) -> BatcherConfig {
        BatcherConfig {
            wait_max: Duration::ZERO,
            ..self.writer().batchers
        }
    }
}
