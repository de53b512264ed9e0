//! Parses a file of users in parts of any length.

use super::lines::Lines;

/// The users, or the line in error, do not depend on how the file is cut.
pub fn lines(bytes: &[u8]) {
    let Some((cut, file)) = bytes.split_first() else {
        return;
    };
    let whole = read(file, file.len().max(1));
    let cut = usize::from(*cut).max(1);
    assert_eq!(read(file, cut), whole, "in pieces of {cut} bytes");
}

fn read(file: &[u8], piece_bytes: usize) -> Result<Vec<i64>, u64> {
    let (mut lines, mut users) = (Lines::new(), Vec::new());
    let mut pieces = file.chunks(piece_bytes);
    let read = pieces.try_for_each(|piece| lines.read(piece, &mut users));
    let read = read.and_then(|()| lines.end(&mut users));
    assert!(users.iter().all(|user| user.0 > 0), "users are users");
    match read {
        Ok(()) => Ok(users.iter().map(|user| user.0).collect()),
        Err(bad) => Err(bad.line),
    }
}
