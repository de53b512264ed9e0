//! The sections of the configuration and their defaults.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use serde::Deserialize;

use super::auth::{Algorithms, Mode, Types};
use super::consumers::Enabled;
use crate::access::limits::{Networks, Rate};
use crate::domain::Redeemers;
use crate::events::relay::KeyPolicy;
use crate::runtime::telemetry::LogFormat;
use crate::sale::participate::WhenAway;

macro_rules! section {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty = $default:expr),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name { $($(#[$field_doc])* pub $field: $type),+ }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default),+ }
            }
        }
    };
}
pub(super) use section;

section! {
    /// `[data]`: where the embedded parts keep what they keep.
    Data {
        /// Folder, made when it is missing.
        dir: PathBuf = PathBuf::from("./data"),
    }
}
section! {
    /// `[auth]`: how participants say who they are.
    Auth {
        /// `trusted` (they are believed), `jwt` (they show a token) or `sessions` (they log in here).
        mode: Mode = Mode::Trusted,
        /// Who issues tokens: their claim `iss`.
        issuer: Option<String> = None,
        /// Whom tokens are meant for: one of their claim `aud`.
        audience: Option<String> = None,
        /// Algorithms that are accepted; absent: all that the keys are for.
        algorithms: Option<Algorithms> = None,
        /// Types that are accepted, as tokens say them in `typ`; absent: `JWT` and `at+jwt`.
        token_types: Option<Types> = None,
        /// The secret that tokens are signed with.
        jwt_secret: Option<SecretString> = None,
        /// The public keys that tokens are signed with, a JSON Web Key Set.
        jwks: Option<String> = None,
        /// Where they are: `https://…` or `file:///…`.
        jwks_url: Option<String> = None,
        /// Certificates, in PEM, that vouch for the address; absent: those of the public web.
        jwks_ca: Option<String> = None,
        /// How often they are fetched again.
        #[serde(with = "humantime_serde")]
        jwks_refresh: Duration = Duration::from_secs(300),
        /// But for tokens with unknown keys at most once in so long.
        #[serde(with = "humantime_serde")]
        jwks_refresh_min: Duration = Duration::from_secs(10),
        /// Longest wait for them.
        #[serde(with = "humantime_serde")]
        jwks_timeout: Duration = Duration::from_secs(3),
        /// Largest answer that is read.
        jwks_bytes_max: usize = 65_536,
        /// How far the issuer's clock may be off.
        #[serde(with = "humantime_serde")]
        clock_skew: Duration = Duration::from_secs(30),
    }
}
section! {
    /// `[gate]`: admission.
    Gate {
        /// How long an admission waits for its commit.
        #[serde(with = "humantime_serde")]
        lease: Duration = Duration::from_secs(15),
        /// How often leases that ran out are swept, and gate and store compared.
        #[serde(with = "humantime_serde")]
        sweep_interval: Duration = Duration::from_secs(4),
        /// While the gate is away: `database` (it admits, slower) or `refuse` (503).
        when_away: WhenAway = WhenAway::Database,
        /// Places in each lane's queue of the database path.
        away_capacity: usize = 512,
        /// Entrants in one call at most.
        batch_max: usize = 256,
        /// How long entrants gather for the next call after one that had several in it.
        #[serde(with = "humantime_serde")]
        pace: Duration = Duration::from_millis(2),
        /// How long after a rebuild of a campaign's gate the next one begins, at least.
        #[serde(with = "humantime_serde")]
        rebuild_interval: Duration = Duration::from_millis(500),
        /// How long the gate keeps a campaign that is over.
        #[serde(with = "humantime_serde")]
        over_retention: Duration = Duration::from_secs(15 * 60),
    }
}
section! {
    /// `[writer]`: group commit.
    Writer {
        /// Lanes; a campaign always has the same one.
        lanes: usize = 4,
        /// Places in each lane at most.
        capacity: usize = 1_024,
        /// How long those in a lane are to wait at most.
        #[serde(with = "humantime_serde")]
        wait_max: Duration = Duration::from_millis(100),
        /// Rows in one transaction at most.
        batch_rows_max: usize = 256,
        /// Transactions of the synchronous path at the same time.
        sync_concurrency_max: usize = 32,
    }
}
/// So many in a second.
const fn per_second(requests: u32) -> Rate {
    Rate {
        requests,
        period: Duration::from_secs(1),
    }
}
section! {
    /// `[limits]`: how often one may ask to take part, or read.
    Limits {
        /// From one address, `20/1s`.
        address: Option<Rate> = Some(per_second(100)),
        /// Reads of the API from one address, in each process.
        address_reads: Option<Rate> = Some(per_second(200)),
        /// Addresses that have neither: at first this machine's, and private ones.
        exempt: Networks = Networks::private(),
        /// As one user.
        user: Option<Rate> = None,
        /// For one campaign, all together.
        campaign: Option<Rate> = None,
    }
}
section! {
    /// `[payment]`: what a reservation waits for.
    Payment {
        /// Who authorises payments: `simulated`, which moves no money.
        provider: Provider = Provider::Simulated,
        /// Whether the simulated provider may sell where others can reach it, or where parts are real.
        allow_simulated: bool = false,
        /// Longest wait for the provider.
        #[serde(with = "humantime_serde")]
        timeout: Duration = Duration::from_secs(5),
        /// How often reservations are looked for whose time to pay is over.
        #[serde(with = "humantime_serde")]
        expiry_interval: Duration = Duration::from_millis(500),
    }
}

