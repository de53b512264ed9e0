//! How many log-ins are in progress at the same time: of one login name, and from one address. Hashing has one
//! queue, so a client that may put any number of passwords into it would keep all others waiting. Each process
//! counts for itself, because each has a queue of its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::parts::gate::Digest;

/// How many log-ins may be in progress at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConcurrentConfig {
    /// Of one login name: from known addresses, and as many from all others.
    pub name_max: u32,
    /// From one address.
    pub address_max: u32,
}

/// A login name, as seen from known addresses or from others: a stranger's attempts leave the owner's places free.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Name {
    /// The name.
    pub digest: Digest,
    /// Whether the attempt comes from a known address.
    pub is_known: bool,
}

/// What is counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Name(Name),
    Address(String),
}

/// Counts log-ins in progress.
#[derive(Debug)]
pub(super) struct Concurrent {
    config: ConcurrentConfig,
    /// Two entries for each place, none for what has no place.
    taken: Arc<Mutex<HashMap<Key, u32>>>,
}

/// A log-in in progress; given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    keys: [Key; 2],
    taken: Arc<Mutex<HashMap<Key, u32>>>,
}

impl Concurrent {
    pub fn new(config: ConcurrentConfig) -> Self {
        Self {
            config,
            taken: Arc::default(),
        }
    }

    /// Takes a place, or says which limit refuses it.
    pub fn take(&self, name: Name, address: &str) -> Result<Place, &'static str> {
        let keys = [Key::Name(name), Key::Address(address.to_owned())];
        let [of_name, of_address] = &keys;
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = |key: &Key| taken.get(key).copied().unwrap_or(0);
        if count(of_name) >= self.config.name_max {
            return Err("login_name_concurrent");
        }
        if count(of_address) >= self.config.address_max {
            return Err("login_address_concurrent");
        }
        for key in &keys {
            *taken.entry(key.clone()).or_default() += 1;
        }
        drop(taken);
        Ok(Place {
            keys,
            taken: Arc::clone(&self.taken),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        for key in &self.keys {
            let left = taken.get(key).copied().unwrap_or(0).saturating_sub(1);
            if left == 0 {
                taken.remove(key);
            } else {
                taken.insert(key.clone(), left);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(login: &str, is_known: bool) -> Name {
        Name {
            digest: Digest::of(login),
            is_known,
        }
    }

    #[test]
    fn permits_of_a_name_and_an_address_are_bounded_and_returned() {
        let concurrent = Concurrent::new(ConcurrentConfig {
            name_max: 2,
            address_max: 3,
        });
        let take = |login, is_known, address| concurrent.take(name(login, is_known), address);
        let first = take("ada", false, "a").unwrap();
        let _second = take("ada", false, "a").unwrap();
        assert_eq!(
            take("ada", false, "b").unwrap_err(),
            "login_name_concurrent"
        );
        // The owner comes from a known address.
        let owner = take("ada", true, "b").unwrap();
        let _third = take("bob", false, "a").unwrap();
        let refused = take("eve", false, "a").unwrap_err();
        assert_eq!(refused, "login_address_concurrent");
        drop(first);
        drop(owner);
        let _again = take("ada", false, "a").unwrap();
        let taken = concurrent.taken.lock().unwrap();
        assert_eq!(taken.len(), 3, "{taken:?}");
    }
}
