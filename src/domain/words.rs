//! Enums that are stored, sent and configured as words.

/// An enum whose values are words.
pub trait Word: Copy + 'static {
    const WORDS: &'static [&'static str];

    /// The word of the value.
    fn word(self) -> &'static str;

    /// The value of a word; none: the word is unknown.
    fn parse(word: &str) -> Option<Self>;
}

/// Declares an enum and the word of each variant: the one used in the API, the database, the gate and the
/// configuration.
macro_rules! words {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $word:literal,)+ }
    ) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        $(#[$meta])*
        $vis enum $name { $($(#[$variant_meta])* $variant,)+ }

        impl $name {
            /// All values.
            pub const ALL: [Self; [$($word),+].len()] = [$(Self::$variant),+];

            /// All words.
            pub const WORDS: &[&str] = &[$($word),+];

            /// The word of the value.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// The value of a word; none: the word is unknown.
            #[must_use]
            pub fn parse(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }
        }

        impl $crate::domain::words::Word for $name {
            const WORDS: &'static [&'static str] = Self::WORDS;

            fn word(self) -> &'static str {
                self.as_str()
            }

            fn parse(word: &str) -> Option<Self> {
                Self::parse(word)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let word: String = serde::Deserialize::deserialize(deserializer)?;
                let unknown = || serde::de::Error::unknown_variant(&word, Self::WORDS);
                Self::parse(&word).ok_or_else(unknown)
            }
        }
    };
}
pub(crate) use words;
