//! Rate limits: token buckets by address, by user and by campaign, shared by all replicas. Each line of an order counts
//! as a participation request. The stock does not depend on them, so while the buckets are unavailable no rate applies.

mod networks;
mod rate;
mod reads;

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

pub use self::networks::{Networks, NetworksError, UNKNOWN_ADDRESS};
pub use self::rate::{Rate, RateError};
use self::reads::Reads;
use crate::domain::words::words;
use crate::domain::{CampaignId, UserId};
use crate::parts::gate::{ScriptGate, TokenResult};
use crate::runtime::metrics::{Labels, registers};
use crate::runtime::settings::{plain, settings};
use crate::runtime::telemetry::cause;

const fn rate(requests: u32, seconds: u64) -> Rate {
    Rate {
        requests,
        period: Duration::from_secs(seconds),
    }
}

plain!(Text: Networks => ToString::to_string);

settings! {
    /// `[limits]`: rate limits. An absent rate is no limit.
    Rates in "limits" {
        /// Participation requests from one address, or from one IPv6 network of 64 bits. Each line of an order is one
        address: Option<Rate> = Some(rate(100, 1));
        /// Reads (`GET` and `HEAD` under `/api`), confirmations and cancellations from one address, in each process
        address_reads: Option<Rate> = Some(rate(200, 1));
        /// Networks to which these two rates do not apply
        exempt: Networks = Networks::private();
        /// Participation requests of one user. Each line of an order is one
        user: Option<Rate> = None;
        /// Orders of one user. A rejected order returns what it reserved, so no stock bounds the work of orders
        orders: Option<Rate> = Some(rate(60, 60));
        /// Participation requests for one campaign
        campaign: Option<Rate> = None;
    }
}

words! {
    /// What a rate is counted by: its name in headers and metrics.
    #[allow(missing_docs, reason = "each is what its name says")]
    pub enum LimitKind {
        Address = "address",
        AddressReads = "address_reads",
        User = "user",
        Orders = "orders",
        Campaign = "campaign",
    }
}

/// The state of one rate for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateState {
    /// What it is counted by.
    pub kind: LimitKind,
    /// The rate.
    pub rate: Rate,
    /// Requests left.
    pub left: u64,
    /// Time until all requests are left again.
    pub full_in: Duration,
}

/// The result of counting a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// The rates it was counted against, in order.
    pub rates: Vec<RateState>,
    /// If the last rate is used up: the time until the next request is allowed.
    pub wait: Option<Duration>,
}

/// The keys that a request is counted by.
#[derive(Clone, Copy, Debug)]
pub struct LimitKeys {
    /// The address, if it is known.
    pub address: Option<IpAddr>,
    /// The user.
    pub user: UserId,
    /// The campaign.
    pub campaign: CampaignId,
    /// The number of lines of an order; none: it is not an order.
    pub lines: Option<u32>,
}

/// Counts requests against the rates.
#[derive(Clone)]
pub struct Limits {
    buckets: Arc<ScriptGate>,
    rates: Rates,
    reads: Option<Reads>,
    refused: Family<Labels<1>, Counter>,
    unasked: Counter,
}

registers!(pub Limits: refused = LIMITS_REFUSED, unasked = LIMITS_UNASKED);

impl Limits {
    /// Limits to these rates, counted in `buckets`.
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

    /// Counts a request against the rates of its user's orders, of its address and of its user, in this order. An order
    /// counts once for each line, and at most as often as the rate allows at once.
    pub async fn count(&self, keys: &LimitKeys) -> Counted {
        let mut counted = Counted::default();
        let exempt = &self.rates.exempt;
        let address = keys.address.filter(|address| !exempt.include(*address));
        let address = self.rates.address.zip(address.map(network));
        let of_user = |rate| (rate, keys.user.to_string());
        let orders = self.rates.orders.filter(|_| keys.lines.is_some());
        let user = self.rates.user.map(of_user);
        let requests = keys.lines.unwrap_or(1);
        for (kind, rate_and_key, count) in [
            (LimitKind::Orders, orders.map(of_user), 1),
            (LimitKind::Address, address, requests),
            (LimitKind::User, user, requests),
        ] {
            self.count_by(&mut counted, kind, rate_and_key, count).await;
        }
        counted
    }

    /// Whether campaigns have a rate.
    #[must_use]
    pub const fn limits_campaigns(&self) -> bool {
        self.rates.campaign.is_some()
    }

    /// Counts a request against the rate of its campaign, which all users share. It is called last, so that a request
    /// that is rejected for another reason takes nothing from others.
    pub async fn count_campaign(&self, keys: &LimitKeys, counted: &mut Counted) {
        let campaign = keys.campaign.to_string();
        let campaign = self.rates.campaign.map(|rate| (rate, campaign));
        self.count_by(counted, LimitKind::Campaign, campaign, 1)
            .await;
    }

    async fn count_by(
        &self,
        counted: &mut Counted,
        kind: LimitKind,
        rate_and_key: Option<(Rate, String)>,
        count: u32,
    ) {
        let Some((rate, key)) = rate_and_key.filter(|_| counted.wait.is_none()) else {
            return;
        };
        // Boxed: the future is large, and most requests have no limit.
        if let Some(taken) = Box::pin(self.take(kind, &key, rate, count)).await {
            self.record(counted, kind, rate, taken);
        }
    }

    /// Counts a read in this process alone: a read costs less than a call to the gate.
    #[must_use]
    pub fn count_read(&self, address: IpAddr) -> Counted {
        let mut counted = Counted::default();
        if let Some(reads) = &self.reads
            && !self.rates.exempt.include(address)
        {
            let taken = reads.take(address);
            self.record(&mut counted, LimitKind::AddressReads, reads.rate, taken);
        }
        counted
    }

    fn record(&self, counted: &mut Counted, kind: LimitKind, rate: Rate, taken: TokenResult) {
        let (left, full_in, wait) = match taken {
            TokenResult::Token { left, full_in } => (left, full_in, None),
            TokenResult::Nothing { next_in, full_in } => (0, full_in, Some(next_in)),
        };
        counted.rates.push(RateState {
            kind,
            rate,
            left,
            full_in,
        });
        if wait.is_some() {
            self.refused.get_or_create(&[("of", kind.as_str())]).inc();
            counted.wait = wait;
        }
    }

    async fn take(
        &self,
        kind: LimitKind,
        key: &str,
        rate: Rate,
        count: u32,
    ) -> Option<TokenResult> {
        let name = format!("{}:{key}", kind.as_str());
        match self.buckets.take_many(&name, rate.into(), count).await {
            Ok(taken) => Some(taken),
            Err(error) => {
                self.unasked.inc();
                tracing::debug!(
                    error = cause(&error),
                    "a request was not counted against a limit"
                );
                None
            }
        }
    }
}

/// The addresses of one host: an IPv4 address, or an IPv6 network of 64 bits.
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
