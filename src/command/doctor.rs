//! `doctor`: asks the real parts for the settings that silently lose data, and says what to change.

use std::process::ExitCode;

use crate::clock::Clock;
use crate::config::Config;

/// One setting and what is wrong with it, if anything.
struct Check {
    setting: String,
    value: String,
    advice: Option<&'static str>,
}

/// Examines the configured parts; non-zero when something must be changed.
pub async fn run(config: &Config) -> anyhow::Result<ExitCode> {
    let mut checks = Vec::new();
    if config.database.url.is_some() {
        checks.extend(store_checks(config).await?);
    }
    if config.redis.url.is_some() {
        checks.extend(gate_checks(config).await?);
    }
    if config.kafka.brokers.is_some() {
        checks.extend(broker_checks(config).await?);
    }
    for part in config.embedded_parts() {
        super::print(&format!("--   {part} is embedded: for trying out only"))?;
    }
    for check in &checks {
        let mark = if check.advice.is_some() { "BAD" } else { "ok " };
        let advice = check
            .advice
            .map(|advice| format!("  -> {advice}"))
            .unwrap_or_default();
        super::print(&format!(
            "{mark}  {} = {}{advice}",
            check.setting, check.value
        ))?;
    }
    let sound = checks.iter().all(|check| check.advice.is_none());
    Ok(if sound {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn store_checks(config: &Config) -> anyhow::Result<Vec<Check>> {
    let store = super::parts::store(config, Clock::System).await?;
    let wanted = [
        (
            "innodb_flush_log_at_trx_commit",
            "1",
            "set it to 1: any other value loses commits in a crash",
        ),
        (
            "sync_binlog",
            "1",
            "set it to 1: a replica could miss what was answered yes",
        ),
        (
            "innodb_doublewrite",
            "ON",
            "turn it on: a torn page is lost without it",
        ),
    ];
    let mut checks = Vec::new();
    for (name, right, advice) in wanted {
        let value = store.server_variable(name).await?.unwrap_or_default();
        let advice = (!value.eq_ignore_ascii_case(right)).then_some(advice);
        checks.push(Check {
            setting: format!("mysql {name}"),
            value,
            advice,
        });
    }
    Ok(checks)
}

async fn gate_checks(config: &Config) -> anyhow::Result<Vec<Check>> {
    let gate = super::parts::redis_gate(config).await?;
    let wanted = [
        (
            "appendonly",
            "yes",
            "turn it on: after a restart every gate has to be rebuilt without it",
        ),
        (
            "maxmemory-policy",
            "noeviction",
            "set it to noeviction: an evicted key opens or closes a gate",
        ),
    ];
    let mut checks = Vec::new();
    for (name, right, advice) in wanted {
        let value = gate.server_setting(name).await?.unwrap_or_default();
        let advice = (value != right).then_some(advice);
        checks.push(Check {
            setting: format!("redis {name}"),
            value,
            advice,
        });
    }
    Ok(checks)
}

async fn broker_checks(config: &Config) -> anyhow::Result<Vec<Check>> {
    let kafka = super::parts::kafka(config).await?;
    let mut checks = Vec::new();
    for topic in super::parts::topics(config) {
        let durability = kafka.durability(&topic).await?;
        let lonely = durability.replication < 3;
        checks.push(Check {
            setting: format!("kafka {topic} replication factor"),
            value: durability.replication.to_string(),
            advice: lonely
                .then_some("use at least 3 replicas: one lost disk loses the topic with fewer"),
        });
        let weak = durability.min_insync_replicas < 2;
        checks.push(Check {
            setting: format!("kafka {topic} min.insync.replicas"),
            value: durability.min_insync_replicas.to_string(),
            advice: weak
                .then_some("set it to 2: with 1, an acknowledged record may be on one disk only"),
        });
    }
    Ok(checks)
}
