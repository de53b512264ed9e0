//! Ends the leases of dead relays after the database's clock was set back: by that clock they last for the length of
//! the step. This process's clock decides instead. A relay sends nothing after a whole lease without a renewal, so a
//! lease that was seen unchanged for the longest lease that a relay can have belongs to nobody. The lease of this relay
//! is no measure: another one may be configured with a longer one.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::Context;
use crate::parts::store::{StoreError, UnexpiredLease};

/// Since when each lease is unchanged.
#[derive(Debug, Default)]
pub(super) struct OwnerlessLeases(HashMap<UnexpiredLease, Instant>);

impl OwnerlessLeases {
    /// Ends those whose owner must have stopped.
    pub(super) async fn end(&mut self, context: &Context) -> Result<(), StoreError> {
        let lease_max = context.config.lease_max;
        let asked_at = Instant::now();
        let leases = context.store.unexpired_leases().await?;
        let read = Read {
            leases,
            asked_at,
            answered_at: Instant::now(),
        };
        let ownerless = self.unchanged(read, lease_max);
        if ownerless.is_empty() {
            return Ok(());
        }
        let leases = context.store.end_leases(&ownerless).await?;
        if leases > 0 {
            tracing::warn!(
                leases,
                "leases from before the database's clock was set back, which nobody renews, were ended"
            );
        }
        Ok(())
    }

    /// Those that have been the same for at least `term`.
    fn unchanged(&mut self, read: Read, term: Duration) -> Vec<UnexpiredLease> {
        self.0.retain(|known, _| read.leases.contains(known));
        let mut unchanged = Vec::new();
        for one in read.leases {
            // It may have been renewed until the answer came, and may be again after the question was sent.
            let since = *self.0.entry(one.clone()).or_insert(read.answered_at);
            if read.asked_at.saturating_duration_since(since) >= term {
                unchanged.push(one);
            }
        }
        unchanged
    }
}

/// An answer of the store.
struct Read {
    leases: Vec<UnexpiredLease>,
    asked_at: Instant,
    answered_at: Instant,
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERM: Duration = Duration::from_secs(30);

    /// The unchanged leases of readings that begin at these seconds and last a second each. Bucket 2 is renewed before
    /// every second reading.
    fn found_at(readings: &[u64]) -> Vec<Vec<UnexpiredLease>> {
        let began = Instant::now();
        let mut leases = OwnerlessLeases::default();
        let readings = readings.iter().enumerate();
        let found = readings.map(|(nth, seconds)| {
            let asked_at = began + Duration::from_secs(*seconds);
            let renewed = i64::try_from(nth / 2).unwrap();
            let read = Read {
                leases: vec![
                    UnexpiredLease::example(1, 0),
                    UnexpiredLease::example(2, renewed),
                ],
                asked_at,
                answered_at: asked_at + Duration::from_secs(1),
            };
            leases.unchanged(read, TERM)
        });
        found.collect()
    }

    #[test]
    fn only_a_lease_that_was_the_same_for_the_whole_term_is_found() {
        let dead = vec![UnexpiredLease::example(1, 0)];
        let found = found_at(&[0, 10, 20, 30, 31, 40]);
        assert_eq!(found, [vec![], vec![], vec![], vec![], dead.clone(), dead]);
    }

    #[test]
    fn a_lease_that_was_away_counts_anew() {
        let began = Instant::now();
        let mut leases = OwnerlessLeases::default();
        let mut read = |seconds: u64, found: Vec<UnexpiredLease>| {
            let asked_at = began + Duration::from_secs(seconds);
            let read = Read {
                leases: found,
                asked_at,
                answered_at: asked_at,
            };
            leases.unchanged(read, TERM)
        };
        let one = UnexpiredLease::example(1, 0);
        assert_eq!(read(0, vec![one.clone()]), []);
        assert_eq!(read(20, vec![]), []);
        assert_eq!(read(30, vec![one.clone()]), []);
        assert_eq!(read(60, vec![one.clone()]), [one]);
    }
}
