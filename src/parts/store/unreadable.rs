//! Rows with a value that this release does not know: written by a newer release, or by hand. Such a row is set
//! aside, counted and logged once, and the others of its batch are processed.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::{Store, StoreError};
use crate::domain::metric;
use crate::runtime::metrics::RegisterMetric;
use crate::runtime::telemetry::cause;

/// Maximum number of rows that are remembered by name.
const ROWS_MAX: usize = 10_000;

/// The rows that were set aside since the process began.
#[derive(Clone, Debug, Default)]
pub(super) struct Unreadable {
    known: Arc<Mutex<BTreeSet<(&'static str, String)>>>,
    count: Gauge,
}

impl Unreadable {
    /// Sets a row of a table aside.
    pub(super) fn set_aside(&self, table: &'static str, id: &impl Display, why: &StoreError) {
        let row = (table, id.to_string());
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= ROWS_MAX || !known.insert(row) {
            return;
        }
        self.count
            .set(i64::try_from(known.len()).unwrap_or(i64::MAX));
        tracing::error!(
            table,
            row.id = %id,
            error = cause(why),
            "a row is unreadable and set aside"
        );
    }
}

/// The meaning of a word in a row.
pub(super) fn parse<T>(
    what: &'static str,
    word: &str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, StoreError> {
    parse(word).ok_or_else(|| StoreError::unreadable(what, word))
}

impl Store {
    /// How many rows were set aside since the process began.
    #[must_use]
    pub fn unreadable_rows(&self) -> u64 {
        self.unreadable.count.get().unsigned_abs()
    }

    /// Registers the metric.
    pub fn register(&self, registry: &mut Registry) {
        registry.add(
            &metric::STORE_UNREADABLE_ROWS,
            self.unreadable.count.clone(),
        );
    }
}
