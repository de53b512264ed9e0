//! Kafka: what an acknowledgement of a topic is worth, and how long its records stay.

use super::Verdict::{Bad, Good, Warn};
use super::{Finding, Settings, Verdict, finding, judged};

/// An event with its headers stays below this: ids, a time and a trace, in JSON.
const EVENT_BYTES_MAX: u64 = 4_096;
/// A consumer that is restarted is back within this.
const RETENTION_MS_MIN: i64 = 60 * 60 * 1_000;

/// A topic as the brokers tell of it.
#[derive(Clone, Debug, Default)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// Copies of each record.
    pub replication: usize,
    /// Its settings, the brokers' defaults included.
    pub settings: Settings,
}

/// What a missing topic comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Creation {
    /// It is made at the next start.
    AtStart,
    /// Somebody else has to.
    Elsewhere,
}

/// What is said of a topic that is not there.
#[must_use]
pub fn missing_topic(name: &str, creation: Creation) -> Finding {
    let verdict = match creation {
        Creation::AtStart => Warn("it is created at the next start (kafka.create_topics)"),
        Creation::Elsewhere => Bad("create it, or set FIRSTCOME_KAFKA_CREATE_TOPICS=true"),
    };
    finding("kafka", name, "missing", verdict)
}

/// Judges a topic; `batch_bytes_max` is how large a batch the producer may send.
#[must_use]
pub fn topic(topic: &Topic, batch_bytes_max: u32) -> Vec<Finding> {
    let copies = topic.replication;
    let few = if copies < 3 {
        Bad("use at least 3 replicas: one lost disk loses the topic with fewer")
    } else {
        Good
    };
    let replication = finding("kafka", "replication factor", &copies.to_string(), few);
    let mut findings = vec![replication];
    let mut judge = |name: &str, rule: &dyn Fn(&str) -> Verdict| {
        findings.push(judged("kafka", &topic.settings, name, rule));
    };
    judge("min.insync.replicas", &|value| in_sync(value, copies));
    judge("unclean.leader.election.enable", &|value| {
        if value == "true" {
            Bad("set it to false: a replica that is behind may lead, and what it lacks is lost")
        } else {
            Good
        }
    });
    judge("cleanup.policy", &|value| {
        if value.split(',').any(|policy| policy.trim() == "compact") {
            Bad("set it to delete: of events with the same key, compaction keeps the last alone")
        } else {
            Good
        }
    });
    judge("retention.ms", &retention);
    judge("max.message.bytes", &|value| size(value, batch_bytes_max));
    for found in &mut findings {
        found.setting = format!("{} {}", topic.name, found.setting);
    }
    findings
}

fn in_sync(value: &str, copies: usize) -> Verdict {
    let wanted: usize = value.parse().unwrap_or(1);
    if wanted < 2 {
        Bad("set it to 2: with 1, an acknowledged record may be on one disk only")
    } else if wanted > copies {
        Bad("lower it, or add replicas: as it is, no record is ever acknowledged")
    } else if wanted == copies {
        Warn("add a replica: with one broker away nothing is acknowledged, and events wait")
    } else {
        Good
    }
}

/// -1 is for ever.
fn retention(value: &str) -> Verdict {
    let kept: Option<i64> = value.parse().ok();
    if kept.is_some_and(|kept| (0..RETENTION_MS_MIN).contains(&kept)) {
        Bad("keep records for days: a consumer that is away for longer never sees them")
    } else {
        Good
    }
}

fn size(value: &str, batch_bytes_max: u32) -> Verdict {
    let bytes: u64 = value.parse().unwrap_or(0);
    if bytes < EVENT_BYTES_MAX {
        Bad("raise it: an event does not fit, and ends as a dead letter")
    } else if bytes < u64::from(batch_bytes_max) {
        Warn("raise it to 1000000 or more: larger batches are refused, and sent again one by one")
    } else {
        Good
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Level, complaints, settings};
    use super::{Creation, Topic, missing_topic, topic};

    const SOUND: [(&str, &str); 5] = [
        ("min.insync.replicas", "2"),
        ("unclean.leader.election.enable", "false"),
        ("cleanup.policy", "delete"),
        ("retention.ms", "604800000"),
        ("max.message.bytes", "1048588"),
    ];

    fn with(replication: usize, changed: &[(&str, &str)]) -> Vec<(String, Level)> {
        let mut asked = settings(&SOUND);
        asked.extend(settings(changed));
        let examined = Topic {
            name: "t".to_owned(),
            replication,
            settings: asked,
        };
        let found = topic(&examined, 1_000_000);
        let complaints = complaints(&found).into_iter();
        complaints
            .map(|(name, level)| (name.to_owned(), level))
            .collect()
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
            let said = [(format!("t {name}"), Level::Bad)];
            assert_eq!(with(3, &[(name, value)]), said, "{value}");
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
            let said = [(format!("t {name}"), Level::Warn)];
            assert_eq!(with(3, &[(name, value)]), said, "{value}");
        }
    }

    #[test]
    fn a_missing_topic_is_bad_unless_it_will_be_created() {
        assert_eq!(missing_topic("t", Creation::Elsewhere).level, Level::Bad);
        assert_eq!(missing_topic("t", Creation::AtStart).level, Level::Warn);
    }
}
