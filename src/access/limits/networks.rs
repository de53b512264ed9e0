//! Networks, and the client's address behind trusted proxies.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use ipnet::IpNet;
use serde::Deserialize;

const PRIVATE: [&str; 8] = [
    "127.0.0.0/8",
    "::1/128",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "169.254.0.0/16",
    "fc00::/7",
    "fe80::/10",
];

/// A list of networks, written `10.0.0.0/8,192.0.2.1/32`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Networks(Arc<[IpNet]>);

/// The address of a client that a proxy does not name readably. No packet has this source address (RFC 4291, 2.5.2). All
/// clients with an unknown address share its limits.
pub const UNKNOWN_ADDRESS: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

/// A text is not a list of networks.
#[derive(Debug, thiserror::Error)]
#[error("must be networks separated by commas, such as 10.0.0.0/8,192.0.2.1/32")]
pub struct NetworksError;

impl FromStr for Networks {
    type Err = NetworksError;

    fn from_str(text: &str) -> Result<Self, NetworksError> {
        let networks = text.split(',').map(str::trim).filter(|one| !one.is_empty());
        let networks: Result<_, _> = networks.map(str::parse).collect();
        networks.map(Self).map_err(|_| NetworksError)
    }
}

impl fmt::Display for Networks {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let networks: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        formatter.write_str(&networks.join(","))
    }
}

impl TryFrom<String> for Networks {
    type Error = NetworksError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl Networks {
    /// Networks without public addresses: loopback, private and link-local ones.
    #[must_use]
    pub fn private() -> Self {
        let networks = PRIVATE.iter().filter_map(|network| network.parse().ok());
        Self(networks.collect())
    }

    /// The address of the client, if these networks are the trusted proxies. It is the peer or, if that is a trusted
    /// proxy, the last address in `X-Forwarded-For` that is not one. Earlier addresses are ignored: a client could have
    /// written them. If the address cannot be read, it is `UNKNOWN_ADDRESS`.
    #[must_use]
    pub fn origin<'a, I>(&self, peer: IpAddr, forwarded: I) -> IpAddr
    where
        I: DoubleEndedIterator<Item = &'a [u8]>,
    {
        let mut origin = peer;
        let mut hops = forwarded
            .rev()
            .flat_map(|line| line.rsplit(|byte| *byte == b','));
        while self.include(origin) {
            match hops.next() {
                Some(hop) => origin = hop_address(hop).unwrap_or(UNKNOWN_ADDRESS),
                None => break,
            }
        }
        origin
    }

    /// Whether an address is in one of them. The unknown address is in none, so the limits apply to it.
    #[must_use]
    pub fn include(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address != UNKNOWN_ADDRESS && self.0.iter().any(|network| network.contains(&address))
    }
}

/// Parses an address as proxies write it: alone, with a port, or IPv6 in brackets.
fn hop_address(hop: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(hop).ok()?.trim();
    let in_brackets = || {
        let inner = text.strip_prefix('[')?.strip_suffix(']')?;
        inner.parse().ok().map(IpAddr::V6)
    };
    let with_port = || text.parse().ok().map(|hop: SocketAddr| hop.ip());
    text.parse().ok().or_else(with_port).or_else(in_brackets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_trusted_proxies_name_the_client_address() {
        let proxies: Networks = "10.0.0.0/8, 2001:db8::/32".parse().unwrap();
        let origin = |peer: &str, forwarded: &[&str]| {
            let forwarded = forwarded.iter().map(|line| line.as_bytes());
            let origin = proxies.origin(peer.parse().unwrap(), forwarded);
            origin.to_string()
        };
        assert_eq!(origin("192.0.2.1", &["203.0.113.9"]), "192.0.2.1");
        assert_eq!(origin("10.1.2.3", &["203.0.113.9"]), "203.0.113.9");
        assert_eq!(
            origin("10.1.2.3", &["1.1.1.1, 203.0.113.9", "10.9.9.9"]),
            "203.0.113.9"
        );
        assert_eq!(origin("10.1.2.3", &[]), "10.1.2.3");
        assert_eq!(
            Networks::default()
                .origin("10.1.2.3".parse().unwrap(), [&b"1.1.1.1"[..]].into_iter())
                .to_string(),
            "10.1.2.3"
        );
        assert!("10.0.0.0/33".parse::<Networks>().is_err());
    }

    #[test]
    fn the_address_named_by_the_proxy_wins_over_earlier_ones() {
        let proxies: Networks = "10.0.0.0/8".parse().unwrap();
        let peer: IpAddr = "10.1.2.3".parse().unwrap();
        let origin = |forwarded: &[&[u8]]| {
            let origin = proxies.origin(peer, forwarded.iter().copied());
            origin.to_string()
        };
        for before in [&b"\xff"[..], b"", b"unknown", b"[", b"1.1.1.1:", b",,"] {
            for (hop, wanted) in [
                ("203.0.113.9", "203.0.113.9"),
                (" 203.0.113.9\t", "203.0.113.9"),
                ("203.0.113.9:65535", "203.0.113.9"),
                ("2001:db8::9", "2001:db8::9"),
                ("[2001:db8::9]", "2001:db8::9"),
                ("[2001:db8::9]:80", "2001:db8::9"),
            ] {
                let one_line = [before, b",", hop.as_bytes()].concat();
                assert_eq!(origin(&[&one_line]), wanted, "{before:?}, {hop}");
                assert_eq!(origin(&[before, hop.as_bytes()]), wanted, "{hop}");
                let by_two = [&one_line, &b"10.9.9.9:80"[..]];
                assert_eq!(origin(&by_two), wanted, "{hop} behind two proxies");
            }
        }
    }

    #[test]
    fn a_client_with_an_unreadable_forwarded_address_is_unknown_and_limited() {
        // The widest networks that can be written.
        let proxies: Networks = "0.0.0.0/0, ::/0".parse().unwrap();
        let peer: IpAddr = "10.1.2.3".parse().unwrap();
        for hop in [
            &b""[..],
            b" ",
            b"203.0.113.9,",
            b"203.0.113.9, unknown",
            b"203.0.113.9, \xff",
            b"203.0.113.9:65536",
            b"203.0.113.9:",
            b"[203.0.113.9]",
            b"[2001:db8::9",
            b"2001:db8::9]",
            b"_hidden",
        ] {
            let origin = proxies.origin(peer, [hop].into_iter());
            assert_eq!(origin, UNKNOWN_ADDRESS, "{}", hop.escape_ascii());
            assert!(!proxies.include(origin));
        }
        assert_eq!(crate::access::limits::network(UNKNOWN_ADDRESS), "::/64");
    }
}
