//! The cookies of sessions: their names, and how they are set and read. This module must not know their content.

use std::time::Duration;

use poem::http::{HeaderMap, HeaderValue, header};

use super::problem::Problem;

/// The connections that cookies are sent over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cookies {
    /// TLS only. The prefix `__Host-` prevents other hosts and plain connections from setting them.
    Secure,
    /// Also plain connections: for local use.
    Plain,
}

impl Cookies {
    /// The name of the cookie of a session.
    #[must_use]
    pub const fn session(self) -> &'static str {
        match self {
            Self::Secure => "__Host-firstcome-session",
            Self::Plain => "firstcome-session",
        }
    }

    /// The name of the cookie of a remembered log-in.
    #[must_use]
    pub const fn remembered(self) -> &'static str {
        match self {
            Self::Secure => "__Host-firstcome-remember",
            Self::Plain => "firstcome-remember",
        }
    }

    /// Sets a cookie, until the browser closes or for this time. Scripts cannot read it, and the browser does not send it
    /// with posts of other sites.
    #[must_use]
    pub fn set(self, name: &str, value: &str, age: Option<Duration>) -> Option<HeaderValue> {
        let age = age.map_or_else(String::new, |age| format!("; Max-Age={}", age.as_secs()));
        let secure = match self {
            Self::Secure => "; Secure",
            Self::Plain => "",
        };
        let cookie = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax{secure}{age}");
        let mut cookie = HeaderValue::from_str(&cookie).ok()?;
        cookie.set_sensitive(true);
        Some(cookie)
    }

    /// Clears a cookie.
    #[must_use]
    pub fn clear(self, name: &str) -> Option<HeaderValue> {
        self.set(name, "", Some(Duration::ZERO))
    }
}

/// The value of a cookie. A cookie that is sent twice is an error, because it is unknown who set which. Other cookies
/// that are not text are ignored.
pub fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Problem> {
    let lines = headers.get_all(header::COOKIE).iter();
    let pairs = lines
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b';'))
        .filter_map(|pair| std::str::from_utf8(pair).ok())
        .filter_map(|pair| pair.trim().split_once('='));
    let mut found = pairs.filter_map(|(known, value)| (known == name).then_some(value));
    match (found.next(), found.next()) {
        (first, None) => Ok(first),
        (_, Some(_)) => Err(Problem::unauthenticated(
            "Send the cookie of a session only once.",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[&'static str]) -> HeaderMap {
        let lines = lines.iter();
        lines
            .map(|line| (header::COOKIE, HeaderValue::from_static(line)))
            .collect()
    }

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        let headers = headers(&[
            "other=1; firstcome-session=a.b; x-firstcome-session=2",
            "c=3",
        ]);
        assert_eq!(cookie(&headers, "firstcome-session").unwrap(), Some("a.b"));
        assert_eq!(cookie(&headers, "c").unwrap(), Some("3"));
        assert_eq!(cookie(&headers, "session").unwrap(), None);
    }

    #[test]
    fn another_cookie_that_is_not_text_is_ignored() {
        let mut headers = HeaderMap::new();
        let line = HeaderValue::from_bytes(b"theirs=\xff; s=1").unwrap();
        headers.insert(header::COOKIE, line);
        assert_eq!(cookie(&headers, "s").unwrap(), Some("1"));
    }

    #[test]
    fn a_cookie_sent_twice_is_rejected() {
        for lines in [&["s=1; s=2"][..], &["s=1", "s=1"]] {
            let problem = cookie(&headers(lines), "s").unwrap_err();
            assert_eq!(problem.code, "UNAUTHENTICATED");
        }
    }

    #[test]
    fn cookies_are_restricted_to_this_service() {
        let minute = Some(Duration::from_secs(60));
        let secure = Cookies::Secure;
        assert_eq!(
            secure.set(secure.session(), "v", minute).unwrap(),
            "__Host-firstcome-session=v; Path=/; HttpOnly; SameSite=Lax; Secure; Max-Age=60"
        );
        assert_eq!(
            Cookies::Plain.clear("c").unwrap(),
            "c=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0"
        );
        assert!(secure.set("c", "line\nbreak", None).is_none());
    }
}
