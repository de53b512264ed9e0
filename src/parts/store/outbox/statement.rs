//! SQL put together piece by piece, so that text and values cannot get out of step. Only what MySQL
//! and SQLite both take; where they differ (the clock) the difference is here.

use std::time::Duration;

use chrono::TimeDelta;
use sea_orm::{ConnectionTrait, DbBackend, Statement, Value};

use crate::domain::{Instant, to_stored_precision};
use crate::parts::store::bounded::Db;
use crate::parts::store::{Store, StoreError};
use crate::runtime::clock::Clock;

/// A statement under construction.
#[derive(Debug)]
pub(in crate::parts::store) struct Sql {
    backend: DbBackend,
    now: Instant,
    text: String,
    values: Vec<Value>,
}

/// Columns that rows add up in.
#[derive(Clone, Copy, Debug)]
pub(in crate::parts::store) struct Sum {
    /// Of which table.
    pub(in crate::parts::store) table: &'static str,
    /// The columns of its key, with commas between them.
    pub(in crate::parts::store) key: &'static str,
    /// Which columns.
    pub(in crate::parts::store) columns: &'static [&'static str],
}

impl Sql {
    /// Starts with `text`, which must hold no value.
    pub(in crate::parts::store) fn new(store: &Store, text: &str) -> Self {
        Self::on(store.connection(), &store.clock, text)
    }

    /// The same for any of our databases.
    pub(in crate::parts::store) fn on(db: &Db, clock: &Clock, text: &str) -> Self {
        Self {
            backend: db.get_database_backend(),
            now: to_stored_precision(clock.now()),
            text: text.to_owned(),
            values: Vec::new(),
        }
    }

