//! The rate of reads of each address: token buckets in this process. A full bucket is deleted.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use moka::sync::Cache;

use super::{Rate, host};
use crate::parts::gate::{Bucket, TokenResult};

/// Most addresses with a bucket; beyond it the least active ones lose theirs.
const ADDRESSES_MAX: u64 = 100_000;

/// The buckets.
#[derive(Clone, Debug)]
pub(super) struct Reads {
    pub(super) rate: Rate,
    /// When each bucket is full again, in microseconds since `began`: the generic cell rate algorithm.
    full_at_us: Cache<IpAddr, Arc<AtomicU64>>,
    began: Instant,
}

impl Reads {
    /// Full buckets.
    pub(super) fn new(rate: Rate) -> Self {
        let full_at_us = Cache::builder()
            .max_capacity(ADDRESSES_MAX)
            .time_to_idle(rate.period.max(Duration::from_secs(1)))
            .build();
        Self {
            rate,
            full_at_us,
            began: Instant::now(),
        }
    }

    /// Takes a token from the bucket of an address, if it has a token.
    pub(super) fn take(&self, address: IpAddr) -> TokenResult {
        self.take_at(address, micros(self.began.elapsed()))
    }

    fn take_at(&self, address: IpAddr, now_us: u64) -> TokenResult {
        let bucket = Bucket::from(self.rate);
        let token_us = micros(bucket.token).max(1);
        let full_us = token_us.saturating_mul(u64::from(bucket.tokens));
        let full_at_us = self.full_at_us.get_with(host(address), Arc::default);
        let after = |full_at_us: u64| full_at_us.max(now_us).saturating_add(token_us);
        let taken = full_at_us.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at_us| {
            let after_us = after(full_at_us);
            (after_us - now_us <= full_us).then_some(after_us)
        });
        match taken {
            Ok(before_us) => {
                let missing_us = after(before_us) - now_us;
                TokenResult::Token {
                    left: (full_us - missing_us) / token_us,
                    full_in: Duration::from_micros(missing_us),
                }
            }
            Err(full_at_us) => TokenResult::Nothing {
                next_in: Duration::from_micros(after(full_at_us) - now_us - full_us),
                full_in: Duration::from_micros(full_at_us.saturating_sub(now_us)),
            },
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_its_own_rate_of_reads() {
        let reads = Reads::new("4/1s".parse().unwrap());
        let [one, other] = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse().unwrap());
        let is_taken = |address, now_us| {
            let taken = reads.take_at(address, now_us);
            matches!(taken, TokenResult::Token { .. })
        };
        let at_once = [0; 6].map(|now_us| is_taken(one, now_us));
        assert_eq!(at_once, [true, true, true, true, false, false]);
        assert!(is_taken(other, 0));
        let quarter = Duration::from_millis(250);
        let nothing = TokenResult::Nothing {
            next_in: quarter,
            full_in: quarter * 4,
        };
        assert_eq!(reads.take_at(one, 0), nothing);
        assert!(is_taken(one, 250_000) && !is_taken(one, 250_000));
        let left = TokenResult::Token {
            left: 3,
            full_in: quarter,
        };
        assert_eq!(reads.take_at(one, 2_000_000), left);
    }
}
