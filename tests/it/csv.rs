//! Reads CSV files strictly: each line must end with a line break.

use csv_core::{ReadRecordResult, Reader};

/// The lines of a file, the first one included, each by its cells.
pub fn lines(file: &[u8]) -> Vec<Vec<String>> {
    let mut reader = Reader::new();
    let (mut rest, mut cells, mut ends) = (file, vec![0; 4_096], [0; 64]);
    let mut lines = Vec::new();
    // A line ends at the first of the two characters of a line break.
    while !matches!(rest, b"" | b"\n") {
        let (result, read, _, count) = reader.read_record(rest, &mut cells, &mut ends);
        assert_eq!(result, ReadRecordResult::Record, "a line without an end");
        rest = &rest[read..];
        let mut begin = 0;
        let cell = |end: &usize| {
            let cell = String::from_utf8(cells[begin..*end].to_vec()).unwrap();
            begin = *end;
            cell
        };
        lines.push(ends[..count].iter().map(cell).collect());
    }
    lines
}

/// The lines after the header, which must have these names in these places.
pub fn below(names: &[(usize, &str)], file: &[u8]) -> Vec<Vec<String>> {
    let mut lines = lines(file);
    let first = lines.remove(0);
    for (place, name) in names {
        assert_eq!(first[*place], *name);
    }
    lines
}
