//! Security events: one stream of log lines (target `security`) with a fixed set of names and fields, for
//! those who watch who tries what. Each kind of event has a rate of its own: what is above it is counted and
//! not written, so that a flood of refusals cannot fill a disk. It never writes tokens, passwords, login
//! names or bodies.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use crate::domain::metric;
use crate::runtime::metrics::RegisterMetric;
use crate::runtime::supervisor::Spawner;

/// The target of all lines.
const TARGET: &str = "security";
/// Lines of each kind in a minute, unless configured.
pub const PER_MINUTE: u32 = 60;
const MINUTE: Duration = Duration::from_secs(60);
/// How often it is written how many events were not.
const REPORT_INTERVAL: Duration = Duration::from_secs(10);

macro_rules! events {
    ($($name:ident = $word:literal: $level:ident),+ $(,)?) => {
        /// What happened.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs, reason = "each is what its word says; docs/security-events.md explains them")]
        pub enum SecurityEvent { $($name),+ }

        impl SecurityEvent {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The word for it, in the log and in metrics.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word),+ }
            }

            const fn level(self) -> Level {
                match self { $(Self::$name => Level::$level),+ }
            }
        }
    };
}

/// How loud a line is.
#[derive(Clone, Copy)]
enum Level {
    /// Somebody did what they may do, and it should be known.
    Info,
    /// Somebody was refused.
    Warn,
}

events! {
    LoginFailed = "login.failed": Warn,
    LoginThrottled = "login.throttled": Warn,
    RememberedLoginReused = "remembered_login.reused": Warn,
    PasswordChanged = "password.changed": Info,
    SessionsEnded = "sessions.ended": Info,
    TotpEnabled = "totp.enabled": Info,
    TotpDisabled = "totp.disabled": Info,
    RecoveryCodeUsed = "recovery_code.used": Info,
    AdminTokenRefused = "admin_token.refused": Warn,
    AdminTokenThrottled = "admin_token.throttled": Warn,
    TokenRefused = "token.refused": Warn,
    ScopeMissing = "scope.missing": Warn,
    AccessDenied = "access.denied": Warn,
    CsrfRefused = "csrf.refused": Warn,
    HostRefused = "host.refused": Warn,
    RateLimited = "rate.limited": Warn,
    AddressUnknown = "address.unknown": Warn,
    DataRead = "data.read": Info,
    DataExported = "data.exported": Info,
}

/// What is known of an event. Everything in it is a number, a word of ours, or the name of an actor.
#[derive(Clone, Debug, Default)]
pub struct Detail {
    /// Where the request came from.
    pub address: Option<IpAddr>,
    /// Who asked, as the audit log names them.
    pub actor: Option<String>,
    /// Why they were refused.
    pub reason: Option<&'static str>,
    /// What it was about: `user:7`, `campaign:3`, `account:7`.
    pub subject: Option<String>,
}

/// The rate of one kind of event, as a token bucket that is kept as the moment at which it is full again.
#[derive(Debug)]
struct Bucket {
    full_at: Instant,
    dropped: u64,
}

impl Bucket {
    /// Takes a token: how many events were dropped since the last one that was written, or none if this one
    /// is dropped, too.
    fn take(&mut self, now: Instant, per_minute: u32) -> Option<u64> {
        let full_at = self.full_at.max(now) + MINUTE / per_minute.max(1);
        if full_at.duration_since(now) > MINUTE {
            self.dropped += 1;
            return None;
        }
        self.full_at = full_at;
        Some(std::mem::take(&mut self.dropped))
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Of {
    event: &'static str,
}

/// Writes security events. Cheap to clone: all clones have the same rates.
#[derive(Clone)]
pub struct SecurityEvents {
    buckets: Arc<[Mutex<Bucket>]>,
    per_minute: u32,
    seen: Family<Of, Counter>,
    dropped: Family<Of, Counter>,
}

impl fmt::Debug for SecurityEvents {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SecurityEvents")
            .field("per_minute", &self.per_minute)
            .finish_non_exhaustive()
    }
}

impl Default for SecurityEvents {
    fn default() -> Self {
        Self::new(PER_MINUTE)
    }
}

impl SecurityEvents {
    /// Writes at most so many lines of each kind of event in a minute.
    #[must_use]
    pub fn new(per_minute: u32) -> Self {
        let full_at = Instant::now();
        let bucket = |_: &SecurityEvent| {
            let dropped = 0;
            Mutex::new(Bucket { full_at, dropped })
        };
        Self {
            buckets: SecurityEvent::ALL.iter().map(bucket).collect(),
            per_minute,
            seen: Family::default(),
            dropped: Family::default(),
        }
    }

