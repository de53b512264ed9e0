//! Which connections stay in a pool of connections to MySQL. The pool uses the one first that was idle for longest. If
//! that was too long, a new connection replaces it. It is also a sign that the pool has more connections than it needs,
//! so the next one that returns is closed: otherwise, with few requests, each of them would wait for a new connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sea_orm::sqlx::pool::PoolConnectionMetadata;

use super::demotion::Demotion;

/// The rules for the connections of a pool.
#[derive(Clone, Debug)]
pub(super) struct Lifetime {
    /// Connections that are as old are not used.
    age_max: Duration,
    /// Connections that were idle for as long are not used.
    idle_max: Duration,
    demotion: Demotion,
    has_surplus: Arc<AtomicBool>,
}

impl Lifetime {
    pub(super) fn new(age_max: Duration, idle_max: Duration, demotion: Demotion) -> Self {
        Self {
            age_max,
            idle_max,
            demotion,
            has_surplus: Arc::default(),
        }
    }

    /// Whether an idle connection may be used.
    pub(super) fn may_be_used(&self, known: &PoolConnectionMetadata) -> bool {
        let is_idle_too_long = known.idle_for >= self.idle_max;
        if is_idle_too_long {
            self.has_surplus.store(true, Ordering::Relaxed);
        }
        !is_idle_too_long && !self.is_over(known)
    }

    /// Whether a connection that was used returns to the pool, if it is sound.
    pub(super) fn may_return(&self, known: &PoolConnectionMetadata) -> bool {
        // One at a time: of many that are found at once, as after a quiet minute, the next requests need most.
        !self.is_over(known) && !self.has_surplus.swap(false, Ordering::Relaxed)
    }

    fn is_over(&self, known: &PoolConnectionMetadata) -> bool {
        self.demotion.condemns(known.age) || known.age >= self.age_max
    }
}