/// Payment providers there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// Says yes to everything, and moves no money.
    #[default]
    Simulated,
}

section! {
    /// `[relay]`: publishing what was committed.
    Relay {
        /// Whether `serve` publishes, too; without it a process with the command `relay` has to.
        enabled: bool = true,
        /// How long a share of the outbox stays with a relay that says nothing.
        #[serde(with = "humantime_serde")]
        lease: Option<Duration> = None,
        /// Workers that send.
        lanes: u16 = 4,
        /// Rows under way at most.
        in_flight_max: u32 = 8_192,
        /// Attempts before a row is a dead letter; a broker that is away costs none.
        attempts_max: u32 = 10,
        /// Wait after the first attempt; it doubles from there, with jitter.
        #[serde(with = "humantime_serde")]
        retry_initial: Duration = Duration::from_millis(500),
        /// Longest wait between attempts.
        #[serde(with = "humantime_serde")]
        retry_max: Duration = Duration::from_secs(300),
        /// What later rows of a key do while one of it is to be tried again: `block` (wait) or `skip`.
        key_policy: KeyPolicy = KeyPolicy::Block,
    }
}
section! {
    /// `[retention]`: how long published events, and what admins did, are kept.
    Retention {
        /// Age from which a published event of a campaign that is over may be deleted.
        #[serde(with = "humantime_serde")]
        published_events: Duration = Duration::from_secs(7 * 24 * 60 * 60),
        /// Age from which an entry of the audit log is deleted.
        #[serde(with = "humantime_serde")]
        audit_entries: Duration = Duration::from_secs(400 * 24 * 60 * 60),
        /// How often events that have come of age are looked for.
        #[serde(with = "humantime_serde")]
        interval: Duration = Duration::from_secs(60),
        /// How often all old events are looked at again.
        #[serde(with = "humantime_serde")]
        sweep_interval: Duration = Duration::from_secs(60 * 60),
        /// Events one statement looks at and deletes at most.
        rows_max: u32 = 500,
        /// Share of the time in which statements of a sweep may be running, in percent.
        busy_percent_max: u32 = 10,
    }
}
section! {
    /// `[export]`: participations as CSV.
    Export {
        /// Exports at the same time.
        concurrent_max: usize = 4,
        /// Participations that are read at once.
        piece_rows: u32 = 1_000,
        /// Pieces of so many that wait for the client at most.
        pieces_max: usize = 4,
    }
}
section! {
    /// `[test]`: simulated participants.
    Test {
        /// Whether there are any.
        endpoints: bool = false,
        /// Simulations at the same time.
        jobs_max: usize = 2,
        /// Simulations whose results are kept.
        results_max: usize = 100,
        /// How long results are kept.
        #[serde(with = "humantime_serde")]
        results_age: Duration = Duration::from_secs(60 * 60),
    }
}
section! {
    /// `[rewards]`: the rewards database.
    Rewards {
        /// `mysql://…`; absent: beside the events, in a schema, or a file, of its own.
        database_url: Option<SecretString> = None,
        /// Connections in the pool.
        connections_max: u32 = 8,
        /// Who uses coupons: `holders` (and shops), or `shops` alone.
        redeemers: Redeemers = Redeemers::Holders,
        /// How long coupons stay suspended for a cancellation that does not commit.
        #[serde(with = "humantime_serde")]
        suspend_max: Duration = Duration::from_secs(15),
    }
}
section! {
    /// `[consumers]`: granting what participations earn.
    Consumers {
        /// Which, inside `serve`: `points`, `coupons`.
        enabled: Option<Enabled> = None,
        /// Records of one transaction at most.
        batch_records_max: usize = 500,
        /// Partitions that a consumer works on at the same time.
        parallel_max: usize = 4,
        /// For how long a process may say nothing before its partitions are given to others.
        #[serde(with = "humantime_serde")]
        session_timeout: Duration = Duration::from_secs(10),
        /// Wait after the first attempt that failed; it doubles from there, with jitter.
        #[serde(with = "humantime_serde")]
        retry_initial: Duration = Duration::from_millis(100),
        /// Longest wait between attempts.
        #[serde(with = "humantime_serde")]
        retry_max: Duration = Duration::from_secs(5),
    }
}
section! {
    /// `[aggregation]`: what days come to.
    Aggregation {
        /// Whether this process aggregates days when it is time.
        enabled: bool = true,
        /// When, in the time of the zone: a cron expression.
        schedule: String = "0 2 * * *".to_owned(),
        /// Whose days they are: the IANA name of a time zone.
        zone: String = "UTC".to_owned(),
        /// Days back, from yesterday, that are done when they were missed.
        catch_up_days: u32 = 7,
        /// Participations of one slice of a day.
        slice_rows: u32 = 50_000,
        /// Slices that are read at the same time.
        parallel_max: usize = 2,
        /// How long the turn stays with a replica that says nothing.
        #[serde(with = "humantime_serde")]
        lease: Duration = Duration::from_secs(15),
        /// Attempts before a slice or a campaign fails, or an alert is given up.
        attempts_max: u32 = 6,
        /// Wait after the first attempt; it doubles from there, with jitter.
        #[serde(with = "humantime_serde")]
        retry_initial: Duration = Duration::from_millis(200),
        /// Longest wait between attempts.
        #[serde(with = "humantime_serde")]
        retry_max: Duration = Duration::from_secs(5),
        /// How long ended runs are remembered.
        #[serde(with = "humantime_serde")]
        runs_kept: Duration = Duration::from_secs(90 * 24 * 60 * 60),
        /// Where failures are posted; absent: nowhere.
        webhook_url: Option<SecretString> = None,
        /// How long one attempt to post may take.
        #[serde(with = "humantime_serde")]
        webhook_timeout: Duration = Duration::from_secs(5),
    }
}
section! {
    /// `[log]`
    Log {
        /// `text` or `json`.
        format: LogFormat = LogFormat::Text,
        /// What is logged, in the syntax of `tracing`'s filters.
        filter: String = "info,sqlx=warn,sea_orm=warn,librdkafka=warn,rdkafka=warn".to_owned(),
        /// Lines of each kind of security event in a minute.
        security_events_per_minute: u32 = 60,
    }
}
section! {
    /// `[traces]`: where spans are sent.
    Traces {
        /// Takes OTLP over HTTP, as `http://127.0.0.1:4318/v1/traces`; absent: nothing is traced.
        endpoint: Option<String> = None,
        /// Headers for it, as `name=value,name=value`.
        headers: Option<SecretString> = None,
        /// Of requests that come without a trace, or from anybody, the share that is traced.
        sample: f64 = 0.01,
        /// How long one export may take.
        #[serde(with = "humantime_serde")]
        timeout: Duration = Duration::from_secs(5),
        /// What the service calls itself.
        service_name: String = "firstcome".to_owned(),
    }
}
section! {
    /// `[shutdown]`
    Shutdown {
        /// How long draining may take.
        #[serde(with = "humantime_serde")]
        deadline: Duration = Duration::from_secs(20),
    }
}
