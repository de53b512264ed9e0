//! The host names that a request may address. Without this check, any web page could send requests to a service on the
//! same machine that trusts its callers: the page's owner changes the page's name to mean 127.0.0.1 after the page is
//! loaded (DNS rebinding), and the browser then treats the service as part of the page. Such requests still carry the
//! page's name in `Host`, and are rejected by it.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use bounded_http::Host;
use poem::Request;
use poem::http::header;

/// The names by which a service may be asked.
#[derive(Clone, Debug, Default)]
pub enum Hosts {
    /// Any: who asks shows credentials that no foreign page has.
    #[default]
    Any,
    /// `localhost`, addresses, which nobody can make mean another, and these names.
    These(Arc<[String]>),
}

impl Hosts {
    /// Those of a service that believes its callers: names in lower case, `*.NAME` for all below one, `*` for any.
    #[must_use]
    pub fn of_believing(names: &[String]) -> Self {
        if names.iter().any(|name| name == "*") {
            Self::Any
        } else {
            Self::These(names.into())
        }
    }

    /// Whether a request may be asked by its name. One without any is no browser's.
    #[must_use]
    pub fn allow(&self, request: &Request) -> bool {
        let Self::These(names) = self else {
            return true;
        };
        let address = request.uri().authority();
        let address = address.map(|authority| Some(authority.as_str()));
        let headers = request.headers().get_all(header::HOST).iter();
        let headers = headers.map(|value| value.to_str().ok());
        let mut asked = address.into_iter().chain(headers);
        asked.all(|host| host.is_some_and(|host| is_allowed(names, host)))
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
        let hosts = Hosts::of_believing(&["shop.example".to_owned()]);
        assert!(allows(&hosts, "/", &[]), "no browser leaves it out");
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
        let hosts = Hosts::of_believing(&["a".to_owned(), "*".to_owned()]);
        assert!(allows(&hosts, "/", &["evil.example"]));
    }
}
