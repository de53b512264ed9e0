//! The host names that a request may address. Without this check, any web page could send requests to a service on the
//! same machine that trusts its callers: the page's owner lets the page's host name resolve to 127.0.0.1 after the page is
//! loaded (DNS rebinding), and the browser then treats the service as part of the page. Such requests still have the
//! page's name in `Host`, and are rejected by it.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use bounded_http::Host;
use poem::Request;
use poem::http::header;

/// The host names that the service accepts.
#[derive(Clone, Debug, Default)]
pub enum Hosts {
    /// Any name: requests need credentials that pages of other sites do not have.
    #[default]
    Any,
    /// `localhost`, IP addresses (they cannot be rebound), and these names.
    These(Arc<[String]>),
}

impl Hosts {
    /// The names for a service that trusts its callers: in lower case, `*.NAME` for all names below one, `*` for any.
    #[must_use]
    pub fn of_trusting(names: &[String]) -> Self {
        if names.iter().any(|name| name == "*") {
            Self::Any
        } else {
            Self::These(names.into())
        }
    }

    /// Whether the host of a request is accepted. A request without a host does not come from a browser.
    #[must_use]
    pub fn allow(&self, request: &Request) -> bool {
        let Self::These(names) = self else {
            return true;
        };
        let address = request.uri().authority();
        let address = address.map(|authority| Some(authority.as_str()));
        let headers = request.headers().get_all(header::HOST).iter();
        let headers = headers.map(|value| value.to_str().ok());
        let mut hosts = address.into_iter().chain(headers);
        hosts.all(|host| host.is_some_and(|host| is_allowed(names, host)))
    }
}

fn is_allowed(names: &[String], host: &str) -> bool {
    let name = match Host::parse(host) {
        Some(Host::Bracketed(address)) => return address.parse::<Ipv6Addr>().is_ok(),
        Some(Host::Name(name)) if !name.is_empty() => name,
        _ => return false,
    };
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let is_below = |parent: &str| {
        let rest = name.strip_suffix(parent);
        rest.and_then(|rest| rest.strip_suffix('.'))
            .is_some_and(|rest| !rest.is_empty())
    };
    name.parse::<Ipv4Addr>().is_ok()
        || name == "localhost"
        || is_below("localhost")
        || names
            .iter()
            .any(|allowed| match allowed.strip_prefix("*.") {
                Some(parent) => is_below(parent),
                None => name == *allowed,
            })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(hosts: &Hosts, uri: &'static str, values: &[&str]) -> bool {
        let mut request = Request::builder().uri_str(uri);
        for value in values {
            request = request.header(header::HOST, *value);
        }
        hosts.allow(&request.finish())
    }

    #[test]
    fn every_name_in_a_request_is_checked() {
        let hosts = Hosts::of_trusting(&["shop.example".to_owned()]);
        assert!(allows(&hosts, "/", &[]), "browsers always send a host");
        assert!(allows(&hosts, "/", &["shop.example"]));
        assert!(allows(&hosts, "http://shop.example/", &["127.0.0.1:80"]));
        assert!(!allows(&hosts, "/", &["shop.example", "evil.example"]));
        assert!(!allows(&hosts, "http://evil.example/", &["shop.example"]));
        assert!(!allows(&hosts, "http://shop.example/", &["evil.example"]));
        assert!(!allows(&hosts, "/", &["shop.example:x"]));
        assert!(!allows(&hosts, "/", &["[::1"]) && !allows(&hosts, "/", &["::1"]));
        assert!(allows(&hosts, "/", &["[::1]"]) && !allows(&hosts, "/", &["[::1].evil.example"]));
    }

    #[test]
    fn a_star_matches_any_name() {
        let hosts = Hosts::of_trusting(&["a".to_owned(), "*".to_owned()]);
        assert!(allows(&hosts, "/", &["evil.example"]));
    }
}
