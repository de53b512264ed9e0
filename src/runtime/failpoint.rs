//! Crash points: the places between two writes at which the process can be made to die, to prove that
//! nothing depends on getting from the one to the other. Without the feature `failpoints` they are not
//! there. With it, the variable `FAILPOINTS` arms them in the syntax of the crate `fail`:
//! `FAILPOINTS='writer.committed=5*off->return'` dies when the sixth group is committed.

/// All crash points, in the order in which a participation meets them, then those of the repairs.
pub const POINTS: [&str; 16] = [
    "participate.admitted",
    "writer.begin",
    "store.written",
    "store.committing",
    "writer.committed",
    "participate.committed",
    "writer.releasing",
    "writer.released",
    "writer.settling",
    "relay.acknowledged",
    "rebuild.raised",
    "rebuild.loaded",
    "sweep.asked",
    "sweep.settled",
    "change.authorised",
    "change.committed",
];

/// Those of a cancellation of what may have coupons, in the order in which it meets them.
pub const REVOCATION_POINTS: [&str; 3] =
    ["change.suspended", "change.committed", "revocation.decided"];

/// Those of a process that consumes, in the order in which a batch meets them.
pub const CONSUMER_POINTS: [&str; 4] = [
    "consumer.applying",
    "consumer.applied",
    "consumer.marked",
    "consumer.copied",
];

/// Those of a run of the daily aggregation, in the order in which it meets them.
pub const AGGREGATION_POINTS: [&str; 3] =
    ["aggregate.claimed", "aggregate.written", "aggregate.ending"];

/// Those of an import of a list, in the order in which it meets them.
pub const ALLOW_LIST_POINTS: [&str; 3] = [
    "allow_list.filling",
    "allow_list.filled",
    "allow_list.enforcing",
];

/// Reads which points are armed; they stay so while the answer lives.
#[cfg(feature = "failpoints")]
#[must_use]
pub fn arm() -> fail::FailScenario<'static> {
    fail::FailScenario::setup()
}

/// Dies here if this point is armed: at once, as if killed, with nothing cleaned up.
#[cfg(feature = "failpoints")]
pub fn point(name: &'static str) {
    fail::fail_point!(name, |_| std::process::abort());
}

/// Dies here if this point is armed.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub const fn point(_: &'static str) {}

/// Begins `work` and dies before it has ended if this point is armed.
#[cfg(feature = "failpoints")]
pub async fn amid<F: Future>(name: &'static str, work: F) -> F::Output {
    let mut work = std::pin::pin!(work);
    let begun = std::future::poll_fn(|context| {
        let begun = work.as_mut().poll(context);
        point(name);
        std::task::Poll::Ready(begun)
    });
    match begun.await {
        std::task::Poll::Ready(done) => done,
        std::task::Poll::Pending => work.await,
    }
}

/// Begins `work` and dies before it has ended if this point is armed.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub async fn amid<F: Future>(_: &'static str, work: F) -> F::Output {
    work.await
}
