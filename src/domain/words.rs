//! Enums that are stored and sent as words.

/// Implements the conversions of an enum to its words and back.
macro_rules! words {
    ($name:ident { $($variant:ident = $word:literal),+ $(,)? }) => {
        impl $name {
            /// All words.
            pub const WORDS: &[&str] = &[$($word),+];

            /// The lower-case word used in the API, the database and the gate.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// The value for a word, or none for a word that is not one of ours.
            #[must_use]
            pub fn parse(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}
pub(crate) use words;
