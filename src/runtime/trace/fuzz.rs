//! Fuzz target: a `traceparent` of any client.

use super::parent::{read, written};

/// A parsed value is written in a form that parses to the same value.
pub fn parent(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Some(context) = read(text) {
        let again = read(&written(&context));
        assert_eq!(again.as_ref(), Some(&context), "{text:?}");
    }
}