    /// Makes the numbers visible, the dropped lines included.
    pub fn register(&self, registry: &mut Registry) {
        registry.add(&metric::SECURITY_EVENTS, self.seen.clone());
        registry.add(&metric::SECURITY_EVENTS_DROPPED, self.dropped.clone());
    }

    /// Starts to write how many events were dropped, for when no other of their kind follows.
    pub fn start(&self, spawner: &Spawner) {
        let events = self.clone();
        spawner.repeat("security.report", REPORT_INTERVAL, move |_stop| {
            let events = events.clone();
            async move {
                events.report_dropped();
                REPORT_INTERVAL
            }
        });
    }

    /// Writes an event, or counts it where there are too many of its kind.
    pub fn report(&self, event: SecurityEvent, detail: &Detail) {
        let of = Of {
            event: event.as_str(),
        };
        self.seen.get_or_create(&of).inc();
        match self.take(event) {
            Some(dropped) => write(event, detail, dropped),
            None => {
                self.dropped.get_or_create(&of).inc();
            }
        }
    }

    /// Writes how many events of each kind were dropped since the last one that was written.
    fn report_dropped(&self) {
        for (event, bucket) in SecurityEvent::ALL.iter().zip(self.buckets.iter()) {
            let dropped = {
                let mut bucket = bucket.lock().unwrap_or_else(PoisonError::into_inner);
                std::mem::take(&mut bucket.dropped)
            };
            if dropped > 0 {
                write(*event, &Detail::default(), dropped);
            }
        }
    }

    fn take(&self, event: SecurityEvent) -> Option<u64> {
        let bucket = self.buckets.get(event as usize)?;
        let mut bucket = bucket.lock().unwrap_or_else(PoisonError::into_inner);
        bucket.take(Instant::now(), self.per_minute)
    }
}

/// The fields are a contract with whoever reads them: docs/security-events.md.
fn write(event: SecurityEvent, detail: &Detail, dropped: u64) {
    let address = detail.address.map(tracing::field::display);
    let actor = detail.actor.as_deref();
    let subject = detail.subject.as_deref();
    let dropped = (dropped > 0).then_some(dropped);
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                target: TARGET,
                {
                    "security.event" = event.as_str(),
                    "security.actor" = actor,
                    "security.reason" = detail.reason,
                    "security.subject" = subject,
                    "security.dropped" = dropped,
                    "source.address" = address,
                },
                "security event"
            )
        };
    }
    match event.level() {
        Level::Info => line!(info),
        Level::Warn => line!(warn),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_and_only_its_beginning_is_logged() {
        let begin = Instant::now();
        let mut bucket = Bucket {
            full_at: begin,
            dropped: 0,
        };
        let written = (0..1_000)
            .filter(|_| bucket.take(begin, 60).is_some())
            .count();
        assert_eq!((written, bucket.dropped), (60, 940));
        assert_eq!(bucket.take(begin, 60), None);
        // A second later there is room for one line, which says how many there were.
        let later = begin + Duration::from_secs(1);
        assert_eq!(bucket.take(later, 60), Some(941));
        assert_eq!(bucket.take(later, 60), None);
        let much_later = later + MINUTE;
        assert_eq!(bucket.take(much_later, 60), Some(1));
        assert_eq!(bucket.take(much_later, 60), Some(0));
    }

    #[test]
    fn each_kind_has_its_own_rate() {
        let events = SecurityEvents::new(1);
        for event in SecurityEvent::ALL {
            assert_eq!(events.take(*event), Some(0), "{}", event.as_str());
            assert_eq!(events.take(*event), None, "{}", event.as_str());
        }
    }

    #[test]
    fn the_documents_explain_every_event_and_no_other() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/security-events.md");
        let text = std::fs::read_to_string(file).unwrap();
        let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
        let mut told: Vec<&str> = rows
            .filter_map(|row| row.split_once('`'))
            .map(|(word, _)| word)
            .filter(|word| !word.starts_with("security.") && *word != "source.address")
            .filter(|word| !matches!(*word, "request.id" | "trace.id"))
            .collect();
        let mut known: Vec<&str> = SecurityEvent::ALL
            .iter()
            .map(|event| event.as_str())
            .collect();
        told.sort_unstable();
        known.sort_unstable();
        assert_eq!(told, known);
    }
}
