//! How often one may ask to take part: token buckets by address, by user and by campaign, shared by all replicas.
//! What is handed out never depends on them, so where the buckets cannot be asked, everybody may take part.

mod networks;
mod reads;

use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use serde::Deserialize;

pub use self::networks::{Networks, NetworksError, UNKNOWN_ADDRESS};
use self::reads::Reads;
use crate::domain::{CampaignId, UserId};
use crate::parts::gate::{Bucket, ScriptGate, Taken};

/// So many requests in a period, written `20/1s`; as many may come at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Rate {
    /// Requests, at least 1.
    pub requests: u32,
    /// In which time.
    pub period: Duration,
}

/// What is not a rate.
#[derive(Debug, thiserror::Error)]
#[error("must be REQUESTS/PERIOD, such as 20/1s: 1 to 1000000 requests in 1ms to 1d")]
pub struct RateError;

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        let (requests, period) = text.split_once('/').ok_or(RateError)?;
        let requests: u32 = requests.trim().parse().map_err(|_| RateError)?;
        let period =
            humantime_serde::re::humantime::parse_duration(period.trim()).map_err(|_| RateError)?;
        let is_sensible = (1..=1_000_000).contains(&requests)
            && (Duration::from_millis(1)..=Duration::from_secs(86_400)).contains(&period);
        let rate = Self { requests, period };
        is_sensible.then_some(rate).ok_or(RateError)
    }
}

impl TryFrom<String> for Rate {
    type Error = RateError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Rate> for Bucket {
    fn from(rate: Rate) -> Self {
        Self {
            tokens: rate.requests,
            token: rate.period / rate.requests,
        }
    }
}

/// The rates that are kept; none: that one is not limited.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// Of one address; of an IPv6 network of 64 bits, as hosts there choose the rest.
    pub address: Option<Rate>,
    /// Of one address, when it reads: counted by each process for itself.
    pub address_reads: Option<Rate>,
    /// Of one user.
    pub user: Option<Rate>,
    /// Of all for one campaign.
    pub campaign: Option<Rate>,
    /// Addresses that have no rate.
    pub exempt: Networks,
}

/// Whose rate it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(missing_docs, reason = "each is what its name says")]
pub enum Of {
    Address,
    AddressReads,
    User,
    Campaign,
}

impl Of {
    /// The word for it, in headers and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::AddressReads => "address_reads",
            Self::User => "user",
            Self::Campaign => "campaign",
        }
    }
}

/// Where somebody stands against one rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whose.
    pub of: Of,
    /// The rate.
    pub rate: Rate,
    /// Requests left.
    pub left: u64,
    /// When all of them are left again.
    pub full_in: Duration,
}

/// What one is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Against each rate that was asked, in that order.
    pub standings: Vec<Standing>,
    /// The last of them is used up, and there is a request again after this time.
    pub wait: Option<Duration>,
}

/// Who asks for what.
#[derive(Clone, Copy, Debug)]
pub struct Asker {
    /// Where from, if that is known.
    pub address: Option<IpAddr>,
    /// Who.
    pub user: UserId,
    /// For what.
    pub campaign: CampaignId,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct By {
    of: &'static str,
}

/// Keeps the rates.
#[derive(Clone)]
pub struct Limits {
    buckets: Arc<ScriptGate>,
    rates: Rates,
    reads: Option<Reads>,
    refused: Family<By, Counter>,
    unasked: Counter,
}

impl Limits {
    /// Keeps these rates in `buckets`.
    #[must_use]
    pub fn new(buckets: Arc<ScriptGate>, rates: Rates) -> Self {
        Self {
            buckets,
            reads: rates.address_reads.map(Reads::new),
            rates,
            refused: Family::default(),
            unasked: Counter::default(),
        }
    }

    /// Makes visible how often they were used up.
    pub fn register(&self, registry: &mut Registry) {
        let limits = registry.sub_registry_with_prefix("limits");
        limits.register(
            "refused",
            "Requests refused because a rate was used up",
            self.refused.clone(),
        );
        limits.register(
            "unasked",
            "Requests let through because the buckets could not be asked",
            self.unasked.clone(),
        );
    }