    /// Appends text.
    pub(in crate::parts::store) fn push(&mut self, text: &str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    /// Appends a value.
    pub(in crate::parts::store) fn bind(&mut self, value: impl Into<Value>) -> &mut Self {
        self.text.push('?');
        self.values.push(value.into());
        self
    }

    /// Appends values in parentheses; with none, a list that nothing is in.
    pub(in crate::parts::store) fn list<V: Into<Value>>(
        &mut self,
        values: impl IntoIterator<Item = V>,
    ) -> &mut Self {
        self.text.push('(');
        let mut any = false;
        for value in values {
            if any {
                self.text.push(',');
            }
            any = true;
            self.bind(value);
        }
        if !any {
            self.text.push_str("NULL");
        }
        self.push(")")
    }

    /// Appends rows of values, each in parentheses.
    pub(in crate::parts::store) fn rows_of<const COLUMNS: usize>(
        &mut self,
        rows: impl ExactSizeIterator<Item = [Value; COLUMNS]>,
    ) -> &mut Self {
        let row = format!("({})", ["?"; COLUMNS].join(","));
        self.text.reserve(rows.len() * (row.len() + 1));
        self.values.reserve(rows.len() * COLUMNS);
        for (nth, values) in rows.enumerate() {
            self.push(if nth == 0 { "" } else { "," }).push(&row);
            self.values.extend(values);
        }
        self
    }

    /// Appends pairs in parentheses, at least one. As a list of rows both databases find them by the
    /// primary key; each writes such a list in its own way.
    pub(in crate::parts::store) fn pairs(
        &mut self,
        pairs: impl IntoIterator<Item = (Value, Value)>,
    ) -> &mut Self {
        self.text.push_str(match self.backend {
            DbBackend::Sqlite => "(VALUES ",
            _ => "(",
        });
        for (nth, (first, second)) in pairs.into_iter().enumerate() {
            self.push(if nth == 0 { "(" } else { ",(" });
            self.bind(first).push(",").bind(second).push(")");
        }
        self.push(")")
    }

    /// Appends, to an insert: where a row of that key is there, its columns grow by the new one's.
    pub(in crate::parts::store) fn or_add(&mut self, sum: Sum) -> &mut Self {
        let table = sum.table;
        self.where_there(sum.key, sum.columns, |column, fresh| {
            format!("{column} = {table}.{column} + {fresh}.{column}")
        })
    }

    /// Appends, to an insert: where a row of that key is there, it takes these columns from the new one.
    pub(in crate::parts::store) fn or_replace(&mut self, key: &str, columns: &[&str]) -> &mut Self {
        self.where_there(key, columns, |column, fresh| {
            format!("{column} = {fresh}.{column}")
        })
    }

    fn where_there(
        &mut self,
        key: &str,
        columns: &[&str],
        set: impl Fn(&str, &str) -> String,
    ) -> &mut Self {
        let fresh = if self.backend == DbBackend::Sqlite {
            self.push(&format!(" ON CONFLICT ({key}) DO UPDATE SET "));
            "excluded"
        } else {
            self.push(" AS fresh ON DUPLICATE KEY UPDATE ");
            "fresh"
        };
        let set: Vec<String> = columns.iter().map(|column| set(column, fresh)).collect();
        self.push(&set.join(", "))
    }

    /// Appends the time now. On MySQL it is the database's own clock, the one all replicas share.
    pub(in crate::parts::store) fn now(&mut self) -> &mut Self {
        match self.backend {
            DbBackend::MySql => self.push("UTC_TIMESTAMP(6)"),
            _ => self.bind(self.now),
        }
    }

    /// Appends the time `delay` from now, by the same clock.
    pub(in crate::parts::store) fn after(&mut self, delay: Duration) -> &mut Self {
        if self.backend == DbBackend::MySql {
            let micros = i64::try_from(delay.as_micros()).unwrap_or(i64::MAX);
            return self
                .push("(UTC_TIMESTAMP(6) + INTERVAL ")
                .bind(micros)
                .push(" MICROSECOND)");
        }
        let delay = TimeDelta::from_std(delay).unwrap_or(TimeDelta::MAX);
        let at = self.now.checked_add_signed(delay).unwrap_or(self.now);
        self.bind(at)
    }

    /// Appends the time so long ago, by the same clock.
    pub(in crate::parts::store) fn before(&mut self, age: Duration) -> &mut Self {
        if self.backend == DbBackend::MySql {
            let micros = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
            return self
                .push("(UTC_TIMESTAMP(6) - INTERVAL ")
                .bind(micros)
                .push(" MICROSECOND)");
        }
        let age = TimeDelta::from_std(age).unwrap_or(TimeDelta::MAX);
        let at = self.now.checked_sub_signed(age).unwrap_or_default();
        self.bind(at)
    }

    /// The time now by the clock of [`Sql::now`].
    pub(in crate::parts::store) async fn time(
        store: &Store,
        on: &impl ConnectionTrait,
    ) -> Result<Instant, StoreError> {
        let rows = Self::new(store, "SELECT ")
            .now()
            .push(" AS now_at")
            .rows(on)
            .await?;
        match rows.first() {
            Some(row) => Ok(row.try_get("", "now_at")?),
            None => Err(StoreError::Unreadable {
                what: "the time",
                value: String::new(),
            }),
        }
    }

    fn build(&mut self) -> Statement {
        let text = std::mem::take(&mut self.text);
        let values = std::mem::take(&mut self.values);
        Statement::from_sql_and_values(self.backend, text, values)
    }

    /// Runs it: how many rows were affected.
    pub(in crate::parts::store) async fn run(
        &mut self,
        on: &impl ConnectionTrait,
    ) -> Result<u64, StoreError> {
        Ok(on.execute_raw(self.build()).await?.rows_affected())
    }

    /// Runs it: the number that the database gave to the row it inserted.
    pub(in crate::parts::store) async fn number(
        &mut self,
        on: &impl ConnectionTrait,
    ) -> Result<i64, StoreError> {
        let number = on.execute_raw(self.build()).await?.last_insert_id();
        Ok(i64::try_from(number).unwrap_or(i64::MAX))
    }

    /// Runs it: the rows it finds.
    pub(in crate::parts::store) async fn rows(
        &mut self,
        on: &impl ConnectionTrait,
    ) -> Result<Vec<sea_orm::QueryResult>, StoreError> {
        Ok(on.query_all_raw(self.build()).await?)
    }
}
