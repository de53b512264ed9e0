//! Login names of accounts.

use std::fmt;

/// Maximum number of characters of a login name, as in the database.
pub const LOGIN_CHARACTERS_MAX: usize = 64;

/// Characters of a login name besides letters and digits: those of e-mail addresses.
const SIGNS: &str = "._@+-";

/// A login name: 1 to 64 ASCII letters, digits and `._@+-`. Names that differ only in case are equal; ASCII has the
/// same case rules in every database.
///
/// ```
/// use firstcome::domain::LoginName;
///
/// assert_eq!(LoginName::parse("Kim@shop"), LoginName::parse("kim@SHOP"));
/// assert!(LoginName::parse("no spaces").is_none());
/// ```
#[derive(Clone, Debug, Eq)]
pub struct LoginName(String);

impl LoginName {
    /// The form of a login name, as text.
    pub const FORM: &'static str = "must have 1 to 64 letters from a to z, digits, or . _ @ + -";

    /// The name, if it is one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let fits = (1..=LOGIN_CHARACTERS_MAX).contains(&text.len())
            && text
                .chars()
                .all(|letter| letter.is_ascii_alphanumeric() || SIGNS.contains(letter));
        fits.then(|| Self(text.to_owned()))
    }

    /// The name as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl PartialEq for LoginName {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl fmt::Display for LoginName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_differ_in_case_alone_are_the_same() {
        let name = |text| LoginName::parse(text).unwrap();
        assert_eq!(
            name("Ada.Lovelace@Example.org"),
            name("ada.lovelace@example.ORG")
        );
        assert_ne!(name("ada"), name("ada1"));
    }

    #[test]
    fn login_names_that_databases_compare_differently_are_rejected() {
        let long = "a".repeat(65);
        for text in [
            "",
            " ",
            "ada ",
            "a da",
            "ådä",
            "a\u{0}",
            "a/b",
            "a\"",
            long.as_str(),
        ] {
            assert!(LoginName::parse(text).is_none(), "{text:?}");
        }
        assert!(LoginName::parse(&"a".repeat(64)).is_some());
    }

    #[test]
    fn a_login_name_is_shown_as_it_was_written() {
        let name = LoginName::parse("Ada@Example.org").unwrap();
        assert_eq!(name.as_str(), "Ada@Example.org");
        assert_eq!(name.to_string(), "Ada@Example.org");
    }
}
