//! The section `[accounts]`: accounts and sessions of those who log in here, and what it must keep to.

use std::time::Duration;

use serde::Deserialize;

use super::Http;
use super::sections::section;
use crate::access::accounts::{
    AttemptConfig, ConcurrentConfig, Passwords, SessionConfig, TotpPolicy,
};
use crate::access::limits::Rate;
use crate::parts::gate::{Lifetime, LoginBounds};

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

/// What a hash costs at least, as OWASP's *Password Storage Cheat Sheet* has it: so much memory, and of memory
/// times passes the least of the pairs it takes for equal (7 MiB and 5 passes, …, 46 MiB and 1).
const MEMORY_KIB_MIN: u32 = 7_168;
const MEMORY_PASSES_KIB_MIN: u64 = 35_840;
const MEMORY_ONE_PASS_KIB_MIN: u32 = 47_104;

/// How long opening a session may take beside the request it is opened by.
const OPENING: Duration = Duration::from_secs(60);

/// How long failed log-ins count at least.
const FORGET: Duration = Duration::from_secs(3_600);
/// How long an address is good after a right password came from it, and after how many failures it is not.
const GOOD: Duration = Duration::from_secs(30 * 86_400);
const GOOD_FAILURES_MAX: u32 = 20;
/// Addresses that are remembered of a login name, of those that failed and of the good ones.
const ADDRESSES_MAX: u32 = 16;

section! {
    /// `[accounts]`: those who log in here.
    Accounts {
        /// How long a session lives that nobody asks by.
        #[serde(with = "humantime_serde")]
        session_idle: Duration = MINUTE * 30,
        /// How long a session lives at most.
        #[serde(with = "humantime_serde")]
        session_max: Duration = MINUTE * 60 * 12,
        /// Sessions of one account at most.
        sessions_per_account_max: u32 = 16,
        /// How long a log-in is remembered.
        #[serde(with = "humantime_serde")]
        remember_max: Duration = DAY * 30,
        /// For so long a token used twice is an accident, and not a theft.
        #[serde(with = "humantime_serde")]
        remember_grace: Duration = Duration::from_secs(10),
        /// Whether cookies travel over TLS alone; absent: unless the address is a loopback one without TLS.
        cookie_secure: Option<bool> = None,
        /// Memory of a password's hash.
        password_memory_kib: u32 = 19_456,
        /// Passes over it.
        password_iterations: u32 = 2,
        /// Lanes in it.
        password_lanes: u32 = 1,
        /// Passwords hashed at once.
        hashing_max: usize = half_of_the_threads(),
        /// Longest wait for one's turn to be hashed.
        #[serde(with = "humantime_serde")]
        hashing_wait_max: Duration = Duration::from_secs(2),
        /// Failed log-ins from one address.
        login_rate_address: Option<Rate> = Some(per_minute(30)),
        /// Log-ins by one name, whatever their outcome, from known addresses, and as many from others.
        login_rate_name: Option<Rate> = Some(per_minute(60)),
        /// Log-ins by one name in progress at once, from known addresses, and as many from others.
        login_name_concurrent_max: u32 = 2,
        /// Log-ins from one address in progress at once.
        login_address_concurrent_max: u32 = 4,
        /// Failed log-ins by one name from one address that cost no delay.
        login_failures_max: u32 = 5,
        /// Failed log-ins by one name from all addresses that cost no delay.
        login_failures_all_max: u32 = 100,
        /// The longest delay after more of them.
        #[serde(with = "humantime_serde")]
        login_delay_max: Duration = MINUTE * 15,
        /// Whether accounts with scopes must have one-time codes: without them their sessions have no scopes.
        totp_required: bool = false,
    }
}

const fn per_minute(requests: u32) -> Rate {
    Rate {
        requests,
        period: MINUTE,
    }
}

fn half_of_the_threads() -> usize {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    (threads / 2).max(1)
}

