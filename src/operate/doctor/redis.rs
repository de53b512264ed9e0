//! Redis: settings that lose the state of gates. The store is authoritative, so a lost state costs a rebuild of
//! every campaign. A partly lost state is worse than a completely lost one.

use super::SettingJudgement::{Bad, Good, Warn};
use super::{Finding, SettingJudgement, Settings, finding, good_if, judged, version};

/// Judges Redis's settings, and `redis_version` among them.
#[must_use]
pub fn redis(settings: &Settings) -> Vec<Finding> {
    let appends = settings
        .get("appendonly")
        .is_none_or(|value| value == "yes");
    let saves = settings.get("save").is_some_and(|value| !value.is_empty());
    let judge =
        |name: &str, rule: &dyn Fn(&str) -> SettingJudgement| judged("redis", settings, name, rule);
    let mut findings = vec![
        judge("redis_version", &|value| {
            let advice =
                "use 7 or newer: older versions run scripts again on replicas, with another clock";
            good_if(version(value) >= (7, 0), Bad(advice))
        }),
        judge("maxmemory-policy", &|value| {
            let advice = "set it to noeviction: an evicted key opens or closes a gate";
            good_if(value == "noeviction", Bad(advice))
        }),
        judge("appendonly", &|_| persistence(appends, saves)),
        judge("maxmemory", &|value| {
            let advice = "set it below the machine's memory: without it the server can be killed, and every gate is rebuilt";
            good_if(value != "0", Warn(advice))
        }),
    ];
    findings.extend(memory(settings));
    if appends {
        findings.push(judge("appendfsync", &|value| {
            let advice = "set it to everysec: a crash can lose half a minute of admissions";
            good_if(value != "no", Warn(advice))
        }));
    } else if !saves && let Some(value) = settings.get("save") {
        let advice = "set appendonly to yes: neither a log nor snapshots are written";
        findings.push(finding("redis", "save", value, Bad(advice)));
    }
    findings
}

/// The finding about a user who may not run `INFO`.
#[must_use]
pub fn redis_without_info() -> Finding {
    let advice =
        "grant it to the user: each script asks the server for its run, so nobody is admitted";
    finding("redis", "INFO", "refused", Bad(advice))
}

/// The settings that are judged, except the version and the memory.
pub const NAMES: [&str; 5] = [
    "maxmemory-policy",
    "appendonly",
    "appendfsync",
    "save",
    "maxmemory",
];

/// The used memory in percent of the limit: `used_memory_percent`.
fn memory(settings: &Settings) -> Option<Finding> {
    let percent: u64 = settings.get("used_memory_percent")?.parse().ok()?;
    let verdict = match percent {
        0..80 => Good,
        80..95 => Warn("raise maxmemory, or close finished campaigns"),
        _ => Bad("raise maxmemory: a full gate admits nothing"),
    };
    let value = format!("{percent} %");
    Some(finding("redis", "used_memory", &value, verdict))
}

fn persistence(appends: bool, saves: bool) -> SettingJudgement {
    if appends {
        Good
    } else if saves {
        Warn("turn it on: after a restart the snapshot is outdated, and every gate is rebuilt")
    } else {
        Bad("turn it on: nothing is stored, and after a restart every gate is rebuilt")
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Level, complaints};
    use super::redis;

    const CORRECT: [(&str, &str); 7] = [
        ("maxmemory", "4294967296"),
        ("used_memory_percent", "12"),
        ("redis_version", "8.0.2"),
        ("maxmemory-policy", "noeviction"),
        ("appendonly", "yes"),
        ("appendfsync", "everysec"),
        ("save", ""),
    ];

    fn with(changed: &[(&str, &str)]) -> Vec<(String, Level)> {
        complaints(redis(&super::super::changed(&CORRECT, changed)))
    }

    #[test]
    fn a_correct_server_has_no_findings() {
        assert_eq!(with(&[]), []);
        assert_eq!(with(&[("redis_version", "7.0.0")]), []);
        assert_eq!(with(&[("appendfsync", "always")]), []);
        assert_eq!(with(&[("save", "3600 1 300 100")]), []);
    }

    #[test]
    fn settings_that_make_redis_lose_data_are_named() {
        for (changed, expected) in [
            (("redis_version", "6.2.14"), Level::Bad),
            (("maxmemory-policy", "allkeys-lru"), Level::Bad),
            (("maxmemory-policy", "volatile-ttl"), Level::Bad),
            (("appendfsync", "no"), Level::Warn),
            (("maxmemory", "0"), Level::Warn),
        ] {
            assert_eq!(with(&[changed]), [(changed.0.to_owned(), expected)]);
        }
    }

    #[test]
    fn a_nearly_full_server_is_reported() {
        for (percent, expected) in [
            ("79", None),
            ("80", Some(Level::Warn)),
            ("94", Some(Level::Warn)),
            ("95", Some(Level::Bad)),
            ("104", Some(Level::Bad)),
        ] {
            let found = with(&[("used_memory_percent", percent)]);
            let wanted: Vec<_> = expected
                .map(|level| ("used_memory".to_owned(), level))
                .into_iter()
                .collect();
            assert_eq!(found, wanted, "{percent}");
        }
    }

    #[test]
    fn without_the_append_only_file_snapshots_are_a_warning() {
        let snapshots = with(&[("appendonly", "no"), ("save", "3600 1")]);
        assert_eq!(snapshots, [("appendonly".to_owned(), Level::Warn)]);
        let nothing = with(&[("appendonly", "no")]);
        let both = ["appendonly", "save"].map(|name| (name.to_owned(), Level::Bad));
        assert_eq!(nothing, both);
    }

    #[test]
    fn a_server_that_hides_its_settings_is_not_reported_as_bad() {
        let hidden = super::super::settings(&[("redis_version", "8.0.2")]);
        let expected = complaints(redis(&hidden));
        assert!(
            expected.iter().all(|(_, level)| *level == Level::Warn),
            "{expected:?}"
        );
        assert_eq!(expected.len(), 4);
    }
}
