//! The host that a request is for (RFC 9112, 3.2). Its `Host` line names it; an absolute request target names it
//! instead, and then the line does not count. A gateway and this server could otherwise see two hosts, so an
//! ambiguous request is marked. This module does not know which hosts exist.

use poem::http::uri::PathAndQuery;
use poem::http::{HeaderValue, Uri, Version, header};

/// Request data of a request that names no host, or more than one: the endpoint should answer 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidHost;

/// Marks that a host name may contain beside letters and digits. A comma would be two lines joined into one.
const NAME_MARKS: &[u8] = b"-._~%!$&'()*+;=";

/// A host and its port, as a `Host` line has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host<'a> {
    /// A name or an IPv4 address; it may be empty.
    Name(&'a str),
    /// What stands in brackets: an IPv6 address, not verified.
    Bracketed(&'a str),
}

impl<'a> Host<'a> {
    /// Parses a host with an optional port. An empty host is valid: the target has none.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || NAME_MARKS.contains(&byte);
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (address, port) = rest.split_once(']')?;
            let is_valid = address.bytes().all(|byte| is_of_name(byte) || byte == b':');
            (is_valid.then_some(Self::Bracketed(address))?, port)
        } else {
            let (name, port) = text.find(':').map_or((text, ""), |at| text.split_at(at));
            let is_valid = name.bytes().all(is_of_name);
            (is_valid.then_some(Self::Name(name))?, port)
        };
        let digits = match port.strip_prefix(':') {
            None if port.is_empty() => port,
            None => return None,
            Some(digits) => digits,
        };
        digits
            .bytes()
            .all(|byte| byte.is_ascii_digit())
            .then_some(host)
    }
}

fn is_valid(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| Host::parse(text).is_some())
}

/// Leaves one host in a request, in its `Host` line, and a path with its query as the target.
pub(crate) fn normalize<B>(request: &mut hyper::Request<B>) -> Result<(), InvalidHost> {
    let mut lines = request.headers().get_all(header::HOST).iter();
    match (lines.next(), lines.next()) {
        (Some(line), None) if is_valid(line.as_bytes()) => {}
        // HTTP/1.0 does not have the line.
        (None, _) if request.version() < Version::HTTP_11 => {}
        _ => return Err(InvalidHost),
    }
    let target = request.uri();
    let (Some(_), Some(authority)) = (target.scheme(), target.authority()) else {
        return Ok(());
    };
    if !is_valid(authority.as_str().as_bytes()) {
        return Err(InvalidHost);
    }
    let host = HeaderValue::from_str(authority.as_str()).map_err(|_| InvalidHost)?;
    let path = path_of(target)?;
    request.headers_mut().insert(header::HOST, host);
    *request.uri_mut() = Uri::from(path);
    Ok(())
}

/// The path and query of an absolute target. A path that is missing is `/` (RFC 9110, 4.2.3), also before a query or
/// a fragment.
fn path_of(target: &Uri) -> Result<PathAndQuery, InvalidHost> {
    let path = target.path_and_query().map_or("", PathAndQuery::as_str);
    let slash = if path.starts_with('/') { "" } else { "/" };
    format!("{slash}{path}").parse().map_err(|_| InvalidHost)
}

/// Builds a request; none if its parts cannot be parsed.
#[cfg(any(test, fuzzing, feature = "fuzz"))]
fn request(version: Version, target: &[u8], lines: &[&[u8]]) -> Option<hyper::Request<()>> {
    let mut request = hyper::Request::new(());
    *request.version_mut() = version;
    *request.uri_mut() = Uri::try_from(target).ok()?;
    for line in lines {
        let line = HeaderValue::from_bytes(line).ok()?;
        request.headers_mut().append(header::HOST, line);
    }
    Some(request)
}

