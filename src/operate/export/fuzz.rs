//! Fuzz target: text from users in a line of CSV.

use csv_core::{ReadRecordResult, Reader};

use super::record::{harmless, line};

/// Text is read back unchanged, and no cell begins like a formula.
pub fn line_of(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let safe = harmless(text);
    assert!(
        !safe
            .trim_start_matches([' ', '"'])
            .starts_with(['=', '+', '-', '@', '\t', '\r', '\n']),
        "{safe:?}"
    );
    let mut written = Vec::new();
    line(&mut written, &["1", safe.as_str(), "2"]);
    let mut room = vec![0; written.len() + 16];
    let mut ends = [0; 8];
    let (result, read, _, fields) = Reader::new().read_record(&written, &mut room, &mut ends);
    assert!(matches!(result, ReadRecordResult::Record), "one line");
    // The last byte of the line break belongs to the next line.
    assert!(read + 1 >= written.len() && fields == 3, "{safe:?}");
    let cell = ends.first().zip(ends.get(1));
    let cell = cell.and_then(|(from, to)| room.get(*from..*to));
    assert_eq!(cell, Some(safe.as_bytes()));
}
