//! Limits on concurrent connections, pending bodies, live streams and pages in transfer: a total limit, and one for each
//! address. A trusted proxy serves many clients, so only the total limit applies to it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bounded_http::Exceeded;
use poem::Request;
use poem::http::header;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::client_address::client_address;
use super::problem::{Problem, busy, kind};
use crate::access::limits::{Networks, host};
use crate::runtime::metrics::{Labels, registers};

/// The limited resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is what its name says")]
pub enum Limited {
    Connections,
    Bodies,
    Streams,
    Pages,
}

impl Limited {
    /// The label in metrics.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Bodies => "bodies",
            Self::Streams => "streams",
            Self::Pages => "pages",
        }
    }

    /// The text in problems.
    const fn describe(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Bodies => "pending bodies",
            Self::Streams => "live streams",
            Self::Pages => "pages in transfer",
        }
    }
}

/// Counts refusals. Cheap to clone: all clones are the same counters.
#[derive(Clone, Debug, Default)]
pub struct BoundMetrics {
    refused: Family<Labels<2>, Counter>,
}

registers!(pub BoundMetrics: refused = HTTP_BOUNDS_REFUSED);

impl BoundMetrics {
    fn count(&self, limited: Limited, exceeded: Exceeded) {
        let bound = match exceeded {
            Exceeded::Total => "all",
            Exceeded::Address => "address",
        };
        let labels = [("of", limited.as_str()), ("bound", bound)];
        self.refused.get_or_create(&labels).inc();
    }
}

/// The bounds of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// In total.
    pub max: usize,
    pub address_max: usize,
}

/// A limit. Cheap to clone: all clones count together.
#[derive(Clone, Debug)]
pub struct ConcurrencyLimit {
    limited: Limited,
    address_max: usize,
    proxies: Networks,
    metrics: BoundMetrics,
    permits: Arc<Semaphore>,
    /// Permits of each address that has any. It has at most as many entries as there are permits.
    held: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// A permit; released when dropped.
#[derive(Debug)]
pub struct Permit {
    _permit: OwnedSemaphorePermit,
    /// None: a trusted proxy, which is not counted.
    _counted: Option<Counted>,
}

#[derive(Debug)]
struct Counted {
    host: IpAddr,
    held: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl ConcurrencyLimit {
    /// All permits are free.
    pub fn new(
        limited: Limited,
        bounds: Bounds,
        (proxies, metrics): (&Networks, &BoundMetrics),
    ) -> Self {
        Self {
            limited,
            address_max: bounds.address_max,
            proxies: proxies.clone(),
            metrics: metrics.clone(),
            permits: Arc::new(Semaphore::new(bounds.max)),
            held: Arc::default(),
        }
    }

    /// Acquires a permit for an address. Without an address only the total limit applies.
    pub fn acquire(&self, address: Option<IpAddr>) -> Result<Permit, Exceeded> {
        let acquired = self.try_acquire(address);
        acquired.inspect_err(|exceeded| self.metrics.count(self.limited, *exceeded))
    }

    fn try_acquire(&self, address: Option<IpAddr>) -> Result<Permit, Exceeded> {
        let client = address.filter(|address| !self.proxies.include(*address));
        let counted = client.map(|address| self.count(address)).transpose()?;
        let permit = Arc::clone(&self.permits).try_acquire_owned();
        Ok(Permit {
            _permit: permit.map_err(|_| Exceeded::Total)?,
            _counted: counted,
        })
    }

    /// Acquires a permit for the client of a request.
    pub fn acquire_for(&self, request: &Request) -> Result<Permit, Problem> {
        let address = client_address(request, &self.proxies);
        self.acquire(address).map_err(|exceeded| match exceeded {
            Exceeded::Total => busy(),
            Exceeded::Address => self.address_limit(),
        })
    }

    fn count(&self, address: IpAddr) -> Result<Counted, Exceeded> {
        let host = host(address);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let of_host = held.entry(host).or_default();
        if *of_host >= self.address_max {
            return Err(Exceeded::Address);
        }
        *of_host += 1;
        Ok(Counted {
            host,
            held: Arc::clone(&self.held),
        })
    }

    fn address_limit(&self) -> Problem {
        let (most, limited) = (self.address_max, self.limited.describe());
        kind::ADDRESS_LIMIT
            .because(format!("One address may have {most} {limited} at once."))
            .with_header(header::RETRY_AFTER, 2.into())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut of_host) = held.entry(self.host) {
            *of_host.get_mut() -= 1;
            if *of_host.get() == 0 {
                of_host.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(max: usize, address_max: usize, proxies: &str) -> ConcurrencyLimit {
        let bounds = Bounds { max, address_max };
        let (proxies, metrics) = (proxies.parse().unwrap(), BoundMetrics::default());
        ConcurrencyLimit::new(Limited::Streams, bounds, (&proxies, &metrics))
    }

    fn acquire(limit: &ConcurrencyLimit, address: &str) -> Result<Permit, Exceeded> {
        limit.acquire(Some(address.parse().unwrap()))
    }

    #[test]
    fn one_address_does_not_take_all_permits() {
        let limit = limit(4, 2, "");
        let held: Vec<Permit> = (0..2)
            .map(|_| acquire(&limit, "192.0.2.1").unwrap())
            .collect();
        assert_eq!(acquire(&limit, "192.0.2.1").unwrap_err(), Exceeded::Address);
        assert_eq!(
            acquire(&limit, "::ffff:192.0.2.1").unwrap_err(),
            Exceeded::Address
        );
        let others: Vec<Permit> = ["192.0.2.2", "192.0.2.3"]
            .map(|other| acquire(&limit, other).unwrap())
            .into();
        assert_eq!(acquire(&limit, "192.0.2.4").unwrap_err(), Exceeded::Total);
        let refused = |full| {
            let labels = [("of", "streams"), ("bound", full)];
            limit.metrics.refused.get_or_create(&labels).get()
        };
        assert_eq!((refused("address"), refused("all")), (2, 1));
        drop(held);
        assert!(acquire(&limit, "192.0.2.1").is_ok());
        drop(others);
        assert!(limit.held.lock().unwrap().is_empty(), "no address is left");
    }

    #[test]
    fn an_ipv6_network_counts_as_one_address() {
        let limit = limit(4, 1, "");
        let _held = acquire(&limit, "2001:db8:1:2::1").unwrap();
        assert!(acquire(&limit, "2001:db8:1:2:3:4:5:6").is_err());
        assert!(acquire(&limit, "2001:db8:1:3::1").is_ok());
    }

    #[test]
    fn only_the_total_limit_applies_to_a_proxy() {
        let limit = limit(3, 1, "10.0.0.0/8");
        let held: Vec<Permit> = (0..3)
            .map(|_| acquire(&limit, "10.0.0.1").unwrap())
            .collect();
        assert_eq!(limit.acquire(None).unwrap_err(), Exceeded::Total);
        drop(held);
    }
}
