//! Kafka: the durability of acknowledged records, and their retention.

use super::SettingJudgement::{Bad, Good, Warn};
use super::{Finding, Level, SettingJudgement, Settings, finding, good_if, judged};

/// Upper bound of the size of an event with its headers.
const EVENT_BYTES_MAX: u64 = 4_096;
/// Upper bound of the time that a consumer needs to restart.
const RETENTION_MS_MIN: i64 = 60 * 60 * 1_000;

/// A topic as the brokers report it.
#[derive(Clone, Debug)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// Copies of each record.
    pub replication: usize,
    /// Its settings, including the brokers' defaults; or why the brokers do not show them.
    pub settings: Result<Settings, String>,
}

/// Who creates a missing topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Creation {
    /// The service, at its next start.
    AtStart,
    /// An operator.
    Elsewhere,
}

/// The finding about a missing topic.
#[must_use]
pub fn missing_topic(name: &str, creation: Creation) -> Finding {
    let verdict = match creation {
        Creation::AtStart => Warn("it is created at the next start (kafka.create_topics)"),
        Creation::Elsewhere => Bad("create it, or set FIRSTCOME_KAFKA_CREATE_TOPICS=true"),
    };
    finding("kafka", name, "missing", verdict)
}

/// The finding about a topic that the user may not describe: it may exist or not.
#[must_use]
pub fn hidden_topic(name: &str) -> Finding {
    let advice = "grant the user Describe on the topic (Read and Write include it): without it the service does not start";
    finding("kafka", name, "not allowed", Bad(advice))
}

/// The finding about a topic that cannot be used for another reason.
#[must_use]
pub fn unusable_topic(name: &str, reason: String) -> Finding {
    Finding {
        part: "kafka",
        setting: name.to_owned(),
        value: "unusable".to_owned(),
        level: Level::Bad,
        advice: Some(reason),
    }
}

/// Judges a topic; `batch_bytes_max` is the largest batch of the producer.
#[must_use]
pub fn topic(topic: &Topic, batch_bytes_max: u32) -> Vec<Finding> {
    let copies = topic.replication;
    let few = Bad("use at least 3 replicas: with fewer, one lost disk can lose the topic");
    let few = good_if(copies >= 3, few);
    let replication = finding("kafka", "replication factor", &copies.to_string(), few);
    let mut findings = vec![replication];
    match &topic.settings {
        Ok(settings) => findings.extend(judged_settings(settings, copies, batch_bytes_max)),
        Err(reason) => findings.push(hidden_settings(reason)),
    }
    for found in &mut findings {
        found.setting = format!("{} {}", topic.name, found.setting);
    }
    findings
}

fn judged_settings(settings: &Settings, copies: usize, batch_bytes_max: u32) -> [Finding; 5] {
    let judge =
        |name: &str, rule: &dyn Fn(&str) -> SettingJudgement| judged("kafka", settings, name, rule);
    [
        judge("min.insync.replicas", &|value| in_sync(value, copies)),
        judge("unclean.leader.election.enable", &|value| {
            let advice = "set it to false: an outdated replica may become leader, and its missing records are lost";
            good_if(value != "true", Bad(advice))
        }),
        judge("cleanup.policy", &|value| {
            let advice = "set it to delete: compaction keeps only the last event of each key";
            good_if(
                value.split(',').all(|policy| policy.trim() != "compact"),
                Bad(advice),
            )
        }),
        judge("retention.ms", &retention),
        judge("max.message.bytes", &|value| size(value, batch_bytes_max)),
    ]
}

/// The finding about settings that the brokers do not show.
fn hidden_settings(reason: &str) -> Finding {
    let advice = format!(
        "the brokers do not show them ({reason}): grant the user DescribeConfigs on the topic, or check them there"
    );
    Finding {
        part: "kafka",
        setting: "settings".to_owned(),
        value: "unknown".to_owned(),
        level: Level::Warn,
        advice: Some(advice),
    }
}

fn in_sync(value: &str, copies: usize) -> SettingJudgement {
    let wanted: usize = value.parse().unwrap_or(1);
    if wanted < 2 {
        Bad("set it to 2: with 1, an acknowledged record may be on one disk only")
    } else if wanted > copies {
        Bad("lower it, or add replicas: no record can be acknowledged")
    } else if wanted == copies {
        Warn("add a replica: without one broker no record is acknowledged, and events wait")
    } else {
        Good
    }
}

