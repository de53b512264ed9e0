//! The type of a token (`typ`). A token that was issued for another purpose must not authenticate a user (RFC 8725,
//! 3.11).

use std::fmt;

use serde::Deserialize;

use crate::runtime::settings::{Names, plain};

/// The type of a token without `typ`.
const UNTYPED: &str = "jwt";
/// Optional prefix of a media type (RFC 7515, 4.1.9).
const APPLICATION: &str = "application/";

/// The types of tokens that are accepted.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Names")]
pub struct TokenTypes(Vec<String>);

impl Default for TokenTypes {
    /// JSON Web Tokens without a purpose of their own, and access tokens of OAuth 2.0 (RFC 9068).
    fn default() -> Self {
        Self(vec![UNTYPED.to_owned(), "at+jwt".to_owned()])
    }
}

impl TryFrom<Names> for TokenTypes {
    type Error = &'static str;

    fn try_from(names: Names) -> Result<Self, Self::Error> {
        let types = Self::parse(names.split());
        types.ok_or("must be media types with commas between them, such as JWT,at+jwt")
    }
}

plain!(List: TokenTypes => ToString::to_string);

impl fmt::Display for TokenTypes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.join(","))
    }
}

impl TokenTypes {
    /// Parses the names; none: a name is not a media type, or there are no names.
    pub fn parse(names: impl Iterator<Item = String>) -> Option<Self> {
        let names = names.map(|name| is_name(&name).then(|| canonical(&name)));
        let names: Vec<String> = names.collect::<Option<_>>()?;
        (!names.is_empty()).then_some(Self(names))
    }

    /// Whether a token with this `typ` is accepted. A token without `typ` counts as `JWT`.
    #[must_use]
    pub fn accept(&self, typ: Option<&str>) -> bool {
        let typ = typ.map_or_else(|| UNTYPED.to_owned(), canonical);
        self.0.contains(&typ)
    }
}

fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"+-._/".contains(&byte);
    (1..=64).contains(&name.len()) && name.bytes().all(allowed)
}

/// The canonical form of a media type: the case is irrelevant.
fn canonical(typ: &str) -> String {
    let typ = typ.to_ascii_lowercase();
    match typ.strip_prefix(APPLICATION) {
        Some(rest) if !rest.contains('/') => rest.to_owned(),
        _ => typ,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(names: &[&str]) -> Option<TokenTypes> {
        TokenTypes::parse(names.iter().map(|name| (*name).to_owned()))
    }

    #[test]
    fn only_the_listed_token_types_are_accepted() {
        let types = parsed(&["Application/Shop+JWT"]).unwrap();
        assert!(types.accept(Some("shop+jwt")) && types.accept(Some("application/shop+jwt")));
        for other in [None, Some("JWT"), Some("at+jwt"), Some("")] {
            assert!(!types.accept(other), "{other:?}");
        }
        assert!(
            parsed(&["JWT"]).unwrap().accept(None),
            "no type counts as JWT"
        );
    }

    #[test]
    fn an_invalid_token_type_is_rejected_at_start() {
        for wrong in [&[][..], &[""], &["a b"], &["JWT", "*"]] {
            assert_eq!(parsed(wrong), None, "{wrong:?}");
        }
    }
}