impl Accounts {
    /// What sessions are told, where requests may take so long.
    #[must_use]
    pub fn sessions(&self, request_timeout: Duration) -> SessionConfig {
        SessionConfig {
            lifetime: Lifetime {
                idle: self.session_idle,
                longest: self.session_max,
            },
            sessions_max: self.sessions_per_account_max,
            remember_max: self.remember_max,
            remembered_max: self.sessions_per_account_max,
            remember_grace: self.remember_grace,
            login_max: request_timeout + OPENING,
            attempts: AttemptConfig {
                bounds: LoginBounds {
                    failures_max: self.login_failures_max,
                    failures_all_max: self.login_failures_all_max,
                    delay_max: self.login_delay_max,
                    forget: FORGET.max(self.login_delay_max * 2),
                    good: GOOD,
                    good_failures_max: GOOD_FAILURES_MAX,
                    addresses_max: ADDRESSES_MAX,
                },
                address: self.login_rate_address.map(Into::into),
                name: self.login_rate_name.map(Into::into),
                concurrent: ConcurrentConfig {
                    name_max: self.login_name_concurrent_max,
                    address_max: self.login_address_concurrent_max,
                },
            },
            totp: if self.totp_required {
                TotpPolicy::Required
            } else {
                TotpPolicy::Optional
            },
        }
    }

    /// How passwords are hashed.
    #[must_use]
    pub const fn passwords(&self) -> Passwords {
        Passwords {
            memory_kib: self.password_memory_kib,
            iterations: self.password_iterations,
            lanes: self.password_lanes,
            at_once_max: self.hashing_max,
            wait_max: self.hashing_wait_max,
        }
    }

    /// Whether cookies travel over TLS alone.
    #[must_use]
    pub fn is_cookie_secure(&self, http: &Http) -> bool {
        let is_ones_own = http.listen.ip().is_loopback() && !http.is_encrypted();
        self.cookie_secure.unwrap_or(!is_ones_own)
    }

    /// Requires what must hold.
    pub(super) fn check(&self, require: &mut impl FnMut(bool, &str)) {
        require(
            (Duration::from_secs(1)..=DAY * 30).contains(&self.session_idle),
            "accounts.session_idle: must be between 1s and 30d",
        );
        require(
            (self.session_idle..=DAY * 90).contains(&self.session_max),
            "accounts.session_max: must be between accounts.session_idle and 90d",
        );
        require(
            (1..=100).contains(&self.sessions_per_account_max),
            "accounts.sessions_per_account_max: must be between 1 and 100",
        );
        require(
            (MINUTE..=DAY * 400).contains(&self.remember_max),
            "accounts.remember_max: must be between 1m and 400d",
        );
        require(
            self.remember_grace <= MINUTE,
            "accounts.remember_grace: must be at most 1m",
        );
        require(
            (1..=1_000).contains(&self.login_name_concurrent_max),
            "accounts.login_name_concurrent_max: must be between 1 and 1000",
        );
        require(
            (1..=10_000).contains(&self.login_address_concurrent_max),
            "accounts.login_address_concurrent_max: must be between 1 and 10000",
        );
        require(
            (1..=1_000_000).contains(&self.login_failures_max),
            "accounts.login_failures_max: must be between 1 and 1000000",
        );
        require(
            (self.login_failures_max..=1_000_000).contains(&self.login_failures_all_max),
            "accounts.login_failures_all_max: must be between accounts.login_failures_max and 1000000",
        );
        require(
            (Duration::from_secs(1)..=DAY).contains(&self.login_delay_max),
            "accounts.login_delay_max: must be between 1s and 1d",
        );
        self.check_passwords(require);
    }

    fn check_passwords(&self, require: &mut impl FnMut(bool, &str)) {
        let (memory, iterations) = (self.password_memory_kib, self.password_iterations);
        let is_memory = (MEMORY_KIB_MIN..=1_048_576).contains(&memory);
        require(
            is_memory,
            "accounts.password_memory_kib: must be between 7168 and 1048576",
        );
        let is_iterations = (1..=20).contains(&iterations);
        require(
            is_iterations,
            "accounts.password_iterations: must be between 1 and 20",
        );
        let passes = u64::from(memory) * u64::from(iterations);
        let is_enough = passes >= MEMORY_PASSES_KIB_MIN
            && (iterations > 1 || memory >= MEMORY_ONE_PASS_KIB_MIN);
        require(
            is_enough || !is_memory || !is_iterations,
            "accounts.password_memory_kib, accounts.password_iterations: together they cost too little; \
             19456 and 2, 47104 and 1, or 7168 and 5 are the least",
        );
        require(
            (1..=16).contains(&self.password_lanes),
            "accounts.password_lanes: must be between 1 and 16",
        );
        require(
            (1..=64).contains(&self.hashing_max),
            "accounts.hashing_max: must be between 1 and 64",
        );
        require(
            (Duration::from_millis(10)..=Duration::from_secs(30)).contains(&self.hashing_wait_max),
            "accounts.hashing_wait_max: must be between 10ms and 30s",
        );
    }
}
