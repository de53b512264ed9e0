//! `[accounts]`: the configuration of accounts and sessions.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use crate::access::limits::Rate;
use crate::domain::words::words;
use crate::parts::gate::{Lifetime, LoginBounds};
use crate::runtime::settings::{DAY, MINUTE, SECOND, settings};
use crate::runtime::web;

/// Least cost of a hash, after OWASP's *Password Storage Cheat Sheet*: the least memory, and the least product of memory
/// and iterations among the pairs that it treats as equal (7 MiB and 5, …, 46 MiB and 1).
const MEMORY_KIB_MIN: u32 = 7_168;
const MEMORY_PASSES_KIB_MIN: u64 = 35_840;
const MEMORY_ONE_PASS_KIB_MIN: u32 = 47_104;

/// Shortest time for which failed log-ins count.
const FORGET: Duration = Duration::from_secs(3_600);
words! {
    /// Who may create an account.
    #[derive(Default)]
    pub enum SignUp {
        /// Nobody but admins.
        #[default]
        Off = "off",
        /// Everybody.
        Open = "open",
        /// Everybody who proves that the login name is theirs.
        Verified = "verified",
    }
}

/// How long an address is known after a correct password, and the number of failures that end this.
const GOOD: Duration = Duration::from_secs(30 * 86_400);
const GOOD_FAILURES_MAX: u32 = 20;
/// Addresses stored for a login name: with failures, and as many known ones.
const ADDRESSES_MAX: u32 = 16;

settings! {
    /// `[accounts]`: accounts and sessions of users who log in to this service.
    AccountsConfig in "accounts" {
        /// How long a session without requests lives
        session_idle: Duration = MINUTE * 30, in SECOND..=DAY * 30;
        /// Longest life of a session; `session_idle` to 90 d
        session_max: Duration = MINUTE * 60 * 12, in ..=DAY * 90;
        /// Most sessions, and most remembered log-ins, of an account; a new one replaces the one that would expire next
        sessions_per_account_max: u32 = 16, in 1..=100;
        /// How long a log-in is remembered
        remember_max: Duration = DAY * 30, in MINUTE..=DAY * 400;
        /// A token of a remembered log-in that is used twice within this time counts as two windows of one browser, not as
        /// a theft
        remember_grace: Duration = SECOND * 10, in ..=MINUTE;
        /// Whether cookies are sent over TLS only. Behind a gateway on the same machine that ends TLS, set
        /// `http.tls_at_proxy`
        cookie_secure: Option<bool> = None,
            shown "`true`, but `false` if `http.listen` is a loopback address and neither `http.tls_certificate` nor `http.tls_at_proxy` is set";
        /// Memory of a password hash. Memory and iterations together must cost at least as much as 19456 and 2, 47104
        /// and 1, or 7168 and 5
        password_memory_kib: u32 = 19_456, in MEMORY_KIB_MIN..=1_048_576;
        /// Iterations of a password hash
        password_iterations: u32 = 2, in 1..=20;
        /// Parallelism of a password hash
        password_lanes: u32 = 1, in 1..=16;
        /// Passwords that are hashed at the same time
        hashing_max: usize = half_of_the_threads(), in 1..=64, shown "half as many as the machine has threads";
        /// Longest wait until a password is hashed; then the response is 503
        hashing_wait_max: Duration = SECOND * 2, in Duration::from_millis(10)..=SECOND * 30;
        /// Failed log-ins from one address, with any login name, and invalid cookies of remembered log-ins
        login_rate_address: Option<Rate> = Some(per_minute(30));
        /// Log-ins by one login name, successful or not: from its known addresses together, and the same number from all
        /// others
        login_rate_name: Option<Rate> = Some(per_minute(60));
        /// Log-ins by one login name in progress at once in one process: from its known addresses, and the same number
        /// from all others. More get 429
        login_name_concurrent_max: u32 = 2, in 1..=1_000;
        /// Log-ins from one address in progress at once in one process. More get 429
        login_address_concurrent_max: u32 = 4, in 1..=10_000;
        /// Failed log-ins by one login name from one address without a delay; the next waits 1 s, and each further one
        /// twice as long
        login_failures_max: u32 = 5, in 1..=1_000_000;
        /// The same for all addresses together. Addresses that the owner used recently do not wait. At least
        /// `login_failures_max`
        login_failures_all_max: u32 = 100, in ..=1_000_000;
        /// Longest delay
        login_delay_max: Duration = MINUTE * 15, in SECOND..=DAY;
        /// Who may create an account over `POST /api/accounts`: nobody (`off`), everybody (`open`), or everybody who
        /// proves with a token that the login name is theirs (`verified`; needs `verify_url`)
        sign_up: SignUp = SignUp::Off;
        /// Web address that gets a JSON document for each token to be sent to the owner of a login name:
        /// [Sign-up](authentication.md#sign-up). With it, users can reset a forgotten password
        verify_url: Option<SecretString> = None;
        /// Time limit of one such request
        verify_timeout: Duration = SECOND * 5, in Duration::from_millis(10)..=MINUTE;
        /// How long a token is valid
        verify_max: Duration = MINUTE * 60, in SECOND..=DAY * 7;
        /// Sign-ups and requests for a new password from one address
        sign_up_rate_address: Option<Rate> = Some(per_minute(10));
        /// Whether accounts with scopes must have [one-time codes](authentication.md#one-time-codes): without them their
        /// sessions have no scopes
        totp_required: bool = false;
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

impl AccountsConfig {
    /// The lifetime of a session.
    pub(super) const fn lifetime(&self) -> Lifetime {
        Lifetime {
            idle: self.session_idle,
            longest: self.session_max,
        }
    }

    /// How failed log-ins slow down the next ones.
    pub(super) fn login_bounds(&self) -> LoginBounds {
        LoginBounds {
            failures_max: self.login_failures_max,
            failures_all_max: self.login_failures_all_max,
            delay_max: self.login_delay_max,
            forget: FORGET.max(self.login_delay_max * 2),
            good: GOOD,
            good_failures_max: GOOD_FAILURES_MAX,
            addresses_max: ADDRESSES_MAX,
        }
    }

    /// Checks the rules that involve several settings.
    pub fn check(&self, require: &mut impl FnMut(bool, &str)) {
        require(
            self.session_max >= self.session_idle,
            "accounts.session_max: must be at least accounts.session_idle",
        );
        require(
            self.login_failures_all_max >= self.login_failures_max,
            "accounts.login_failures_all_max: must be at least accounts.login_failures_max",
        );
        let address = self.verify_url.as_ref().map(ExposeSecret::expose_secret);
        require(
            address.is_none_or(|url| web::address(url).is_some()),
            "accounts.verify_url: must begin with https:// or http://",
        );
        require(
            self.sign_up != SignUp::Verified || self.verify_url.is_some(),
            "accounts.verify_url: accounts.sign_up=verified needs it",
        );
        let (memory, iterations) = (self.password_memory_kib, self.password_iterations);
        let passes = u64::from(memory) * u64::from(iterations);
        let is_enough = passes >= MEMORY_PASSES_KIB_MIN
            && (iterations > 1 || memory >= MEMORY_ONE_PASS_KIB_MIN);
        require(
            is_enough || memory < MEMORY_KIB_MIN || iterations == 0,
            "accounts.password_memory_kib, accounts.password_iterations: together they cost too little; the least are \
             19456 and 2, 47104 and 1, or 7168 and 5",
        );
    }
}
