//! The kinds of faults, with their names in the report.

use crate::points;

macro_rules! faults {
    ($($(#[$doc:meta])* $fault:ident = $name:literal),+ $(,)?) => {
        /// A kind of fault.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Fault { $($(#[$doc])* $fault),+ }

        impl Fault {
            /// Every kind, in the order of the report.
            pub const ALL: &[Self] = &[$(Self::$fault),+];

            pub const fn name(self) -> &'static str {
                match self { $(Self::$fault => $name),+ }
            }
        }
    };
}

faults! {
    /// SIGKILL, and started again.
    ServiceKilled = "service killed",
    /// SIGSTOP for longer than the leases, then SIGCONT.
    ServicePaused = "service paused beyond its leases",
    /// SIGTERM, and started again.
    ServiceStopped = "service stopped and started",
    /// Killed, and started with a system clock that is wrong or jumps.
    ClockJump = "service under a jumped clock",
    /// Killed, and started so that it aborts at a crash point.
    CrashPoint = "service aborts at a crash point",
    /// SIGKILL, and started again.
    MysqlKilled = "MySQL killed",
    /// SIGSTOP: connections stay open and silent.
    MysqlPaused = "MySQL paused",
    /// SIGTERM, and started again.
    MysqlRestarted = "MySQL restarted",
    /// Another client opens all connections, and a replica loses its own.
    MysqlExhausted = "MySQL out of connections",
    /// A hostile session locks the rows that the writer is about to insert, then requests the writer's lock.
    MysqlDeadlock = "MySQL deadlocks",
    /// Connections accept data and answer nothing.
    MysqlHang = "MySQL hangs without closing",
    /// Existing connections become silent forever and are never closed; new ones work.
    MysqlSilent = "MySQL's connections forgotten",
    /// Requests arrive, answers do not.
    MysqlLostReplies = "MySQL's replies lost",
    /// COMMIT is held back, for longer than a request waits for it or than a lease lasts, and then arrives.
    MysqlCommitStalled = "MySQL's COMMITs stalled",
    /// One replica's connections are cut, and new ones refused.
    MysqlUnreachable = "MySQL unreachable for a replica",
    /// SIGKILL, and started again.
    RedisKilled = "Redis killed",
    /// SIGSTOP.
    RedisPaused = "Redis paused",
    /// FLUSHALL.
    RedisEmptied = "Redis emptied (FLUSHALL)",
    /// SCRIPT FLUSH.
    RedisScriptsGone = "Redis without scripts (SCRIPT FLUSH)",
    /// Stopped, and started on its files of a while ago.
    RedisOldFile = "Redis restored from an old file",
    /// One of a campaign's keys is deleted.
    RedisPartialLoss = "Redis loses one key of a campaign",
    /// Connections accept data and answer nothing.
    RedisHang = "Redis hangs without closing",
    /// Existing connections become silent forever and are never closed; new ones work.
    RedisSilent = "Redis's connections forgotten",
    /// Requests arrive, answers do not.
    RedisLostReplies = "Redis's replies lost",
    /// One replica's connections are cut, and new ones refused.
    RedisUnreachable = "Redis unreachable for a replica",
    /// SIGKILL, and started again.
    KafkaKilled = "Kafka killed",
    /// SIGSTOP.
    KafkaPaused = "Kafka paused",
    /// Slow bytes, incomplete requests, silent connections.
    SlowClients = "slow clients",
    /// Clients that close in the middle of a request or before its response.
    LeavingClients = "clients that go away",
    /// A write on a full disk. Only for the embedded store, in a separate scenario.
    DiskFull = "disk full (embedded store)",
}

impl Fault {
    /// Faults for schedules: all except the separate scenario, and those that this build cannot cause.
    pub fn scheduled() -> Vec<Self> {
        let is_possible = |fault: &Self| match fault {
            Self::DiskFull => false,
            Self::ClockJump | Self::CrashPoint => points::COMPILED,
            _ => true,
        };
        Self::ALL.iter().copied().filter(is_possible).collect()
    }

    /// Shortest and longest duration, in milliseconds; 0 for an immediate fault. A pause must be longer than a lease,
    /// so `lease_ms` moves these bounds.
    pub const fn lasts_ms(self, lease_ms: u64) -> (u64, u64) {
        match self {
            Self::ServicePaused => (lease_ms + 300, lease_ms + 1_500),
            Self::MysqlCommitStalled => (500, lease_ms + 1_500),
            Self::ServiceKilled | Self::ServiceStopped => (100, 1_500),
            // The service must start and reach the crash point.
            Self::ClockJump | Self::CrashPoint => (3_500, 5_500),
            Self::MysqlKilled | Self::RedisKilled | Self::KafkaKilled => (0, 2_000),
            Self::MysqlRestarted => (0, 1_000),
            Self::MysqlDeadlock | Self::SlowClients | Self::LeavingClients => (2_000, 4_000),
            // It lasts from the restored time until the time is reached again.
            Self::RedisOldFile => (800, 3_000),
            Self::RedisEmptied | Self::RedisScriptsGone | Self::RedisPartialLoss => (0, 1),
            // It lasts until the end of the run; this is long enough to observe its effect.
            Self::MysqlSilent | Self::RedisSilent => (1_000, 1_001),
            _ => (700, 3_500),
        }
    }
}
