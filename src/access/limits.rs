//! Rate limits: token buckets by address, by user and by campaign, shared by all replicas. The stock does not depend
//! on them, so while the buckets are unavailable no rate applies.

mod networks;
mod rate;
mod reads;

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

pub use self::networks::{Networks, NetworksError, UNKNOWN_ADDRESS};
pub use self::rate::{Rate, RateError};
use self::reads::Reads;
use crate::domain::metric;
use crate::domain::{CampaignId, UserId};
use crate::parts::gate::{ScriptGate, Taken};
use crate::runtime::metrics::RegisterMetric;
use crate::runtime::settings::{plain, settings};

/// A rate per second.
const fn per_second(requests: u32) -> Rate {
    Rate {
        requests,
        period: Duration::from_secs(1),
    }
}

plain!(Text: Networks => ToString::to_string);

settings! {
    /// `[limits]`: rate limits. An absent rate is no limit.
    Rates in "limits" {
        /// Requests to take part from one address; of an IPv6 network of 64 bits
        address: Option<Rate> = Some(per_second(100));
        /// Reads (`GET` and `HEAD` under `/api`) from one address, in each process
        address_reads: Option<Rate> = Some(per_second(200));
        /// Networks whose addresses have neither of these rates
        exempt: Networks = Networks::private();
        /// Requests to take part of one user
        user: Option<Rate> = None;
        /// Requests to take part in one campaign
        campaign: Option<Rate> = None;
    }
}

/// The key of a rate.
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

/// The state of one rate for a request.
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

/// The result of counting a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Against each rate that was asked, in that order.
    pub standings: Vec<Standing>,
    /// The last of them is used up, and there is a request again after this time.
    pub wait: Option<Duration>,
}

/// The client of a request, and its campaign.
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

/// Counts requests against the rates.
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

    /// Registers the metrics.
    pub fn register(&self, registry: &mut Registry) {
        registry.add(&metric::LIMITS_REFUSED, self.refused.clone());
        registry.add(&metric::LIMITS_UNASKED, self.unasked.clone());
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
    fn one_host_has_one_bucket() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("192.0.2.7"), "192.0.2.7");
        assert_eq!(of("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), of("2001:db8:1:2::1"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
    }
}
