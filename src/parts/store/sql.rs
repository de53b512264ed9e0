//! Builds statements as text, for the rows of a commit and for the few statements that the query builder cannot
//! express or makes harder to read; decision 0018 lists them. On the hot path text is measurably cheaper: the object
//! mapper took 50 % longer to build the rows of a commit. Text and values are appended together, so that they match.
//! The differences between MySQL and SQLite (the clock, upserts, lists of pairs) are here and in `query`.

use std::time::Duration;

use chrono::TimeDelta;
use sea_orm::sea_query::Expr;
use sea_orm::{
    ConnectionTrait, DbBackend, EntityTrait, IdenStatic, Iterable, QueryResult, Statement, Value,
};

use super::numbers::to_unsigned;
use super::{Database, Schema, Store, StoreError};
use crate::domain::{Timestamp, to_stored_precision};

/// A statement under construction.
#[derive(Debug)]
pub(super) struct Sql {
    backend: DbBackend,
    now: Timestamp,
    text: String,
    values: Vec<Value>,
}

impl<S: Schema> Database<S> {
    /// A statement that starts with `text`, which must contain no value.
    pub(super) fn sql(&self, text: &str) -> Sql {
        Sql {
            backend: self.db.get_database_backend(),
            now: to_stored_precision(self.clock.now()),
            text: text.to_owned(),
            values: Vec::new(),
        }
    }

    /// The time now, as [`Sql::now`].
    pub(super) fn now_expr(&self) -> Expr {
        self.sql("").now().expr()
    }

    /// The time `delay` from now, as [`Sql::after`].
    pub(super) fn after(&self, delay: Duration) -> Expr {
        self.sql("").after(delay).expr()
    }

    /// The time `age` ago, as [`Sql::before`].
    pub(super) fn before(&self, age: Duration) -> Expr {
        self.sql("").before(age).expr()
    }
}