    /// Counts a request against the rates of its address and of its user, in this order. What they may still
    /// be refused for is looked at before `count_campaign`.
    pub async fn count(&self, asker: &Asker) -> Told {
        let mut told = Told::default();
        let exempt = &self.rates.exempt;
        let address = asker.address.filter(|address| !exempt.include(*address));
        let address = self.rates.address.zip(address.map(network));
        let user = self.rates.user.map(|rate| (rate, asker.user.to_string()));
        self.count_of(&mut told, Of::Address, address).await;
        self.count_of(&mut told, Of::User, user).await;
        told
    }

    /// Whether campaigns have a rate.
    #[must_use]
    pub const fn limits_campaigns(&self) -> bool {
        self.rates.campaign.is_some()
    }

    /// Counts it against the rate that all have in common for the campaign. Whoever is refused before takes
    /// nothing of it from others.
    pub async fn count_campaign(&self, asker: &Asker, told: &mut Told) {
        let campaign = asker.campaign.to_string();
        let campaign = self.rates.campaign.map(|rate| (rate, campaign));
        self.count_of(told, Of::Campaign, campaign).await;
    }

    async fn count_of(&self, told: &mut Told, of: Of, whose: Option<(Rate, String)>) {
        let Some((rate, who)) = whose.filter(|_| told.wait.is_none()) else {
            return;
        };
        // Large, and no part of requests that nothing limits.
        if let Some(taken) = Box::pin(self.take(of, &who, rate)).await {
            self.tell(told, of, rate, taken);
        }
    }

    /// Counts a read, in this process alone: reads are many, and cost less than asking for leave.
    #[must_use]
    pub fn count_read(&self, address: IpAddr) -> Told {
        let mut told = Told::default();
        if let Some(reads) = &self.reads
            && !self.rates.exempt.include(address)
        {
            self.tell(&mut told, Of::AddressReads, reads.rate, reads.take(address));
        }
        told
    }

    fn tell(&self, told: &mut Told, of: Of, rate: Rate, taken: Taken) {
        let (left, full_in, wait) = match taken {
            Taken::Token { left, full_in } => (left, full_in, None),
            Taken::Nothing { next_in, full_in } => (0, full_in, Some(next_in)),
        };
        told.standings.push(Standing {
            of,
            rate,
            left,
            full_in,
        });
        if wait.is_some() {
            self.refused.get_or_create(&By { of: of.as_str() }).inc();
            told.wait = wait;
        }
    }

    async fn take(&self, of: Of, who: &str, rate: Rate) -> Option<Taken> {
        let name = format!("{}:{who}", of.as_str());
        match self.buckets.take(&name, rate.into()).await {
            Ok(taken) => Some(taken),
            Err(error) => {
                self.unasked.inc();
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "a limit was not asked"
                );
                None
            }
        }
    }
}

/// What one host has: an address, or of an IPv6 address the network of 64 bits.
#[must_use]
pub fn host(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
    }
}

/// The name of a host's bucket.
#[must_use]
pub fn network(address: IpAddr) -> String {
    match host(address) {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(network) => format!("{network}/64"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_read_or_refused_with_its_form() {
        let rate: Rate = "20/1s".parse().unwrap();
        assert_eq!((rate.requests, rate.period), (20, Duration::from_secs(1)));
        let rate: Rate = "1000000 / 1d".parse().unwrap();
        assert_eq!(Bucket::from(rate).token, Duration::from_micros(86_400));
        for wrong in [
            "",
            "20",
            "0/1s",
            "-1/1s",
            "1/0s",
            "1000001/1s",
            "1/2d",
            "a/1s",
            "1/s",
        ] {
            assert!(wrong.parse::<Rate>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn one_host_has_one_bucket() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("192.0.2.7"), "192.0.2.7");
        assert_eq!(of("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), of("2001:db8:1:2::1"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
    }
}
