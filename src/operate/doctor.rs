//! Finds settings of the real parts that can lose data. Pure: `command::doctor` reads the settings.

mod clocks;
mod kafka;
mod mysql;
mod redis;
mod replication;

use std::collections::BTreeMap;

use serde::Serialize;

pub use self::clocks::{ClockReading, clocks};
pub use self::kafka::{Creation, Topic, hidden_topic, missing_topic, topic, unusable_topic};
pub use self::mysql::{mysql, mysql_names};
pub use self::redis::{NAMES as REDIS_NAMES, redis, redis_without_info};
pub use self::replication::{STATUS, replication, replication_names};

/// Settings of a part by name, as the part reports them.
pub type Settings = BTreeMap<String, String>;

/// How a setting is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Correct.
    Ok,
    /// Loses nothing, but costs speed, availability or safety.
    Warn,
    /// Loses accepted participations, or prevents their publication.
    Bad,
}

/// The judgement of one setting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// `mysql`, `redis`, `kafka`, `clock` or `payment`.
    pub part: &'static str,
    /// Its name in the configuration of the part.
    pub setting: String,
    /// Its value.
    pub value: String,
    /// The judgement.
    pub level: Level,
    /// What to change, and why; none: nothing.
    pub advice: Option<String>,
}

impl Finding {
    /// One part cannot be examined; `problem` says why and what to try.
    #[must_use]
    pub fn unreachable(part: &'static str, problem: String) -> Self {
        Self {
            part,
            setting: "reachable".to_owned(),
            value: "no".to_owned(),
            level: Level::Bad,
            advice: Some(problem),
        }
    }

    /// Whether the connection to a part is encrypted; `with` names the encryption.
    #[must_use]
    pub fn encryption(part: &'static str, with: Option<&str>, place: &str) -> Self {
        let is_local = ["127.0.0.1", "localhost", "[::1]"];
        let is_local = is_local.iter().any(|local| place.contains(local));
        let advice = "encrypt the connection: docs/tls.md explains how";
        let verdict = good_if(with.is_some() || is_local, SettingJudgement::Warn(advice));
        finding(part, "encryption", with.unwrap_or("none"), verdict)
    }

    /// The simulated payment provider is enabled outside of a trial installation.
    #[must_use]
    pub fn simulated_payments() -> Self {
        let advice = "unset payment.allow_simulated: users confirm reservations without paying";
        finding(
            "payment",
            "provider",
            "simulated",
            SettingJudgement::Bad(advice),
        )
    }

    /// One line for people.
    #[must_use]
    pub fn line(&self) -> String {
        let mark = match self.level {
            Level::Ok => "ok ",
            Level::Warn => "warn",
            Level::Bad => "BAD",
        };
        let advice = self.advice.as_ref();
        let advice = advice.map(|advice| format!("  -> {advice}"));
        format!(
            "{mark:<4} {} {} = {}{}",
            self.part,
            self.setting,
            self.value,
            advice.unwrap_or_default()
        )
    }
}

/// A judgement, with the change to make and the reason.
#[derive(Clone, Copy)]
enum SettingJudgement {
    Good,
    Warn(&'static str),
    Bad(&'static str),
}

fn finding(part: &'static str, setting: &str, value: &str, verdict: SettingJudgement) -> Finding {
    let (level, advice) = match verdict {
        SettingJudgement::Good => (Level::Ok, None),
        SettingJudgement::Warn(advice) => (Level::Warn, Some(advice)),
        SettingJudgement::Bad(advice) => (Level::Bad, Some(advice)),
    };
    Finding {
        part,
        setting: setting.to_owned(),
        value: value.to_owned(),
        level,
        advice: advice.map(str::to_owned),
    }
}

/// `Good` if the condition holds; otherwise the other verdict.
const fn good_if(is_good: bool, otherwise: SettingJudgement) -> SettingJudgement {
    if is_good {
        SettingJudgement::Good
    } else {
        otherwise
    }
}

/// Judges one setting. If the part does not report it, its value is unknown.
fn judged(
    part: &'static str,
    settings: &Settings,
    name: &str,
    judge: impl FnOnce(&str) -> SettingJudgement,
) -> Finding {
    match settings.get(name) {
        Some(value) => finding(part, name, value, judge(value)),
        None => finding(
            part,
            name,
            "unknown",
            SettingJudgement::Warn("the part does not report it: check it in its configuration"),
        ),
    }
}

/// The first two numbers of a version.
fn version(text: &str) -> (u32, u32) {
    let mut numbers = text
        .split(|letter: char| !letter.is_ascii_digit())
        .map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[cfg(test)]
fn settings(pairs: &[(&str, &str)]) -> Settings {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

/// The name and the level of each setting that is not correct.
#[cfg(test)]
fn complaints(findings: Vec<Finding>) -> Vec<(String, Level)> {
    let wrong = findings
        .into_iter()
        .filter(|found| found.level != Level::Ok);
    wrong.map(|found| (found.setting, found.level)).collect()
}

/// Correct settings with some changed.
#[cfg(test)]
fn changed(correct: &[(&str, &str)], changed: &[(&str, &str)]) -> Settings {
    settings(&[correct, changed].concat())
}

#[cfg(test)]
mod tests {
    use super::SettingJudgement::{Bad, Good};
    use super::{Finding, Level, Settings, finding, judged, version};

    #[test]
    fn versions_are_parsed_with_any_suffix() {
        assert_eq!(version("8.4.3"), (8, 4));
        assert_eq!(version("9.1.0-1ubuntu"), (9, 1));
        assert_eq!(version("7"), (7, 0));
        assert_eq!(version("odd"), (0, 0));
    }

    #[test]
    fn a_finding_names_the_setting_and_the_change_to_make() {
        let line = finding("redis", "save", "", Bad("set it: because")).line();
        assert_eq!(line, "BAD  redis save =   -> set it: because");
        assert_eq!(finding("mysql", "a", "1", Good).line(), "ok   mysql a = 1");
        let unreachable = Finding::unreachable("kafka", "cannot reach it".to_owned());
        assert_eq!(unreachable.level, Level::Bad);
        assert!(unreachable.line().ends_with("-> cannot reach it"));
    }

    #[test]
    fn plaintext_is_accepted_only_on_one_machine() {
        let level =
            |with: Option<&str>, place: &str| Finding::encryption("mysql", with, place).level;
        assert_eq!(level(None, "mysql://localhost:3306/db"), Level::Ok);
        assert_eq!(level(None, "127.0.0.1:9092"), Level::Ok);
        assert_eq!(level(None, "mysql://db.example/db"), Level::Warn);
        assert_eq!(level(Some("a cipher"), "mysql://db.example/db"), Level::Ok);
    }

    #[test]
    fn figures_a_part_does_not_report_are_unknown_not_good() {
        let found = judged("redis", &Settings::new(), "save", |_| Good);
        assert_eq!(
            (found.value.as_str(), found.level),
            ("unknown", Level::Warn)
        );
    }
}
