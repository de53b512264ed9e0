//! Parts of statements of the query builder that MySQL and SQLite write differently.

use std::time::Duration;

use sea_orm::sea_query::{
    Asterisk, BinOper, Expr, ExprTrait, Func, IntoColumnRef, OnConflict, ValueTuple,
};
use sea_orm::{
    ConnectionTrait, DbBackend, DeleteMany, EntityTrait, IdenStatic, Iterable, PrimaryKeyToColumn,
    QuerySelect, QueryTrait, Select, TryGetable, Value,
};

use super::numbers::to_unsigned;
use super::{Database, Schema, StoreError};

impl<S: Schema> Database<S> {
    /// The time `delay` from now, or none.
    pub(super) fn maybe_after(&self, delay: Option<Duration>) -> Expr {
        delay.map_or_else(Expr::null, |delay| self.after(delay))
    }

    /// In an upsert, the value of the row that was to be inserted.
    pub(super) fn fresh(&self, column: impl IdenStatic) -> Expr {
        if self.is_embedded() {
            Expr::col(("excluded", column))
        } else {
            Func::cust("VALUES").arg(Expr::col(column)).into()
        }
    }

    /// An upsert: if a row with the same key exists, the values of the new row are added to its other columns.
    pub(super) fn or_add<E: EntityTrait>(&self) -> OnConflict {
        let mut or_add = on_key::<E>();
        for column in others::<E>() {
            let sum = Expr::col((E::default(), column)).add(self.fresh(column));
            or_add.value(column, sum);
        }
        or_add
    }

    /// The condition that columns have one of these combinations of values, at least one. As a list of rows both
    /// databases use the primary key; SQLite accepts such a list only as a subquery.
    pub(super) fn are_among<C: IntoColumnRef, const COLUMNS: usize>(
        &self,
        columns: [C; COLUMNS],
        rows: impl IntoIterator<Item = [Value; COLUMNS]>,
    ) -> Expr {
        let columns = Expr::tuple(columns.map(Expr::col));
        if !self.is_embedded() {
            let rows = rows.into_iter();
            return columns.in_tuples(rows.map(|row| ValueTuple::Many(row.into())));
        }
        let values: Vec<Value> = rows.into_iter().flatten().collect();
        let row = format!("({})", ["?"; COLUMNS].join(", "));
        let rows = vec![row; values.len() / COLUMNS].join(", ");
        let rows = Expr::cust_with_values(format!("VALUES {rows}"), values);
        columns.binary(BinOper::In, rows)
    }
}

/// The conflict clause of an insert, on the primary key.
pub(super) fn on_key<E: EntityTrait>() -> OnConflict {
    OnConflict::columns(E::PrimaryKey::iter().map(PrimaryKeyToColumn::into_column))
}

/// An upsert: the new row replaces one with the same key.
pub(super) fn or_replace<E: EntityTrait>() -> OnConflict {
    on_key::<E>().update_columns(others::<E>()).to_owned()
}

/// The columns outside of the key.
fn others<E: EntityTrait>() -> impl Iterator<Item = E::Column> {
    let is_key = |column: &E::Column| E::PrimaryKey::from_column(*column).is_some();
    E::Column::iter().filter(move |column| !is_key(column))
}

/// The number of rows for each value of a column.
pub(super) async fn count_by<E: EntityTrait, T: TryGetable + Send + Sync>(
    rows: Select<E>,
    column: E::Column,
    on: &impl ConnectionTrait,
) -> Result<Vec<(T, u64)>, StoreError> {
    let count = Expr::col(Asterisk).count();
    let rows = rows.select_only().column(column).expr(count);
    let rows: Vec<(T, i64)> = rows.group_by(column).into_tuple().all(on).await?;
    let count = |(value, rows)| (value, to_unsigned(rows));
    Ok(rows.into_iter().map(count).collect())
}

/// Runs a deletion that finds its rows by primary key. Returns their number. In a table with few more rows than keys
/// MySQL would scan, and wait for uncommitted rows of writers. The query builder has no hints for a DELETE.
pub(super) async fn delete_by_key<E: EntityTrait>(
    rows: DeleteMany<E>,
    on: &impl ConnectionTrait,
) -> Result<u64, StoreError> {
    let mut statement = rows.build(on.get_database_backend());
    if statement.db_backend == DbBackend::MySql {
        let hinted = format!("DELETE /*+ INDEX({} PRIMARY) */", E::default().table_name());
        statement.sql = statement.sql.replacen("DELETE", &hinted, 1);
    }
    Ok(on.execute_raw(statement).await?.rows_affected())
}
