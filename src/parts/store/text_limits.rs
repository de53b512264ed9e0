//! Shortens texts to the length of a column.

/// A text, cut to this number of characters.
pub(super) fn shortened(text: &str, characters_max: usize) -> String {
    text.chars().take(characters_max).collect()
}
