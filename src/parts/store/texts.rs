//! Texts of any length for columns of a bounded one.

/// A text, or as many characters of its beginning.
pub(super) fn shortened(text: &str, characters_max: usize) -> String {
    text.chars().take(characters_max).collect()
}