/// -1 means unlimited.
fn retention(value: &str) -> SettingJudgement {
    let retention_ms: Option<i64> = value.parse().ok();
    let is_short = retention_ms.is_some_and(|ms| (0..RETENTION_MS_MIN).contains(&ms));
    let advice = "keep records for days: a consumer that stops for longer loses them";
    good_if(!is_short, Bad(advice))
}

fn size(value: &str, batch_bytes_max: u32) -> SettingJudgement {
    let bytes: u64 = value.parse().unwrap_or(0);
    if bytes < EVENT_BYTES_MAX {
        Bad("raise it: an event is larger, and becomes a dead letter")
    } else if bytes < u64::from(batch_bytes_max) {
        Warn("raise it to 1000000 or more: larger batches are refused, and sent again one by one")
    } else {
        Good
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Level, complaints};
    use super::{Creation, Topic, hidden_topic, missing_topic, topic, unusable_topic};

    const CORRECT: [(&str, &str); 5] = [
        ("min.insync.replicas", "2"),
        ("unclean.leader.election.enable", "false"),
        ("cleanup.policy", "delete"),
        ("retention.ms", "604800000"),
        ("max.message.bytes", "1048588"),
    ];

    fn with(replication: usize, changed: &[(&str, &str)]) -> Vec<(String, Level)> {
        let examined = Topic {
            name: "t".to_owned(),
            replication,
            settings: Ok(super::super::changed(&CORRECT, changed)),
        };
        complaints(topic(&examined, 1_000_000))
    }

    #[test]
    fn a_correct_topic_has_no_findings() {
        assert_eq!(with(3, &[]), []);
        assert_eq!(with(5, &[("min.insync.replicas", "3")]), []);
        assert_eq!(with(3, &[("retention.ms", "-1")]), []);
        assert_eq!(with(3, &[("retention.ms", "3600000")]), []);
        assert_eq!(with(3, &[("max.message.bytes", "1000000")]), []);
    }

    #[test]
    fn settings_that_lose_records_are_bad() {
        for (name, value) in [
            ("min.insync.replicas", "1"),
            ("min.insync.replicas", "4"),
            ("unclean.leader.election.enable", "true"),
            ("cleanup.policy", "compact"),
            ("cleanup.policy", "compact,delete"),
            ("retention.ms", "3599999"),
            ("retention.ms", "0"),
            ("max.message.bytes", "1000"),
        ] {
            let expected = [(format!("t {name}"), Level::Bad)];
            assert_eq!(with(3, &[(name, value)]), expected, "{value}");
        }
        assert_eq!(
            with(1, &[("min.insync.replicas", "1")]),
            [
                ("t replication factor".to_owned(), Level::Bad),
                ("t min.insync.replicas".to_owned(), Level::Bad)
            ]
        );
    }

    #[test]
    fn settings_that_only_cost_speed_are_warnings() {
        for (name, value) in [
            ("min.insync.replicas", "3"),
            ("max.message.bytes", "100000"),
        ] {
            let expected = [(format!("t {name}"), Level::Warn)];
            assert_eq!(with(3, &[(name, value)]), expected, "{value}");
        }
    }

    #[test]
    fn a_missing_topic_is_bad_unless_it_will_be_created() {
        assert_eq!(missing_topic("t", Creation::Elsewhere).level, Level::Bad);
        assert_eq!(missing_topic("t", Creation::AtStart).level, Level::Warn);
    }

    #[test]
    fn a_topic_that_may_not_be_described_needs_a_permission() {
        let hidden = hidden_topic("t");
        assert_eq!(hidden.level, Level::Bad);
        assert!(hidden.line().contains("grant the user Describe"));
        let unusable = unusable_topic("t", "t: it has no leader".to_owned());
        assert_eq!(unusable.level, Level::Bad);
        assert!(unusable.line().ends_with("-> t: it has no leader"));
    }

    #[test]
    fn settings_that_are_not_shown_are_one_warning_with_the_reason() {
        let examined = Topic {
            name: "t".to_owned(),
            replication: 3,
            settings: Err("t: not authorized".to_owned()),
        };
        let found = topic(&examined, 1_000_000);
        let lines: Vec<String> = found.iter().map(super::super::Finding::line).collect();
        let [replication, settings] = &lines[..] else {
            panic!("{lines:?}");
        };
        assert_eq!(replication, "ok   kafka t replication factor = 3");
        assert!(settings.starts_with("warn kafka t settings = unknown"));
        assert!(settings.contains("t: not authorized") && settings.contains("DescribeConfigs"));
    }
}
