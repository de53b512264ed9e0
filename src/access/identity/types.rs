//! The type of a token (`typ`). A token that was issued for another purpose must not authenticate a user (RFC 8725,
//! 3.11).

use std::fmt;

/// The type of a token without `typ`.
const UNTYPED: &str = "jwt";
/// May be left out in front of a media type (RFC 7515, 4.1.9).
const APPLICATION: &str = "application/";

/// The types of tokens that are accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenTypes(Vec<String>);

impl Default for TokenTypes {
    /// JSON Web Tokens without a purpose of their own, and access tokens of OAuth 2.0 (RFC 9068).
    fn default() -> Self {
        Self(vec![UNTYPED.to_owned(), "at+jwt".to_owned()])
    }
}

impl fmt::Display for TokenTypes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.join(","))
    }
}

impl TokenTypes {
    /// These; none, where a name is no media type, or there are none.
    pub fn parse(names: impl Iterator<Item = String>) -> Option<Self> {
        let names = names.map(|name| is_name(&name).then(|| canonical(&name)));
        let names: Vec<String> = names.collect::<Option<_>>()?;
        (!names.is_empty()).then_some(Self(names))
    }

    /// Whether a token with this `typ` is accepted. One without is a `JWT`.
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

/// Media types are the same in upper and lower case.
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
            "JWT is the same as none"
        );
    }

    #[test]
    fn an_invalid_token_type_is_rejected_at_start() {
        for wrong in [&[][..], &[""], &["a b"], &["JWT", "*"]] {
            assert_eq!(parsed(wrong), None, "{wrong:?}");
        }
    }
}
