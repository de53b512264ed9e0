//! Tables for people.

use comfy_table::{Table, presets};

/// A column: its heading, and its cell of a row.
pub type Column<T> = (&'static str, fn(&T) -> String);

/// A table of these rows.
#[must_use]
pub fn table<T>(rows: &[T], columns: &[Column<T>]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(columns.iter().map(|(heading, _)| heading));
    let cells = |row| columns.iter().map(move |(_, cell)| cell(row));
    table.add_rows(rows.iter().map(cells));
    table
}

/// The cell of a number that may be unknown.
#[must_use]
pub fn or_none(value: Option<u64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// The cell of a verdict: `ok`, or what is wrong.
#[must_use]
pub fn verdict(breaches: &[String]) -> String {
    if breaches.is_empty() {
        return "ok".to_owned();
    }
    breaches.join("; ")
}
