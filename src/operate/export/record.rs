//! Writes one participation as one line of CSV (RFC 4180); the first line has the names. Pure.

use csv_core::{Terminator, WriteResult, WriterBuilder};

use crate::domain::{Participation, Timestamp};
use crate::parts::store::RankedRow;

/// The columns, named as in the API.
pub(super) const COLUMNS: [&str; 12] = [
    "participationId",
    "campaignId",
    "userId",
    "rank",
    "quantity",
    "status",
    "remaining",
    "amount",
    "paymentReference",
    "createdAt",
    "expiresAt",
    "rewardedAt",
];

/// The first line.
pub(super) fn header() -> Vec<u8> {
    let mut bytes = Vec::new();
    line(&mut bytes, &COLUMNS);
    bytes
}

/// Adds lines.
pub(super) fn append(to: &mut Vec<u8>, rows: &[RankedRow]) {
    for row in rows {
        line(to, &cells(row));
    }
}

/// Adds one line of CSV, written with `csv-core`, which needs no further crates.
pub fn line(to: &mut Vec<u8>, cells: &[impl AsRef<str>]) {
    let mut writer = WriterBuilder::new().terminator(Terminator::CRLF).build();
    for (nth, cell) in cells.iter().enumerate() {
        if nth > 0 {
            written(to, |room| writer.delimiter(room));
        }
        let mut rest = cell.as_ref().as_bytes();
        written(to, |room| {
            let (result, read, bytes) = writer.field(rest, room);
            rest = rest.get(read..).unwrap_or_default();
            (result, bytes)
        });
    }
    written(to, |room| writer.terminator(room));
}

/// Calls the writer until it is done; it writes a bounded part at a time.
fn written(to: &mut Vec<u8>, mut write: impl FnMut(&mut [u8]) -> (WriteResult, usize)) {
    let mut room = [0; 128];
    loop {
        let (result, bytes) = write(&mut room);
        to.extend_from_slice(room.get(..bytes).unwrap_or_default());
        if result == WriteResult::InputEmpty {
            return;
        }
    }
}

fn cells(row: &RankedRow) -> [String; COLUMNS.len()] {
    let Participation {
        id,
        campaign_id,
        user_id,
        quantity,
        rank,
        status,
        remaining,
        amount,
        payment_reference,
        expires_at,
        created_at,
    } = &row.participation;
    [
        id.to_string(),
        campaign_id.to_string(),
        user_id.to_string(),
        rank.to_string(),
        quantity.to_string(),
        status.as_str().to_owned(),
        number(*remaining),
        number(*amount),
        harmless(payment_reference.as_deref().unwrap_or_default()),
        time(Some(*created_at)),
        time(*expires_at),
        time(row.rewarded_at),
    ]
}

fn number(value: Option<u64>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

/// RFC 3339, UTC.
fn time(at: Option<Timestamp>) -> String {
    let text = |at: Timestamp| at.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true);
    at.map_or_else(String::new, text)
}

/// Text from users, changed so that no spreadsheet interprets it as a formula: an apostrophe precedes every character
/// that can begin one, also after separators such as a semicolon, at which some spreadsheets split cells. After OWASP,
/// "CSV Injection".
pub(super) fn harmless(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    let mut begins = true;
    for letter in text.chars() {
        if begins && matches!(letter, '=' | '+' | '-' | '@' | '\t' | '\r' | '\n') {
            safe.push('\'');
        }
        safe.push(letter);
        begins = matches!(letter, ',' | ';' | '|' | '\t' | '\r' | '\n' | '"')
            || (begins && letter == ' ');
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_exported_text_begins_like_a_formula() {
        for (text, written) in [
            ("pi_3MtwBw", "pi_3MtwBw"),
            ("a-b=c", "a-b=c"),
            ("", ""),
            ("=1+1", "'=1+1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("-1", "'-1"),
            ("+1", "'+1"),
            ("  =1", "  '=1"),
            ("x;=1", "x;'=1"),
            ("x, -1", "x, '-1"),
            ("\"=1", "\"'=1"),
            ("\t=1", "'\t'=1"),
        ] {
            assert_eq!(harmless(text), written, "{text:?}");
        }
    }

    #[test]
    fn lines_end_as_in_rfc_4180_and_the_first_has_the_names() {
        let text = String::from_utf8(header()).unwrap();
        assert!(text.starts_with("participationId,campaignId,") && text.ends_with("\r\n"));
    }

    #[test]
    fn separators_are_quoted_in_cells_of_any_length() {
        let long = "x".repeat(300) + "\"";
        let mut bytes = Vec::new();
        line(&mut bytes, &["a,b", "", "c\"d", "e\r\nf", &long]);
        let expected = format!(
            "\"a,b\",,\"c\"\"d\",\"e\r\nf\",\"{}\"\"\"\r\n",
            "x".repeat(300)
        );
        assert_eq!(String::from_utf8(bytes).unwrap(), expected);
    }
}
