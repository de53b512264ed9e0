//! The sections of the process itself: `[data]`, `[log]`, `[shutdown]`.

use std::path::PathBuf;
use std::time::Duration;

use crate::access::security_events;
use crate::runtime::settings::settings;
use crate::runtime::telemetry::LogFormat;

settings! {
    /// `[data]`: the files of the embedded parts.
    Data in "data" {
        /// Folder of the embedded parts; created if it is missing
        dir: PathBuf = PathBuf::from("./data");
    }
}

settings! {
    /// `[log]`: what is logged and how.
    Log in "log" {
        /// `text`, or `json` with one object per line. Logs go to standard error
        format: LogFormat = LogFormat::Text;
        /// Targets and levels that are logged: `target=level,…`
        filter: String = "info,sqlx=warn,sea_orm=warn,librdkafka=warn,rdkafka=warn".to_owned();
        /// Lines per minute for each kind of [security event](security-events.md)
        security_events_per_minute: u32 = security_events::PER_MINUTE, in 1..=60_000;
    }
}

settings! {
    /// `[shutdown]`: the end of the process.
    Shutdown in "shutdown" {
        /// How long draining may take; then the rest is aborted
        deadline: Duration = Duration::from_secs(20);
    }
}
