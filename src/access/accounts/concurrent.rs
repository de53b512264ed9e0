//! Limits concurrent log-ins of one login name and from one address. All passwords wait in one queue to be hashed, so one
//! client without a limit could block all others. Each process counts for itself, because each has its own queue.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::AccountsConfig;
use crate::parts::gate::Digest;

/// A login name, with separate limits for known and other addresses: a stranger's attempts do not block the owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Name {
    /// The name.
    pub digest: Digest,
    /// Whether the attempt comes from a known address.
    pub is_known: bool,
}

/// The key of a count.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Name(Name),
    Address(String),
}

/// Counts log-ins in progress.
#[derive(Debug)]
pub(super) struct Concurrent {
    /// Limit of one login name: from known addresses, and the same number from all others.
    name_max: u32,
    /// Limit of one address.
    address_max: u32,
    /// Permits in use; keys without permits have no entry.
    taken: Arc<Mutex<HashMap<Key, u32>>>,
}

/// A permit for a log-in in progress; released when dropped.
#[derive(Debug)]
pub(super) struct LoginPermit {
    keys: [Key; 2],
    taken: Arc<Mutex<HashMap<Key, u32>>>,
}

impl Concurrent {
    pub fn new(config: &AccountsConfig) -> Self {
        Self {
            name_max: config.login_name_concurrent_max,
            address_max: config.login_address_concurrent_max,
            taken: Arc::default(),
        }
    }

    /// Acquires a permit, or returns the name of the exhausted limit.
    pub fn acquire(&self, name: Name, address: &str) -> Result<LoginPermit, &'static str> {
        let keys = [Key::Name(name), Key::Address(address.to_owned())];
        let [of_name, of_address] = &keys;
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = |key: &Key| taken.get(key).copied().unwrap_or(0);
        if count(of_name) >= self.name_max {
            return Err("login_name_concurrent");
        }
        if count(of_address) >= self.address_max {
            return Err("login_address_concurrent");
        }
        for key in &keys {
            *taken.entry(key.clone()).or_default() += 1;
        }
        drop(taken);
        Ok(LoginPermit {
            keys,
            taken: Arc::clone(&self.taken),
        })
    }
}

impl Drop for LoginPermit {
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
        let concurrent = Concurrent::new(&AccountsConfig {
            login_name_concurrent_max: 2,
            login_address_concurrent_max: 3,
            ..AccountsConfig::default()
        });
        let take = |login, is_known, address| concurrent.acquire(name(login, is_known), address);
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
