//! What a setting of a real part means for what is kept: values in, findings out. Pure: it asks nobody;
//! who asks the parts is `command::doctor`.

mod clocks;
mod kafka;
mod mysql;
mod redis;

use std::collections::BTreeMap;

use serde::Serialize;

pub use self::clocks::{Reading, clocks};
pub use self::kafka::{Creation, Topic, missing_topic, topic};
pub use self::mysql::{NAMES as MYSQL_NAMES, SESSION_NAMES as MYSQL_SESSION_NAMES, mysql};
pub use self::redis::{NAMES as REDIS_NAMES, redis};

/// Settings of a part by name, as the part tells them.
pub type Settings = BTreeMap<String, String>;

/// How a setting is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Nothing is lost by it, but something is worse than it need be.
    Warn,
    /// Loses what was answered yes, or keeps it from arriving.
    Bad,
}

/// What was found out about one setting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// `mysql`, `redis`, `kafka`, `clock` or `payment`.
    pub part: &'static str,
    /// Its name where it is set.
    pub setting: String,
    /// What the part said.
    pub value: String,
    /// The judgement.
    pub level: Level,
    /// What to change, and why; none where nothing need be.
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

    /// Whether a part is talked to in a way that nobody between can read; `with` says what hides it.
    #[must_use]
    pub fn encryption(part: &'static str, with: Option<&str>, place: &str) -> Self {
        let is_local = ["127.0.0.1", "localhost", "[::1]"];
        let is_local = is_local.iter().any(|local| place.contains(local));
        let advice = "nobody between should read or change it: docs/tls.md says how to encrypt it";
        let verdict = if with.is_some() || is_local {
            Verdict::Good
        } else {
            Verdict::Warn(advice)
        };
        finding(part, "encryption", with.unwrap_or("none"), verdict)
    }

    /// The simulated payment provider sells where the service is not just being tried.
    #[must_use]
    pub fn simulated_payments() -> Self {
        let advice = "unset payment.allow_simulated: whoever confirms a reservation pays nothing";
        finding("payment", "provider", "simulated", Verdict::Bad(advice))
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

/// A judgement, with what to do and why.
#[derive(Clone, Copy)]
enum Verdict {
    Good,
    Warn(&'static str),
    Bad(&'static str),
}

fn finding(part: &'static str, setting: &str, value: &str, verdict: Verdict) -> Finding {
    let (level, advice) = match verdict {
        Verdict::Good => (Level::Ok, None),
        Verdict::Warn(advice) => (Level::Warn, Some(advice)),
        Verdict::Bad(advice) => (Level::Bad, Some(advice)),
    };
    Finding {
        part,
        setting: setting.to_owned(),
        value: value.to_owned(),
        level,
        advice: advice.map(str::to_owned),
    }
}

/// Judges one setting; one that the part does not tell is said to be unknown.
fn judged(
    part: &'static str,
    settings: &Settings,
    name: &str,
    judge: impl FnOnce(&str) -> Verdict,
) -> Finding {
    match settings.get(name) {
        Some(value) => finding(part, name, value, judge(value)),
        None => finding(
            part,
            name,
            "unknown",
            Verdict::Warn("it cannot be asked for here: look it up where it is set"),
        ),
    }
}

/// The first number of a version, and the second.
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

/// The level of each setting that is not as it should be.
#[cfg(test)]
fn complaints(findings: &[Finding]) -> Vec<(&str, Level)> {
    let wrong = findings.iter().filter(|found| found.level != Level::Ok);
    wrong
        .map(|found| (found.setting.as_str(), found.level))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::Verdict::{Bad, Good};
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
        let gone = Finding::unreachable("kafka", "cannot reach it".to_owned());
        assert_eq!(gone.level, Level::Bad);
        assert!(gone.line().ends_with("-> cannot reach it"));
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
