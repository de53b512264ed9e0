//! The origins of other sites whose pages may use the API. They are listed exactly: a pattern would also match sites that
//! somebody else can register.

use std::sync::Arc;

use poem::http::{HeaderMap, HeaderValue, header};
use serde::Deserialize;
use url::Url;

use crate::runtime::settings::{Names, plain};

/// Origins as browsers write them in `Origin`: scheme, host, and the port unless it is the scheme's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Names")]
pub struct Origins(Arc<[String]>);

plain!(List: Origins => |origins| origins.0.to_vec());

impl TryFrom<Names> for Origins {
    type Error = String;

    fn try_from(names: Names) -> Result<Self, String> {
        let given = names.split().filter(|name| !name.is_empty());
        let origins = given.map(|name| {
            if is_origin(&name) {
                return Ok(name);
            }
            Err(format!(
                "{name:?} is no origin: each one is http:// or https://, a host in lower case, and a port unless it is \
                 the scheme's own, without a path, a slash at the end or a wildcard, such as \
                 https://shop.example,http://localhost:5173"
            ))
        });
        origins.collect::<Result<_, _>>().map(Self)
    }
}

/// Whether a browser writes this origin in this form. `null` is none: every sandboxed page has it.
fn is_origin(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https")
            && !text.contains('*')
            && url.origin().ascii_serialization() == text
    })
}

impl Origins {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether pages of all of them are loaded over TLS, so that nobody on the way can change what they do.
    #[must_use]
    pub fn are_encrypted(&self) -> bool {
        self.0.iter().all(|origin| origin.starts_with("https://"))
    }

    /// The origin of a request, if it is one of these. A request with two has none.
    #[must_use]
    pub fn of<'a>(&self, headers: &'a HeaderMap) -> Option<&'a HeaderValue> {
        if self.is_empty() {
            return None;
        }
        let mut sent = headers.get_all(header::ORIGIN).iter();
        let (Some(origin), None) = (sent.next(), sent.next()) else {
            return None;
        };
        let is_listed = self
            .0
            .iter()
            .any(|listed| listed.as_bytes() == origin.as_bytes());
        is_listed.then_some(origin)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The origins of a configuration.
    pub fn origins(text: &str) -> Result<Origins, String> {
        Names::Text(text.to_owned()).try_into()
    }

    #[test]
    fn only_exact_origins_can_be_configured() {
        for good in [
            "https://shop.example",
            "https://shop.example:8443",
            "http://localhost:5173",
            "http://127.0.0.1",
            "http://[::1]:3000",
            "https://xn--mller-kva.example",
        ] {
            assert!(origins(good).is_ok(), "{good}");
        }
        for bad in [
            "*",
            "https://*",
            "https://*.shop.example",
            "null",
            "shop.example",
            "//shop.example",
            "https://",
            "https://shop.example/",
            "https://shop.example/path",
            "https://shop.example?",
            "https://shop.example#",
            "https://shop.example:443",
            "http://shop.example:80",
            "https://Shop.example",
            "HTTPS://shop.example",
            "https://user@shop.example",
            "https://shop.example https://other.example",
            "https://müller.example",
            "ftp://shop.example",
            "file:///shop",
            "chrome-extension://abc",
        ] {
            let message = origins(bad).unwrap_err();
            assert!(message.contains("is no origin"), "{message}");
        }
        assert!(origins("").unwrap().is_empty());
        let two = origins("https://a.example, https://b.example").unwrap();
        assert!(!two.is_empty() && two.are_encrypted());
        assert!(
            !origins("https://a.example,http://b.example")
                .unwrap()
                .are_encrypted()
        );
    }

    #[test]
    fn the_origin_of_a_request_is_compared_as_a_whole() {
        let listed = origins("https://shop.example,http://localhost:5173").unwrap();
        let of = |values: &[&'static str]| {
            let values = values.iter();
            let headers: HeaderMap = values
                .map(|value| (header::ORIGIN, HeaderValue::from_static(value)))
                .collect();
            listed.of(&headers).cloned()
        };
        assert_eq!(
            of(&["https://shop.example"]).unwrap(),
            "https://shop.example"
        );
        assert_eq!(
            of(&["http://localhost:5173"]).unwrap(),
            "http://localhost:5173"
        );
        for foreign in [
            &[][..],
            &["null"],
            &[""],
            &["*"],
            &["http://shop.example"],
            &["https://shop.example/"],
            &["https://shop.example:8443"],
            &["https://shop.example.evil.example"],
            &["https://evil.example"],
            &["https://SHOP.example"],
            &["https://shop.example", "https://evil.example"],
            &["https://shop.example", "https://shop.example"],
        ] {
            assert_eq!(of(foreign), None, "{foreign:?}");
        }
    }
}
