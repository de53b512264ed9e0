//! Fuzz target: any reply of a script.

use super::Admission;
use super::answers::{admissions, held_lease};
use super::reply::Reply;

/// Only a well-formed reply admits somebody.
pub fn reply(bytes: &[u8]) {
    let mut rest = bytes;
    let reply = shaped(&mut rest, 4);
    let _is_read = held_lease(reply.clone());
    let Ok(admissions) = admissions(reply.clone(), 1) else {
        return;
    };
    assert_eq!(admissions.len(), 1, "one entrant, one answer");
    if let Some(Admission::Admitted(_)) = admissions.first() {
        let is_said = format!("{reply:?}").contains("ADMITTED");
        assert!(is_said, "{reply:?}");
    }
}

/// Any shape of a reply: lines are words, `[` and `]` alone begin and end a list, and a line that begins with `#` is
/// a number.
fn shaped(rest: &mut &[u8], depth: u32) -> Reply {
    let mut items = Vec::new();
    while !rest.is_empty() {
        let now = *rest;
        let end = now.iter().position(|byte| *byte == b'\n');
        let (word, after) = now.split_at(end.unwrap_or(now.len()));
        *rest = after.strip_prefix(b"\n").unwrap_or(after);
        let text = String::from_utf8_lossy(word);
        match text.as_ref() {
            "]" => break,
            "[" if depth > 0 => items.push(shaped(rest, depth - 1)),
            text => items.push(
                match text.strip_prefix('#').and_then(|text| text.parse().ok()) {
                    Some(number) => Reply::Integer(number),
                    None => Reply::Text(text.to_owned()),
                },
            ),
        }
    }
    Reply::List(items)
}
