//! Security events: log lines (target `security`) with a fixed set of names and fields, for operators. Each kind of event
//! has a rate of its own; events above it are counted and not logged, so that a flood of rejections cannot fill a disk.
//! Tokens, passwords, login names and bodies are never logged.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use crate::domain::words::words;
use crate::runtime::metrics::{Labels, registers};
use crate::runtime::supervisor::Spawner;

/// The target of all lines.
const TARGET: &str = "security";
/// Lines of each kind in a minute, unless configured.
pub const PER_MINUTE: u32 = 60;
const MINUTE: Duration = Duration::from_secs(60);
/// Interval of the report of dropped events.
const REPORT_INTERVAL: Duration = Duration::from_secs(10);

words! {
    /// An event, by its name in the log and in metrics.
    #[allow(missing_docs, reason = "each is what its word says; docs/security-events.md explains them")]
    pub enum SecurityEvent {
        LoginFailed = "login.failed",
        LoginThrottled = "login.throttled",
        RememberedLoginReused = "remembered_login.reused",
        SignedUp = "account.signed_up",
        AccountDeleted = "account.deleted",
        PasswordChanged = "password.changed",
        SessionsEnded = "sessions.ended",
        TotpEnabled = "totp.enabled",
        TotpDisabled = "totp.disabled",
        RecoveryCodeUsed = "recovery_code.used",
        AdminTokenRefused = "admin_token.refused",
        AdminTokenThrottled = "admin_token.throttled",
        TokenRefused = "token.refused",
        ScopeMissing = "scope.missing",
        AccessDenied = "access.denied",
        CsrfRefused = "csrf.refused",
        HostRefused = "host.refused",
        RateLimited = "rate.limited",
        AddressUnknown = "address.unknown",
        DataRead = "data.read",
        DataExported = "data.exported",
    }
}

impl SecurityEvent {
    /// Whether a request was refused. Other events are allowed actions that should be known.
    const fn is_refusal(self) -> bool {
        !matches!(
            self,
            Self::SignedUp
                | Self::AccountDeleted
                | Self::PasswordChanged
                | Self::SessionsEnded
                | Self::TotpEnabled
                | Self::TotpDisabled
                | Self::RecoveryCodeUsed
                | Self::DataRead
                | Self::DataExported
        )
    }
}

/// The fields of an event: numbers, fixed words, and names of actors only.
#[derive(Clone, Debug, Default)]
pub struct Detail {
    /// The address of the request.
    pub address: Option<IpAddr>,
    /// The actor, as the audit log names it.
    pub actor: Option<String>,
    /// Why it was refused.
    pub reason: Option<&'static str>,
    /// What it was about: `user:7`, `campaign:3`, `account:7`.
    pub subject: Option<String>,
}

/// The rate of one kind of event: a token bucket, stored as the moment at which it is full again.
#[derive(Debug)]
struct Bucket {
    full_at: Instant,
    dropped: u64,
}

impl Bucket {
    /// Takes a token: how many events were dropped since the last logged one; none: this one is dropped, too.
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

/// Logs security events. Clones share their rates.
#[derive(Clone)]
pub struct SecurityEvents {
    buckets: Arc<[Mutex<Bucket>]>,
    per_minute: u32,
    seen: Family<Labels<1>, Counter>,
    dropped: Family<Labels<1>, Counter>,
}

impl Default for SecurityEvents {
    fn default() -> Self {
        Self::new(PER_MINUTE)
    }
}

registers!(pub SecurityEvents: seen = SECURITY_EVENTS, dropped = SECURITY_EVENTS_DROPPED);

impl SecurityEvents {
    /// Logs at most `per_minute` events of each kind in a minute.
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

    /// Starts the regular report of dropped events.
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

    /// Logs an event, or only counts it if there are too many of its kind.
    pub fn report(&self, event: SecurityEvent, detail: &Detail) {
        let labels = [("event", event.as_str())];
        self.seen.get_or_create(&labels).inc();
        match self.take(event) {
            Some(dropped) => write(event, detail, dropped),
            None => {
                self.dropped.get_or_create(&labels).inc();
            }
        }
    }

    /// Logs how many events of each kind were dropped since the last logged one.
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

/// The fields are a contract: docs/security-events.md.
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
    if event.is_refusal() {
        line!(warn);
    } else {
        line!(info);
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
        // A second later one line is allowed; it has the number of dropped events.
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
            assert_eq!(events.take(event), Some(0), "{}", event.as_str());
            assert_eq!(events.take(event), None, "{}", event.as_str());
        }
    }

    #[test]
    fn the_documents_explain_every_event_and_no_other() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/security-events.md");
        let text = std::fs::read_to_string(file).unwrap();
        let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
        let mut documented: Vec<&str> = rows
            .filter_map(|row| row.split_once('`'))
            .map(|(word, _)| word)
            .filter(|word| !word.starts_with("security.") && *word != "source.address")
            .filter(|word| !matches!(*word, "request.id" | "trace.id"))
            .collect();
        let mut known: Vec<&str> = SecurityEvent::ALL
            .iter()
            .map(|event| event.as_str())
            .collect();
        documented.sort_unstable();
        known.sort_unstable();
        assert_eq!(documented, known);
    }
}
