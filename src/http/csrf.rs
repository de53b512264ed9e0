//! Protection against cross-site request forgery. A browser sends cookies also with requests that another site makes, so
//! a request that changes something also needs the token of its session. Requests with `Authorization` need none,
//! because no browser adds that header for another site.

use poem::http::{HeaderMap, Method, header};
use subtle::ConstantTimeEq;

use super::origins::Origins;
use super::problem::{Problem, kind};
use crate::access::accounts::SessionToken;

/// The header with the token of the session.
pub const CSRF_HEADER: &str = "x-csrf-token";

/// Accepts a request that changes nothing, or that has the token of its session and comes from this site or one of the
/// allowed origins.
pub fn check(
    method: &Method,
    headers: &HeaderMap,
    token: &SessionToken,
    allowed: &Origins,
) -> Result<(), Problem> {
    if method.is_safe() {
        return Ok(());
    }
    not_foreign(headers, allowed)?;
    let mut sent = headers.get_all(CSRF_HEADER).iter();
    let expected = token.csrf();
    match (sent.next(), sent.next()) {
        (Some(sent), None) if sent.as_bytes().ct_eq(expected.as_bytes()).into() => Ok(()),
        _ => Err(problem(
            "X-CSRF-Token must be the csrfToken of the session, which GET /api/session returns.",
        )),
    }
}

/// Rejects a request that the browser marks as made by another site, unless its origin is allowed: pages of that origin
/// may read the token of the session anyway. A client that marks nothing is not a current browser.
pub fn not_foreign(headers: &HeaderMap, allowed: &Origins) -> Result<(), Problem> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or(""));
    let is_ours = match (text("sec-fetch-site"), text("origin")) {
        // The browser compares with the URL that it requested, which a proxy may have changed.
        (Some(site), _) => matches!(site, "same-origin" | "none"),
        (None, Some(origin)) => is_host(origin, text(header::HOST.as_str())),
        (None, None) => true,
    };
    if is_ours || allowed.of(headers).is_some() {
        Ok(())
    } else {
        Err(problem("The request comes from another site."))
    }
}

/// Whether an origin has this host and port. Its scheme is unknown behind a proxy.
fn is_host(origin: &str, host: Option<&str>) -> bool {
    let place = origin
        .strip_prefix("https://")
        .or_else(|| origin.strip_prefix("http://"));
    place
        .zip(host)
        .is_some_and(|(place, host)| place.eq_ignore_ascii_case(host))
}

fn problem(detail: &'static str) -> Problem {
    kind::CSRF.because(detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::UserId;
    use crate::http::origins::tests::origins;
    use poem::http::{HeaderName, HeaderValue};

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| {
            let value = HeaderValue::from_str(value).unwrap();
            (HeaderName::from_static(name), value)
        });
        pairs.collect()
    }

    #[test]
    fn a_modifying_request_needs_the_csrf_token_of_its_session() {
        let (session, other) = (
            SessionToken::generate(UserId(1)),
            SessionToken::generate(UserId(1)),
        );
        let (right, wrong) = (session.csrf(), other.csrf());
        for method in [Method::POST, Method::PATCH, Method::PUT, Method::DELETE] {
            let check = |pairs: &[(&'static str, &str)]| {
                check(&method, &headers(pairs), &session, &Origins::default())
                    .map_err(|problem| problem.code)
            };
            assert_eq!(check(&[(CSRF_HEADER, &right)]), Ok(()));
            for shown in ["", &wrong, &right[1..], &format!("{right} ")] {
                assert_eq!(check(&[(CSRF_HEADER, shown)]), Err("CSRF"), "{shown}");
            }
            assert_eq!(check(&[]), Err("CSRF"));
        }
        for method in [Method::GET, Method::HEAD] {
            assert!(
                super::check(&method, &HeaderMap::new(), &session, &Origins::default()).is_ok()
            );
        }
    }

    #[test]
    fn a_cross_site_request_is_rejected_even_with_a_valid_token() {
        let session = SessionToken::generate(UserId(1));
        let host = ("host", "shop.example:8080");
        let refused = |more: &[(&'static str, &str)]| {
            let token = session.csrf();
            let mut pairs = vec![host, (CSRF_HEADER, token.as_str())];
            pairs.extend_from_slice(more);
            let allowed = origins("https://pages.example").unwrap();
            check(&Method::POST, &headers(&pairs), &session, &allowed).is_err()
        };
        for ours in [
            &[("sec-fetch-site", "same-origin")][..],
            &[("sec-fetch-site", "none")],
            &[("origin", "https://shop.example:8080")],
            &[("origin", "http://SHOP.example:8080")],
            &[("origin", "https://pages.example")],
            &[
                ("origin", "https://pages.example"),
                ("sec-fetch-site", "same-site"),
            ],
            &[
                ("origin", "https://pages.example"),
                ("sec-fetch-site", "cross-site"),
            ],
        ] {
            assert!(!refused(ours), "{ours:?}");
        }
        for foreign in [
            &[("sec-fetch-site", "cross-site")][..],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "")],
            &[("origin", "https://evil.example")],
            &[("origin", "https://shop.example")],
            &[("origin", "https://shop.example:8080.evil.example")],
            &[("origin", "null")],
            &[("origin", "http://pages.example")],
            &[("origin", "https://pages.example.evil.example")],
            &[
                ("origin", "https://pages.example"),
                ("origin", "https://evil.example"),
            ],
            &[("origin", "null"), ("sec-fetch-site", "cross-site")],
            &[("origin", "")],
        ] {
            assert!(refused(foreign), "{foreign:?}");
        }
    }
}
