//! How many of a thing there are at once, in all and for one address: connections, bodies that are pending,
//! live streams, pages being sent. Proxies of ours stand for many clients and are bounded in all only.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use poem::Request;
use poem::http::{StatusCode, header};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::origin::address;
use super::problem::{Problem, busy};
use crate::access::limits::{Networks, host};
use crate::domain::metric;
use crate::runtime::metrics::RegisterMetric;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is what its name says")]
pub enum Thing {
    Connections,
    Bodies,
    Streams,
    Pages,
}

impl Thing {
    /// The word for it, in metrics.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Bodies => "bodies",
            Self::Streams => "streams",
            Self::Pages => "pages",
        }
    }

    /// What it is called for those who are refused.
    const fn describe(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Bodies => "bodies pending",
            Self::Streams => "live streams",
            Self::Pages => "pages being sent",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Bound {
    of: &'static str,
    bound: &'static str,
}

/// How often there was no place. Cheap to clone: all clones are the same numbers.
#[derive(Clone, Debug, Default)]
pub struct BoundMetrics {
    refused: Family<Bound, Counter>,
}

impl BoundMetrics {
    /// Makes the numbers visible.
    pub fn register(&self, registry: &mut Registry) {
        registry.add(&metric::HTTP_BOUNDS_REFUSED, self.refused.clone());
    }

    fn count(&self, thing: Thing, full: Full) {
        let bound = Bound {
            of: thing.as_str(),
            bound: match full {
                Full::All => "all",
                Full::Address => "address",
            },
        };
        self.refused.get_or_create(&bound).inc();
    }
}

/// How many of a thing there may be at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// In all.
    pub max: usize,
    /// For one address.
    pub address_max: usize,
}

/// Counts one kind of thing. Cheap to clone: all clones count together.
#[derive(Clone, Debug)]
pub struct PerAddress {
    thing: Thing,
    address_max: usize,
    proxies: Networks,
    metrics: BoundMetrics,
    places: Arc<Semaphore>,
    /// Addresses that have some. As many entries as there are places, at most.
    taken: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// All are taken.
    All,
    /// The address has as many as one may have.
    Address,
}

/// One place; given back when dropped.
#[derive(Debug)]
pub struct Place {
    _permit: OwnedSemaphorePermit,
    /// None: whoever stands for many is not counted.
    _counted: Option<Counted>,
}

#[derive(Debug)]
struct Counted {
    host: IpAddr,
    taken: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl PerAddress {
    /// Nothing is taken yet.
    pub fn new(
        thing: Thing,
        bounds: Bounds,
        (proxies, metrics): (&Networks, &BoundMetrics),
    ) -> Self {
        Self {
            thing,
            address_max: bounds.address_max,
            proxies: proxies.clone(),
            metrics: metrics.clone(),
            places: Arc::new(Semaphore::new(bounds.max)),
            taken: Arc::default(),
        }
    }

    /// Takes a place for an address, if there is one. What comes from no address is bounded in all only.
    pub fn take(&self, address: Option<IpAddr>) -> Result<Place, Full> {
        let taken = self.try_take(address);
        taken.inspect_err(|full| self.metrics.count(self.thing, *full))
    }

    fn try_take(&self, address: Option<IpAddr>) -> Result<Place, Full> {
        let client = address.filter(|address| !self.proxies.include(*address));
        let counted = client.map(|address| self.count(address)).transpose()?;
        let permit = Arc::clone(&self.places).try_acquire_owned();
        Ok(Place {
            _permit: permit.map_err(|_| Full::All)?,
            _counted: counted,
        })
    }

    /// Takes a place for who sent a request, or says why there is none.
    pub fn take_for(&self, request: &Request) -> Result<Place, Problem> {
        let address = address(request, &self.proxies);
        self.take(address).map_err(|full| match full {
            Full::All => busy(),
            Full::Address => self.refused(),
        })
    }

    fn count(&self, address: IpAddr) -> Result<Counted, Full> {
        let host = host(address);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let of_host = taken.entry(host).or_default();
        if *of_host >= self.address_max {
            return Err(Full::Address);
        }
        *of_host += 1;
        Ok(Counted {
            host,
            taken: Arc::clone(&self.taken),
        })
    }

    fn refused(&self) -> Problem {
        let (most, things) = (self.address_max, self.thing.describe());
        Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "ADDRESS_LIMIT",
            "Too many at once from one address",
            format!("One address may have {most} {things} at once."),
        )
        .with_header(header::RETRY_AFTER, 2.into())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut of_host) = taken.entry(self.host) {
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

    fn places(max: usize, address_max: usize, proxies: &str) -> PerAddress {
        let bounds = Bounds { max, address_max };
        let (proxies, metrics) = (proxies.parse().unwrap(), BoundMetrics::default());
        PerAddress::new(Thing::Streams, bounds, (&proxies, &metrics))
    }

    fn take(places: &PerAddress, address: &str) -> Result<Place, Full> {
        places.take(Some(address.parse().unwrap()))
    }

    #[test]
    fn one_address_leaves_places_for_others() {
        let places = places(4, 2, "");
        let held: Vec<Place> = (0..2)
            .map(|_| take(&places, "192.0.2.1").unwrap())
            .collect();
        assert_eq!(take(&places, "192.0.2.1").unwrap_err(), Full::Address);
        assert_eq!(
            take(&places, "::ffff:192.0.2.1").unwrap_err(),
            Full::Address
        );
        let others: Vec<Place> = ["192.0.2.2", "192.0.2.3"]
            .map(|other| take(&places, other).unwrap())
            .into();
        assert_eq!(take(&places, "192.0.2.4").unwrap_err(), Full::All);
        let refused = |full| {
            let bound = Bound {
                of: "streams",
                bound: full,
            };
            places.metrics.refused.get_or_create(&bound).get()
        };
        assert_eq!((refused("address"), refused("all")), (2, 1));
        drop(held);
        assert!(take(&places, "192.0.2.1").is_ok());
        drop(others);
        assert!(
            places.taken.lock().unwrap().is_empty(),
            "nobody is remembered"
        );
    }

    #[test]
    fn an_ipv6_network_is_one_address() {
        let places = places(4, 1, "");
        let _held = take(&places, "2001:db8:1:2::1").unwrap();
        assert!(take(&places, "2001:db8:1:2:3:4:5:6").is_err());
        assert!(take(&places, "2001:db8:1:3::1").is_ok());
    }

    #[test]
    fn a_proxy_is_bounded_in_all_only() {
        let places = places(3, 1, "10.0.0.0/8");
        let held: Vec<Place> = (0..3).map(|_| take(&places, "10.0.0.1").unwrap()).collect();
        assert_eq!(places.take(None).unwrap_err(), Full::All);
        drop(held);
    }
}
