//! `doctor`: reads the settings of the real parts that can silently lose data, and reports what to change.
//! `operate::doctor` judges them. An unreachable part is a finding, and the others are still examined.

use std::process::ExitCode;

use secrecy::ExposeSecret;
use serde_json::json;

use super::verify::Form;
use crate::config::{Config, Provider};
use crate::operate::doctor::{self, ClockReading, Creation, Finding, Level, Settings, Topic};
use crate::parts::broker::PublishError;
use crate::parts::broker::kafka::{Kafka, TopicError};
use crate::runtime::clock::Clock;

/// Examines the configured parts. The exit code is non-zero if something must be changed.
pub async fn run(config: &Config, form: Form) -> anyhow::Result<ExitCode> {
    let mut findings = Vec::new();
    let mut readings = Vec::new();
    if config.database.url.is_some() {
        let examined = mysql(config, &mut readings).await;
        findings.extend(or_unreachable("mysql", examined));
    }
    if config.redis.url.is_some() {
        let examined = redis(config, &mut readings).await;
        findings.extend(or_unreachable("redis", examined));
    }
    if config.kafka.brokers.is_some() {
        let examined = kafka(config).await;
        findings.extend(or_unreachable("kafka", examined));
    }
    findings.extend(doctor::clocks(&readings));
    findings.extend(payments(config));
    let sound = findings.iter().all(|found| found.level != Level::Bad);
    let embedded = config.embedded_parts();
    match form {
        Form::Json => {
            let report = json!({ "sound": sound, "embedded": embedded, "findings": findings });
            super::print(&serde_json::to_string_pretty(&report)?)?;
        }
        Form::Table => {
            for part in embedded {
                super::print(&format!("--   {part} is embedded: for trials only"))?;
            }
            for found in &findings {
                super::print(&found.line())?;
            }
        }
    }
    Ok(if sound {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Simulated payments are accepted with all parts embedded, on a loopback address.
fn payments(config: &Config) -> Option<Finding> {
    let is_tried = config.embedded_parts().len() == 3 && config.http.listen.ip().is_loopback();
    let simulates = match config.payment.provider {
        Provider::Simulated => config.sells_for_money(),
    };
    (simulates && !is_tried).then(Finding::simulated_payments)
}

fn or_unreachable(part: &'static str, examined: anyhow::Result<Vec<Finding>>) -> Vec<Finding> {
    examined.unwrap_or_else(|error| vec![Finding::unreachable(part, format!("{error:#}"))])
}

async fn mysql(config: &Config, readings: &mut Vec<ClockReading>) -> anyhow::Result<Vec<Finding>> {
    let store = super::parts::store(config, Clock::System).await?;
    let mut settings = Settings::new();
    for name in doctor::mysql_names() {
        let value = match name.strip_prefix("session.") {
            Some(name) => store.session_variable(name).await?,
            None => store.server_variable(&name).await?,
        };
        if let Some(value) = value {
            settings.insert(name, value);
        }
    }
    for name in doctor::replication_names() {
        let value = match name.strip_prefix(doctor::STATUS) {
            Some(name) => store.server_status(name).await?,
            None => store.server_variable(name).await?,
        };
        if let Some(value) = value {
            settings.insert(name.to_owned(), value);
        }
    }
    let asked = Clock::System.now();
    let time = store.time().await?;
    readings.push(ClockReading {
        part: "mysql",
        asked,
        time,
        answered: Clock::System.now(),
    });
    let url = config.database.url.as_ref();
    let place = url.map_or("", |url| url.expose_secret());
    let place = super::parts::without_credentials(place);
    let cipher = store.encryption().await?;
    let encryption = Finding::encryption("mysql", cipher.as_deref(), &place);
    store.close().await?;
    let mut findings = doctor::mysql(&settings, config.database.connections_max);
    findings.extend(doctor::replication(&settings));
    findings.push(encryption);
    Ok(findings)
}

async fn redis(config: &Config, readings: &mut Vec<ClockReading>) -> anyhow::Result<Vec<Finding>> {
    let gate = super::parts::redis_gate(config).await?;
    let asked = Clock::System.now();
    for time in gate.server_times().await? {
        readings.push(ClockReading {
            part: "redis",
            asked,
            time,
            answered: Clock::System.now(),
        });
    }
    // Hosted servers often refuse CONFIG: then the setting is unknown.
    let mut settings = Settings::new();
    let version = gate.server_version().await;
    let has_info = version.is_ok();
    if let Ok(Some(version)) = version {
        settings.insert("redis_version".to_owned(), version);
    }
    for name in doctor::REDIS_NAMES {
        if let Ok(Some(value)) = gate.server_setting(name).await {
            settings.insert(name.to_owned(), value);
        }
    }
    if let Ok(Some(memory)) = gate.server_memory().await {
        let percent = memory.used_percent().to_string();
        settings.insert("used_memory_percent".to_owned(), percent);
    }
    let url = config.redis.url.as_ref();
    let place = super::parts::without_credentials(url.map_or("", |url| url.expose_secret()));
    let with = config.redis.is_encrypted().then_some("TLS");
    let mut findings = doctor::redis(&settings);
    if !has_info {
        findings.push(doctor::redis_without_info());
    }
    findings.push(Finding::encryption("redis", with, &place));
    Ok(findings)
}

async fn kafka(config: &Config) -> anyhow::Result<Vec<Finding>> {
    let kafka = super::parts::kafka(config).await?;
    let creation = if config.kafka.create_topics {
        Creation::AtStart
    } else {
        Creation::Elsewhere
    };
    let place = config.kafka.brokers.as_deref().unwrap_or_default();
    let protocol = config.kafka.security_protocol;
    let with = protocol.is_encrypted().then_some("TLS");
    let mut findings = vec![Finding::encryption("kafka", with, place)];
    for name in super::parts::topics(config) {
        findings.extend(topic(&kafka, name, creation).await?);
    }
    Ok(findings)
}

async fn topic(kafka: &Kafka, name: String, creation: Creation) -> anyhow::Result<Vec<Finding>> {
    let durability = match kafka.durability(&name).await {
        Ok(durability) => durability,
        Err(error) => return Ok(vec![without_topic(&name, creation, error)?]),
    };
    let topic = Topic {
        name,
        replication: durability.replication,
        settings: durability.settings,
    };
    Ok(doctor::topic(&topic, kafka.batch_bytes_max()))
}

/// The finding about a topic that cannot be used. Fails if the brokers cannot be asked.
fn without_topic(
    name: &str,
    creation: Creation,
    error: TopicError,
) -> Result<Finding, PublishError> {
    match error {
        TopicError::Missing(_) => Ok(doctor::missing_topic(name, creation)),
        TopicError::NotAllowed(_) => Ok(doctor::hidden_topic(name)),
        TopicError::Other(PublishError::Destination(reason)) => {
            Ok(doctor::unusable_topic(name, reason))
        }
        TopicError::Other(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_topic_that_does_not_exist_is_called_missing() {
        let reason = || "t: a reason".to_owned();
        let value = |error| {
            let found = without_topic("t", Creation::AtStart, error);
            found.map(|found| found.value).ok()
        };
        let missing = value(TopicError::Missing(reason()));
        assert_eq!(missing.as_deref(), Some("missing"));
        let hidden = value(TopicError::NotAllowed(reason()));
        assert_eq!(hidden.as_deref(), Some("not allowed"));
        let unusable = value(TopicError::Other(PublishError::Destination(reason())));
        assert_eq!(unusable.as_deref(), Some("unusable"));
        let away = value(TopicError::Other(PublishError::Away(reason())));
        assert_eq!(away, None);
    }
}
