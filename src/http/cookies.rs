//! The cookies of those who log in here: their names, how they are set, and how they are read. What is in
//! them is not its business.

use std::time::Duration;

use poem::http::{HeaderMap, HeaderValue, header};

use super::problem::Problem;

/// Over what cookies travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cookies {
    /// TLS alone. Their names begin with `__Host-`: then no other host and no plain connection can set them.
    Secure,
    /// A plain connection, too: for one's own machine.
    Plain,
}

impl Cookies {
    /// What the cookie of a session is called.
    #[must_use]
    pub const fn session(self) -> &'static str {
        match self {
            Self::Secure => "__Host-firstcome-session",
            Self::Plain => "firstcome-session",
        }
    }

    /// What the cookie of a remembered log-in is called.
    #[must_use]
    pub const fn remembered(self) -> &'static str {
        match self {
            Self::Secure => "__Host-firstcome-remember",
            Self::Plain => "firstcome-remember",
        }
    }

    /// Sets a cookie, for as long as the browser runs, or for so long. Scripts do not see it, and pages of
    /// others do not send it along with what they post.
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

    /// Takes a cookie away.
    #[must_use]
    pub fn clear(self, name: &str) -> Option<HeaderValue> {
        self.set(name, "", Some(Duration::ZERO))
    }
}

/// The value of a cookie. One that is there twice was put there by two, and which is whose is not known. Cookies of
/// others that are no text are passed over.
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
    fn a_cookie_of_others_that_is_no_text_hides_none() {
        let mut headers = HeaderMap::new();
        let line = HeaderValue::from_bytes(b"theirs=\xff; s=1").unwrap();
        headers.insert(header::COOKIE, line);
        assert_eq!(cookie(&headers, "s").unwrap(), Some("1"));
    }

    #[test]
    fn a_cookie_that_is_there_twice_is_nobodys() {
        for lines in [&["s=1; s=2"][..], &["s=1", "s=1"]] {
            let problem = cookie(&headers(lines), "s").unwrap_err();
            assert_eq!(problem.code, "UNAUTHENTICATED");
        }
    }

    #[test]
    fn cookies_are_for_this_service_and_for_nobody_who_looks() {
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
