//! Whether a request that changes something comes from the session's own pages. Browsers send cookies along
//! with whatever a foreign page makes them send, so a cookie alone does not say so. Only what is authenticated
//! by a cookie is asked: nobody else's `Authorization` is sent by a browser.

use poem::http::{HeaderMap, Method, StatusCode, header};
use subtle::ConstantTimeEq;

use super::problem::Problem;
use crate::access::accounts::SessionToken;

/// The header that shows the token of the session.
pub const CSRF_HEADER: &str = "x-csrf-token";

/// Lets a request pass that changes nothing, or that shows the token of its session and is not foreign.
pub fn check(method: &Method, headers: &HeaderMap, token: &SessionToken) -> Result<(), Problem> {
    if method.is_safe() {
        return Ok(());
    }
    not_foreign(headers)?;
    let mut shown = headers.get_all(CSRF_HEADER).iter();
    let expected = token.csrf();
    match (shown.next(), shown.next()) {
        (Some(shown), None) if shown.as_bytes().ct_eq(expected.as_bytes()).into() => Ok(()),
        _ => Err(problem(
            "X-CSRF-Token must be the csrfToken of the session: GET /api/session tells it.",
        )),
    }
}

/// Refuses what a browser says another site has made it send. What says nothing is no browser of today.
pub fn not_foreign(headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or(""));
    let is_ours = match (text("sec-fetch-site"), text("origin")) {
        // The browser compares with the address it asked for, which a proxy may have changed since.
        (Some(site), _) => matches!(site, "same-origin" | "none"),
        (None, Some(origin)) => is_host(origin, text(header::HOST.as_str())),
        (None, None) => true,
    };
    if is_ours {
        Ok(())
    } else {
        Err(problem("The request comes from another site."))
    }
}

/// Whether an origin is of this host and port. Its scheme is not known behind a proxy.
fn is_host(origin: &str, host: Option<&str>) -> bool {
    let place = origin
        .strip_prefix("https://")
        .or_else(|| origin.strip_prefix("http://"));
    place
        .zip(host)
        .is_some_and(|(place, host)| place.eq_ignore_ascii_case(host))
}

fn problem(detail: &'static str) -> Problem {
    Problem::new(
        StatusCode::FORBIDDEN,
        "CSRF",
        "Not shown to come from the session's own pages",
        detail,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::UserId;
    use poem::http::{HeaderName, HeaderValue};

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| {
            let value = HeaderValue::from_str(value).unwrap();
            (HeaderName::from_static(name), value)
        });
        pairs.collect()
    }

    #[test]
    fn what_changes_something_shows_the_token_of_its_session() {
        let (session, other) = (
            SessionToken::generate(UserId(1)),
            SessionToken::generate(UserId(1)),
        );
        let (right, wrong) = (session.csrf(), other.csrf());
        for method in [Method::POST, Method::PATCH, Method::PUT, Method::DELETE] {
            let check = |pairs: &[(&'static str, &str)]| {
                check(&method, &headers(pairs), &session).map_err(|problem| problem.code)
            };
            assert_eq!(check(&[(CSRF_HEADER, &right)]), Ok(()));
            for shown in ["", &wrong, &right[1..], &format!("{right} ")] {
                assert_eq!(check(&[(CSRF_HEADER, shown)]), Err("CSRF"), "{shown}");
            }
            assert_eq!(check(&[]), Err("CSRF"));
        }
        for method in [Method::GET, Method::HEAD] {
            assert!(super::check(&method, &HeaderMap::new(), &session).is_ok());
        }
    }

    #[test]
    fn what_another_site_sends_is_refused_whatever_it_shows() {
        let session = SessionToken::generate(UserId(1));
        let host = ("host", "shop.example:8080");
        let refused = |more: &[(&'static str, &str)]| {
            let token = session.csrf();
            let mut pairs = vec![host, (CSRF_HEADER, token.as_str())];
            pairs.extend_from_slice(more);
            check(&Method::POST, &headers(&pairs), &session).is_err()
        };
        for ours in [
            &[("sec-fetch-site", "same-origin")][..],
            &[("sec-fetch-site", "none")],
            &[("origin", "https://shop.example:8080")],
            &[("origin", "http://SHOP.example:8080")],
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
            &[("origin", "")],
        ] {
            assert!(refused(foreign), "{foreign:?}");
        }
    }
}