/// A request that is not refused has one host, and a target without host.
#[cfg(any(test, fuzzing, feature = "fuzz"))]
pub(crate) fn fuzz(bytes: &[u8]) {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let target = lines.next().unwrap_or_default();
    let lines: Vec<&[u8]> = lines.collect();
    for version in [Version::HTTP_10, Version::HTTP_11] {
        let Some(mut request) = request(version, target, &lines) else {
            return;
        };
        let was_absolute = request.uri().scheme().is_some();
        if normalize(&mut request).is_err() {
            continue;
        }
        let hosts: Vec<_> = request.headers().get_all(header::HOST).iter().collect();
        let is_old = version == Version::HTTP_10;
        assert!(
            hosts.len() == 1 || (hosts.is_empty() && is_old),
            "{hosts:?}"
        );
        assert!(
            hosts.iter().all(|host| is_valid(host.as_bytes())),
            "{hosts:?}"
        );
        let target = request.uri();
        assert!(target.scheme().is_none(), "{target}");
        assert!(!was_absolute || target.path().starts_with('/'), "{target}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The host and the target of a normalized HTTP/1.1 request.
    fn normalized(target: &str, lines: &[&str]) -> Option<(String, String)> {
        let lines: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
        let mut request = request(Version::HTTP_11, target.as_bytes(), &lines).unwrap();
        normalize(&mut request).ok()?;
        let mut hosts = request.headers().get_all(header::HOST).iter();
        let host = hosts.next().unwrap().to_str().unwrap().to_owned();
        assert_eq!(hosts.next(), None);
        Some((host, request.uri().to_string()))
    }

    fn both(host: &str, target: &str) -> (String, String) {
        (host.to_owned(), target.to_owned())
    }

    #[test]
    fn a_request_has_one_valid_host_line() {
        for valid in [
            "a",
            "a.example:80",
            "127.0.0.1:",
            "[::1]",
            "[::1]:8080",
            "",
            "a_b~%41",
        ] {
            assert_eq!(
                normalized("/x?y=z", &[valid]),
                Some(both(valid, "/x?y=z")),
                "{valid}"
            );
        }
        let ambiguous: [&[&str]; 4] = [&[], &["a", "b"], &["a", "a"], &["", ""]];
        for lines in ambiguous {
            assert_eq!(normalized("/", lines), None, "{lines:?}");
        }
        for invalid in [
            "a b", "a,b", "a/b", "u@a", "a:b", "a:80:80", "a?", "a#", "[::1", "::1", "[::1]x",
            "[a/b]", "a\u{fc}", "http://a",
        ] {
            assert_eq!(normalized("/", &[invalid]), None, "{invalid}");
        }
    }

    #[test]
    fn an_absolute_target_names_the_host() {
        for (target, host, path) in [
            ("http://evil.example/x?y=z", "evil.example", "/x?y=z"),
            ("https://evil.example:443", "evil.example:443", "/"),
            ("http://[::1]:80/x", "[::1]:80", "/x"),
            ("http://evil.example?y=z", "evil.example", "/?y=z"),
            ("http://evil.example#y", "evil.example", "/"),
        ] {
            assert_eq!(normalized(target, &["127.0.0.1"]), Some(both(host, path)));
            assert_eq!(normalized(target, &[]), None, "the line is required");
            assert_eq!(normalized(target, &["a", "b"]), None);
        }
        assert_eq!(normalized("http://user@evil.example/", &["a"]), None);
        // Other forms of targets.
        assert_eq!(normalized("*", &["a"]), Some(both("a", "*")));
        assert_eq!(
            normalized("a.example:80", &["a"]),
            Some(both("a", "a.example:80"))
        );
    }

    #[test]
    fn http_1_0_requests_may_omit_the_host_line() {
        let is_accepted = |target: &[u8], lines: &[&[u8]]| {
            normalize(&mut request(Version::HTTP_10, target, lines).unwrap()).is_ok()
        };
        assert!(is_accepted(b"/", &[]) && is_accepted(b"/", &[b"a"]));
        assert!(is_accepted(b"http://a/", &[]));
        assert!(!is_accepted(b"/", &[b"a", b"a"]) && !is_accepted(b"/", &[b"a b"]));
    }
}
