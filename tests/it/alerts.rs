//! Alerts over each channel, to real receivers of HTTP and SMTP.

mod channels;
mod http;
mod mail;
pub mod smtp;
pub mod webhook;

use std::time::Duration;

use firstcome::operate::alert::{Alert, AlertConfig, AlertKind, Alerts};

pub fn config() -> AlertConfig {
    AlertConfig {
        attempts_max: 3,
        retry_initial: Duration::from_millis(5),
        retry_max: Duration::from_millis(50),
        ..AlertConfig::default()
    }
}

pub fn alert() -> Alert {
    Alert {
        kind: AlertKind::AggregationFailed,
        text: "aggregation of <2026-11-18> & more failed".to_owned(),
    }
}

/// The number of alerts over this channel.
pub fn count(alerts: &Alerts, channel: &str, result: &str) -> u64 {
    let mut registry = prometheus_client::registry::Registry::default();
    alerts.register(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    let name = format!("firstcome_alerts_total{{channel=\"{channel}\",result=\"{result}\"}} ");
    let number = text.lines().find_map(|line| line.strip_prefix(&name));
    number.map_or(0, |number| number.parse().unwrap())
}
