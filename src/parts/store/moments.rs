//! Times in statements, by the clock that decides: MySQL's own, which all replicas share; with SQLite that of this
//! process.

use std::time::Duration;

use chrono::TimeDelta;
use sea_orm::sea_query::Expr;

use super::Store;
use crate::domain::{Instant, to_stored_precision};

impl Store {
    /// Now.
    pub(super) fn now_expr(&self) -> Expr {
        if self.is_embedded() {
            Expr::value(self.process_now())
        } else {
            Expr::cust("UTC_TIMESTAMP(6)")
        }
    }

    /// `delay` from now.
    pub(super) fn after(&self, delay: Duration) -> Expr {
        if self.is_embedded() {
            let now = self.process_now();
            Expr::value(now.checked_add_signed(span(delay)).unwrap_or(now))
        } else {
            Expr::cust_with_values(
                "(UTC_TIMESTAMP(6) + INTERVAL ? MICROSECOND)",
                [micros(delay)],
            )
        }
    }

    /// `age` ago.
    pub(super) fn before(&self, age: Duration) -> Expr {
        if self.is_embedded() {
            let at = self.process_now().checked_sub_signed(span(age));
            Expr::value(at.unwrap_or_default())
        } else {
            Expr::cust_with_values("(UTC_TIMESTAMP(6) - INTERVAL ? MICROSECOND)", [micros(age)])
        }
    }

    fn process_now(&self) -> Instant {
        to_stored_precision(self.clock.now())
    }
}

fn span(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
