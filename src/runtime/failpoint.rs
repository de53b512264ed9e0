//! Crash points: places between two writes where a test aborts the process, to prove that a crash there does no harm.
//! They exist only with the feature `failpoints`. The variable `FAILPOINTS` arms them in the syntax of the crate
//! `fail`: `FAILPOINTS='writer.committed=5*off->return'` aborts when the sixth group is committed.

/// The crash points of a participation, in their order, followed by those of the repairs.
pub const POINTS: [&str; 18] = [
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
    "replicas.raised",
    "replicas.fenced",
    "change.authorised",
    "change.committed",
];

/// The crash points of a change of a campaign, in their order.
pub const CAMPAIGN_POINTS: [&str; 2] = ["campaign.written", "campaign.committed"];

/// The crash points of a cancellation that may revoke coupons, in their order.
pub const REVOCATION_POINTS: [&str; 3] =
    ["change.suspended", "change.committed", "revocation.decided"];

/// The crash points of an order of several lines, in their order.
pub const ORDER_POINTS: [&str; 6] = [
    "order.inserted",
    "order.line_reserved",
    "order.written",
    "order.decided",
    "order.line_followed",
    "order.authorised",
];

/// The crash points of a consumer's batch, in their order.
pub const CONSUMER_POINTS: [&str; 5] = [
    "consumer.applying",
    "consumer.applied",
    "consumer.marked",
    "consumer.kept",
    "consumer.copied",
];

/// The crash points of an aggregation run, in their order.
pub const AGGREGATION_POINTS: [&str; 3] =
    ["aggregate.claimed", "aggregate.written", "aggregate.ending"];

/// The crash points of the import of an allow-list, in their order.
pub const ALLOW_LIST_POINTS: [&str; 3] = [
    "allow_list.filling",
    "allow_list.filled",
    "allow_list.enforcing",
];

/// Arms the points in `FAILPOINTS`, until the returned value is dropped.
#[cfg(feature = "failpoints")]
#[must_use]
pub fn arm() -> fail::FailScenario<'static> {
    fail::FailScenario::setup()
}

/// Aborts the process here if this point is armed, without any cleanup.
#[cfg(feature = "failpoints")]
pub fn point(name: &'static str) {
    fail::fail_point!(name, |_| std::process::abort());
}

/// Aborts the process here if this point is armed.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub const fn point(_: &'static str) {}

/// Begins `work`, and aborts the process before its end if this point is armed.
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

/// Begins `work`, and aborts the process before its end if this point is armed.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub async fn amid<F: Future>(_: &'static str, work: F) -> F::Output {
    work.await
}
