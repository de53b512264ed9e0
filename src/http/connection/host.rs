//! For which host a request is (RFC 9112, 3.2). One line of its head says so; the address says so where it is a
//! whole one, and then the line does not count. A gateway and this service could otherwise see two hosts, so a
//! request that leaves a choice is refused. It must not know which hosts there are.

use poem::http::uri::PathAndQuery;
use poem::http::{HeaderValue, Uri, Version, header};

/// Put into a request that does not say for which host it is, or says it in two ways: it is answered 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnclearHost;

/// What a host name may have beside letters and digits. A comma would be two lines that somebody made one.
const NAME_MARKS: &[u8] = b"-._~%!$&'()*+;=";

/// Leaves one host in a request, in its `Host` line, and the path and query in its address.
pub(super) fn settle<B>(request: &mut hyper::Request<B>) -> Result<(), UnclearHost> {
    let mut lines = request.headers().get_all(header::HOST).iter();
    match (lines.next(), lines.next()) {
        (Some(line), None) if is_host(line.as_bytes()) => {}
        // There was no such line yet.
        (None, _) if request.version() < Version::HTTP_11 => {}
        _ => return Err(UnclearHost),
    }
    let address = request.uri();
    let (Some(_), Some(authority)) = (address.scheme(), address.authority()) else {
        return Ok(());
    };
    if !is_host(authority.as_str().as_bytes()) {
        return Err(UnclearHost);
    }
    let host = HeaderValue::from_str(authority.as_str()).map_err(|_| UnclearHost)?;
    let path = address.path_and_query().cloned();
    let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));
    request.headers_mut().insert(header::HOST, host);
    *request.uri_mut() = Uri::from(path);
    Ok(())
}

/// A name or an address, with or without a port. A request that has none for its address says nothing.
fn is_host(text: &[u8]) -> bool {
    let end = |mark: u8| text.iter().position(|byte| *byte == mark);
    let (name, port) = match text.strip_prefix(b"[") {
        Some(_) => match end(b']') {
            Some(end) => text.split_at(end + 1),
            None => return false,
        },
        None => text.split_at(end(b':').unwrap_or(text.len())),
    };
    let is_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || NAME_MARKS.contains(byte);
    let is_name = match name.strip_prefix(b"[") {
        Some(address) => address
            .strip_suffix(b"]")
            .is_some_and(|address| address.iter().all(|byte| is_of_name(byte) || *byte == b':')),
        None => name.iter().all(is_of_name),
    };
    let is_port = match port.strip_prefix(b":") {
        Some(digits) => digits.iter().all(u8::is_ascii_digit),
        None => port.is_empty(),
    };
    is_name && is_port
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    type Request = hyper::Request<()>;

    fn request(version: Version, address: &[u8], lines: &[&[u8]]) -> Option<Request> {
        let mut request = Request::new(());
        *request.version_mut() = version;
        *request.uri_mut() = Uri::try_from(address).ok()?;
        for line in lines {
            let line = HeaderValue::from_bytes(line).ok()?;
            request.headers_mut().append(header::HOST, line);
        }
        Some(request)
    }

    /// The host and the address of a request of HTTP/1.1, when it is settled.
    fn settled(address: &str, lines: &[&str]) -> Option<(String, String)> {
        let lines: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
        let mut request = request(Version::HTTP_11, address.as_bytes(), &lines).unwrap();
        settle(&mut request).ok()?;
        let mut hosts = request.headers().get_all(header::HOST).iter();
        let host = hosts.next().unwrap().to_str().unwrap().to_owned();
        assert_eq!(hosts.next(), None);
        Some((host, request.uri().to_string()))
    }

    fn both(host: &str, address: &str) -> (String, String) {
        (host.to_owned(), address.to_owned())
    }

    #[test]
    fn a_request_has_one_host_line_that_has_the_form_of_one() {
        for good in [
            "a",
            "a.example:80",
            "127.0.0.1:",
            "[::1]",
            "[::1]:8080",
            "",
            "a_b~%41",
        ] {
            assert_eq!(
                settled("/x?y=z", &[good]),
                Some(both(good, "/x?y=z")),
                "{good}"
            );
        }
        let two: [&[&str]; 4] = [&[], &["a", "b"], &["a", "a"], &["", ""]];
        for lines in two {
            assert_eq!(settled("/", lines), None, "{lines:?}");
        }
        for bad in [
            "a b", "a,b", "a/b", "u@a", "a:b", "a:80:80", "a?", "a#", "[::1", "::1", "[::1]x",
            "[a/b]", "a\u{fc}", "http://a",
        ] {
            assert_eq!(settled("/", &[bad]), None, "{bad}");
        }
    }

    #[test]
    fn a_whole_address_says_for_which_host_a_request_is() {
        for (address, host, path) in [
            ("http://evil.example/x?y=z", "evil.example", "/x?y=z"),
            ("https://evil.example:443", "evil.example:443", "/"),
            ("http://[::1]:80/x", "[::1]:80", "/x"),
        ] {
            assert_eq!(settled(address, &["127.0.0.1"]), Some(both(host, path)));
            assert_eq!(
                settled(address, &[]),
                None,
                "the line is missing all the same"
            );
            assert_eq!(settled(address, &["a", "b"]), None);
        }
        assert_eq!(settled("http://user@evil.example/", &["a"]), None);
        // Addresses that are no whole ones.
        assert_eq!(settled("*", &["a"]), Some(both("a", "*")));
        assert_eq!(
            settled("a.example:80", &["a"]),
            Some(both("a", "a.example:80"))
        );
    }

    #[test]
    fn before_http_1_1_a_request_may_have_no_host_line() {
        let settles = |address: &[u8], lines: &[&[u8]]| {
            settle(&mut request(Version::HTTP_10, address, lines).unwrap()).is_ok()
        };
        assert!(settles(b"/", &[]) && settles(b"/", &[b"a"]) && settles(b"http://a/", &[]));
        assert!(!settles(b"/", &[b"a", b"a"]) && !settles(b"/", &[b"a b"]));
    }

    /// A request that is not refused has one host, and an address without.
    pub fn fuzz(bytes: &[u8]) {
        let mut lines = bytes.split(|byte| *byte == b'\n');
        let address = lines.next().unwrap_or_default();
        let lines: Vec<&[u8]> = lines.collect();
        for version in [Version::HTTP_10, Version::HTTP_11] {
            let Some(mut request) = request(version, address, &lines) else {
                return;
            };
            let was_whole = request.uri().scheme().is_some();
            if settle(&mut request).is_err() {
                continue;
            }
            let hosts: Vec<_> = request.headers().get_all(header::HOST).iter().collect();
            let is_old = version == Version::HTTP_10;
            assert!(
                hosts.len() == 1 || (hosts.is_empty() && is_old),
                "{hosts:?}"
            );
            let is_host = |host: &&HeaderValue| super::is_host(host.as_bytes());
            assert!(hosts.iter().all(is_host), "{hosts:?}");
            let address = request.uri();
            assert!(address.scheme().is_none(), "{address}");
            assert!(!was_whole || address.path().starts_with('/'), "{address}");
        }
    }
}
