//! Token buckets: concurrent requests never take more than the bucket has, and it refills in time.

use std::sync::Arc;
use std::time::Duration;

use firstcome::domain::Timestamp;
use firstcome::parts::gate::{Bucket, ScriptGate, TokenResult};
use firstcome::runtime::clock::Clock;
use futures_util::future::join_all;
use uuid::Uuid;

use super::{forget, redis_config};

const SECOND: Duration = Duration::from_secs(1);
const THREE: Bucket = Bucket {
    tokens: 3,
    token: SECOND,
};

fn token(left: u64, full_in: u32) -> TokenResult {
    let full_in = SECOND * full_in;
    TokenResult::Token { left, full_in }
}

#[tokio::test]
async fn a_token_returns_at_its_exact_time_and_never_above_the_capacity() {
    let clock = Clock::manual(Timestamp::UNIX_EPOCH);
    let gate = ScriptGate::in_process(clock.clone(), "it").unwrap();
    let take = || gate.take("somebody", THREE);
    for left in (0..3).rev() {
        let full_in = u32::try_from(3 - left).unwrap();
        assert_eq!(take().await.unwrap(), token(left, full_in));
    }
    let moment = Duration::from_millis(1);
    clock.advance(SECOND.checked_sub(moment).unwrap());
    let nothing = TokenResult::Nothing {
        next_in: moment,
        full_in: 2 * SECOND + moment,
    };
    assert_eq!(take().await.unwrap(), nothing);
    // A rejected request costs nothing.
    clock.advance(moment);
    assert_eq!(take().await.unwrap(), token(0, 3));
    assert_eq!(gate.take("another", THREE).await.unwrap(), token(2, 1));
    clock.advance(100 * SECOND);
    assert_eq!(take().await.unwrap(), token(2, 1));
}

async fn many_at_once(gate: ScriptGate) {
    let gate = Arc::new(gate);
    let slow = Bucket {
        tokens: 25,
        token: Duration::from_secs(3_600),
    };
    let asked = (0..200).map(|_| {
        let gate = Arc::clone(&gate);
        tokio::spawn(async move { gate.take("all", slow).await.unwrap() })
    });
    let mut lefts = Vec::new();
    for taken in join_all(asked).await {
        if let TokenResult::Token { left, .. } = taken.unwrap() {
            lefts.push(left);
        }
    }
    lefts.sort_unstable();
    assert_eq!(lefts, (0..25).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_requests_take_exactly_the_available_tokens() {
    many_at_once(ScriptGate::in_process(Clock::System, "it").unwrap()).await;
    let prefix = format!("it-{}", Uuid::now_v7());
    let redis = ScriptGate::redis(&redis_config(), &prefix).await.unwrap();
    many_at_once(redis).await;
    forget(&prefix).await;
}

#[tokio::test]
async fn a_bucket_from_before_the_clock_was_set_back_is_full() {
    let clock = Clock::manual(Timestamp::UNIX_EPOCH + Duration::from_secs(3_600));
    let gate = ScriptGate::in_process(clock.clone(), "it").unwrap();
    for left in (0..3).rev() {
        let full_in = u32::try_from(3 - left).unwrap();
        assert_eq!(gate.take("a", THREE).await.unwrap(), token(left, full_in));
    }
    let Clock::Manual(millis) = &clock else {
        panic!("{clock:?}");
    };
    millis.store(0, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(gate.take("a", THREE).await.unwrap(), token(2, 1));
}