impl Sql {
    /// Appends text.
    pub(super) fn push(&mut self, text: &str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    /// Appends a value.
    pub(super) fn bind(&mut self, value: impl Into<Value>) -> &mut Self {
        self.text.push('?');
        self.values.push(value.into());
        self
    }

    /// Appends values in parentheses; without values, an empty list.
    pub(super) fn list<V: Into<Value>>(
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
    pub(super) fn rows_of<const COLUMNS: usize>(
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

    /// Appends pairs in parentheses, at least one. As a list of rows both databases use the primary key; their syntax
    /// differs.
    pub(super) fn pairs(&mut self, pairs: impl IntoIterator<Item = (Value, Value)>) -> &mut Self {
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

    /// Appends, to an insert: if a row with the same key exists, the values of the new row are added to its other
    /// columns.
    pub(super) fn or_add<E: EntityTrait>(&mut self) -> &mut Self {
        let table = E::default().table_name();
        let key: Vec<&str> = E::PrimaryKey::iter().map(|key| key.as_str()).collect();
        let new = if self.backend == DbBackend::Sqlite {
            let key = key.join(", ");
            self.push(&format!(" ON CONFLICT ({key}) DO UPDATE SET "));
            "excluded"
        } else {
            self.push(" AS fresh ON DUPLICATE KEY UPDATE ");
            "fresh"
        };
        let columns = E::Column::iter().map(|column| column.as_str());
        let set: Vec<String> = columns
            .filter(|column| !key.contains(column))
            .map(|column| format!("{column} = {table}.{column} + {new}.{column}"))
            .collect();
        self.push(&set.join(", "))
    }

    /// Adds `by` to the integers in one column of the rows that were appended with [`Sql::rows_of`].
    pub(super) fn shift<const COLUMNS: usize>(&mut self, column: usize, by: i64) {
        for value in self.values.iter_mut().skip(column).step_by(COLUMNS) {
            if let Value::BigInt(Some(number)) = value {
                *number += by;
            }
        }
    }

    /// Appends the assignment that moves a campaign's stream by this number of events; see [`Sql::run_for_sequence`].
    pub(super) fn append_events(&mut self, events: usize) -> &mut Self {
        let events = i64::try_from(events).unwrap_or(i64::MAX);
        if self.backend == DbBackend::Sqlite {
            return self.push("event_sequence = event_sequence + ").bind(events);
        }
        // The answer to the statement contains the value, so reading it takes no round trip.
        self.push("event_sequence = LAST_INSERT_ID(event_sequence + ");
        self.bind(events).push(")")
    }

    /// Runs an update of one campaign's row. Returns the sequence of its last event; none: no row was updated.
    pub(super) async fn run_for_sequence(
        &mut self,
        on: &impl ConnectionTrait,
    ) -> Result<Option<u64>, StoreError> {
        if self.backend == DbBackend::Sqlite {
            let rows = self.push(" RETURNING event_sequence").rows(on).await?;
            let last = rows.first().map(|row| row.try_get("", "event_sequence"));
            return Ok(last.transpose()?.map(to_unsigned));
        }
        let done = on.execute_raw(self.build()).await?;
        Ok((done.rows_affected() == 1).then(|| done.last_insert_id()))
    }

    /// Appends the time now. On MySQL it is the database's own clock, the one all replicas share.
    pub(super) fn now(&mut self) -> &mut Self {
        match self.backend {
            DbBackend::MySql => self.push("UTC_TIMESTAMP(6)"),
            _ => self.bind(self.now),
        }
    }

    /// Appends the time `delay` from now, by the same clock.
    pub(super) fn after(&mut self, delay: Duration) -> &mut Self {
        if self.backend == DbBackend::MySql {
            return self.shifted("+", delay);
        }
        let delay = TimeDelta::from_std(delay).unwrap_or(TimeDelta::MAX);
        self.bind(self.now.checked_add_signed(delay).unwrap_or(self.now))
    }

    /// Appends the time `age` ago, by the same clock.
    pub(super) fn before(&mut self, age: Duration) -> &mut Self {
        if self.backend == DbBackend::MySql {
            return self.shifted("-", age);
        }
        let age = TimeDelta::from_std(age).unwrap_or(TimeDelta::MAX);
        self.bind(self.now.checked_sub_signed(age).unwrap_or_default())
    }

    fn shifted(&mut self, sign: &str, by: Duration) -> &mut Self {
        let micros = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        self.push("(UTC_TIMESTAMP(6) ").push(sign);
        self.push(" INTERVAL ").bind(micros).push(" MICROSECOND)")
    }

    /// The time now by the clock of [`Sql::now`].
    pub(super) async fn time(
        store: &Store,
        on: &impl ConnectionTrait,
    ) -> Result<Timestamp, StoreError> {
        let mut sql = store.sql("SELECT ");
        let rows = sql.now().push(" AS now_at").rows(on).await?;
        let row = rows.first();
        let row = row.ok_or_else(|| StoreError::unreadable("the time", ""))?;
        Ok(row.try_get("", "now_at")?)
    }

    /// As a part of a statement of the query builder.
    fn expr(&mut self) -> Expr {
        let text = std::mem::take(&mut self.text);
        Expr::cust_with_values(text, std::mem::take(&mut self.values))
    }

    fn build(&mut self) -> Statement {
        let text = std::mem::take(&mut self.text);
        let values = std::mem::take(&mut self.values);
        Statement::from_sql_and_values(self.backend, text, values)
    }

    /// Runs the statement. Returns the number of affected rows.
    pub(super) async fn run(&mut self, on: &impl ConnectionTrait) -> Result<u64, StoreError> {
        Ok(on.execute_raw(self.build()).await?.rows_affected())
    }

    /// Runs the statement. Returns the rows that it finds.
    pub(super) async fn rows(
        &mut self,
        on: &impl ConnectionTrait,
    ) -> Result<Vec<QueryResult>, StoreError> {
        Ok(on.query_all_raw(self.build()).await?)
    }
}
