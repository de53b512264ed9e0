//! Parses a file with one user per line, in constant memory: RFC 4180, so a number may be quoted. The first line may
//! be `userId`. Pure.

use std::borrow::Cow;

use csv_core::{ReadFieldResult, Reader};

use crate::domain::UserId;

/// A longer cell is no user, even with leading zeros.
const CELL_BYTES_MAX: usize = 64;
/// The name of the one column.
const COLUMN: &str = "userId";
const WANTED: &str = "must be an integer between 1 and 9007199254740991";

/// A line that cannot be parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// Its number, from 1.
    pub line: u64,
    /// The column.
    pub field: Cow<'static, str>,
    /// The problem.
    pub problem: &'static str,
}

/// Reads a file.
pub(super) struct Lines {
    reader: Reader,
    cell: [u8; CELL_BYTES_MAX],
    cell_bytes: usize,
    /// Parsed columns of this line.
    columns: u32,
    /// The line of the next byte.
    line: u64,
    /// The line on which the current record began; none: no record has begun.
    began: Option<u64>,
    /// Whether the header may follow.
    is_first: bool,
}

impl Lines {
    pub(super) fn new() -> Self {
        Self {
            reader: Reader::new(),
            cell: [0; CELL_BYTES_MAX],
            cell_bytes: 0,
            columns: 0,
            line: 1,
            began: None,
            is_first: true,
        }
    }

    /// Parses a part of the file, and adds its users.
    pub(super) fn read(&mut self, bytes: &[u8], users: &mut Vec<UserId>) -> Result<(), BadLine> {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let is_blank = piece.iter().all(|byte| matches!(byte, b'\r' | b'\n'));
            if self.began.is_none() && !is_blank {
                self.began = Some(self.line);
            }
            let mut rest = piece;
            while !rest.is_empty() {
                rest = self.field(rest, users)?.unwrap_or_default();
            }
            if piece.ends_with(b"\n") {
                self.line += 1;
            }
        }
        Ok(())
    }

    /// Parses the record that the end of the file completes.
    pub(super) fn end(&mut self, users: &mut Vec<UserId>) -> Result<(), BadLine> {
        while self.field(&[], users)?.is_some() {}
        Ok(())
    }

    /// Parses up to the end of a field, and returns the rest; none: the end.
    fn field<'a>(
        &mut self,
        bytes: &'a [u8],
        users: &mut Vec<UserId>,
    ) -> Result<Option<&'a [u8]>, BadLine> {
        let room = self.cell.get_mut(self.cell_bytes..).unwrap_or_default();
        let (result, read, written) = self.reader.read_field(bytes, room);
        self.cell_bytes += written;
        let rest = bytes.get(read..).unwrap_or_default();
        match result {
            ReadFieldResult::InputEmpty => Ok(Some(&[])),
            ReadFieldResult::End => Ok(None),
            ReadFieldResult::OutputFull => Err(self.bad(COLUMN.into(), WANTED)),
            ReadFieldResult::Field { record_end } => {
                self.cell_read(users)?;
                self.cell_bytes = 0;
                self.columns += 1;
                if record_end {
                    (self.columns, self.began, self.is_first) = (0, None, false);
                }
                Ok(Some(rest))
            }
        }
    }

    fn cell_read(&mut self, users: &mut Vec<UserId>) -> Result<(), BadLine> {
        if self.columns > 0 {
            let column = format!("column {}", self.columns + 1);
            return Err(self.bad(column.into(), "is one too many: the only column is userId"));
        }
        let cell = self.cell.get(..self.cell_bytes).unwrap_or_default();
        let text = std::str::from_utf8(cell).unwrap_or_default().trim();
        if self.is_first && text == COLUMN {
            return Ok(());
        }
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = digits.then(|| text.parse().ok()).flatten();
        match number.and_then(UserId::parse) {
            Some(user) => users.push(user),
            None => return Err(self.bad(COLUMN.into(), WANTED)),
        }
        Ok(())
    }

    fn bad(&self, field: Cow<'static, str>, problem: &'static str) -> BadLine {
        BadLine {
            line: self.began.unwrap_or(self.line),
            field,
            problem,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The result for a file, which must not depend on how it is cut.
    fn read(file: &str) -> Result<Vec<i64>, (u64, String)> {
        let whole = read_in(file, file.len().max(1));
        for bytes in 1..=7 {
            assert_eq!(read_in(file, bytes), whole, "{file:?} in pieces of {bytes}");
        }
        whole
    }

    fn read_in(file: &str, bytes: usize) -> Result<Vec<i64>, (u64, String)> {
        let (mut lines, mut users) = (Lines::new(), Vec::new());
        let mut pieces = file.as_bytes().chunks(bytes);
        let read = pieces.try_for_each(|piece| lines.read(piece, &mut users));
        let read = read.and_then(|()| lines.end(&mut users));
        read.map_err(|bad| (bad.line, bad.field.into_owned()))?;
        Ok(users.into_iter().map(|user| user.0).collect())
    }

    #[test]
    fn one_user_per_line_with_or_without_a_header() {
        for file in [
            "1\n2\n30\n",
            "userId\n1\n2\n30\n",
            "userId\r\n1\r\n2\r\n30\r\n",
            "\"userId\"\n\"1\"\n2\n\"30\"",
            "1\n\n\n2\n\r\n30",
            " 1 \n2\n0030\n",
        ] {
            assert_eq!(read(file), Ok(vec![1, 2, 30]), "{file:?}");
        }
        assert_eq!(read(""), Ok(vec![]));
        assert_eq!(read("userId\n"), Ok(vec![]));
        assert_eq!(read("9007199254740991"), Ok(vec![9_007_199_254_740_991]));
    }

    #[test]
    fn a_byte_order_mark_is_ignored() {
        assert_eq!(read_in("\u{feff}userId\n5\n", 64), Ok(vec![5]));
    }

    #[test]
    fn a_bad_line_is_named_by_its_number_and_its_field() {
        let long = "1".repeat(100);
        for (file, line, field) in [
            ("1\nx\n3\n", 2, "userId"),
            ("userId\n1\n\n0\n", 4, "userId"),
            ("1\n2\n-3", 3, "userId"),
            ("+1\n", 1, "userId"),
            ("1.5\n", 1, "userId"),
            ("1\n9007199254740992\n", 2, "userId"),
            ("1\n\"\"\n", 2, "userId"),
            ("1\nuserId\n", 2, "userId"),
            ("1\n2,3\n", 2, "column 2"),
            ("userId,name\n1,x\n", 1, "column 2"),
            (&format!("1\n{long}\n"), 2, "userId"),
            ("1\n\"2\n3\n4\n", 2, "userId"),
        ] {
            assert_eq!(read(file), Err((line, field.to_owned())), "{file:?}");
        }
    }
}
