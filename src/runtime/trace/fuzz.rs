//! A place in a trace, as anybody may write it.

use super::parent::{read, written};

/// What is read is written so that it is read again as the same.
pub fn parent(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Some(context) = read(text) {
        let again = read(&written(&context));
        assert_eq!(again.as_ref(), Some(&context), "{text:?}");
    }
}
