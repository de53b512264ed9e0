//! Redis: what makes the gate forget. It can be lost, because the store is the truth; forgetting it
//! costs a rebuild of every campaign, and forgetting a part of it is worse than all.

use super::Verdict::{Bad, Good, Warn};
use super::{Finding, Settings, Verdict, finding, judged, version};

/// Judges Redis's settings, and `redis_version` among them.
#[must_use]
pub fn redis(settings: &Settings) -> Vec<Finding> {
    let appends = settings
        .get("appendonly")
        .is_none_or(|value| value == "yes");
    let saves = settings.get("save").is_some_and(|value| !value.is_empty());
    let mut findings = vec![
        judged("redis", settings, "redis_version", |value| {
            if version(value) < (7, 0) {
                Bad(
                    "use 7 or newer: older ones repeat scripts on replicas, where the clock is another",
                )
            } else {
                Good
            }
        }),
        judged("redis", settings, "maxmemory-policy", |value| {
            if value == "noeviction" {
                Good
            } else {
                Bad("set it to noeviction: an evicted key opens a gate, or closes it")
            }
        }),
        judged("redis", settings, "appendonly", |_| kept(appends, saves)),
        judged("redis", settings, "maxmemory", |value| {
            if value == "0" {
                Warn(
                    "set it below the machine's memory: beyond that the server is killed, and every gate rebuilt",
                )
            } else {
                Good
            }
        }),
    ];
    findings.extend(memory(settings));
    if appends {
        findings.push(judged("redis", settings, "appendfsync", |value| {
            if value == "no" {
                Warn("set it to everysec: half a minute of admissions can be lost in a crash")
            } else {
                Good
            }
        }));
    }
    if !appends
        && !saves
        && let Some(value) = settings.get("save")
    {
        let advice = "set appendonly to yes: neither a log nor snapshots are kept";
        findings.push(finding("redis", "save", value, Bad(advice)));
    }
    findings
}

/// The settings that are judged, beside the version and the memory.
pub const NAMES: [&str; 5] = [
    "maxmemory-policy",
    "appendonly",
    "appendfsync",
    "save",
    "maxmemory",
];

/// How full the server is, in percent of what it may use: `used_memory_percent`.
fn memory(settings: &Settings) -> Option<Finding> {
    let percent: u64 = settings.get("used_memory_percent")?.parse().ok()?;
    let verdict = match percent {
        0..80 => Good,
        80..95 => Warn("raise maxmemory, or close finished campaigns"),
        _ => Bad("raise maxmemory: when it is full nothing is admitted by the gate"),
    };
    let value = format!("{percent} %");
    Some(finding("redis", "used_memory", &value, verdict))
}

fn kept(appends: bool, saves: bool) -> Verdict {
    if appends {
        Good
    } else if saves {
        Warn("turn it on: after a restart the last snapshot is old, and every gate is rebuilt")
    } else {
        Bad("turn it on: nothing is kept, and after a restart every gate has to be rebuilt")
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Level, complaints, settings};
    use super::redis;

    const SOUND: [(&str, &str); 7] = [
        ("maxmemory", "4294967296"),
        ("used_memory_percent", "12"),
        ("redis_version", "8.0.2"),
        ("maxmemory-policy", "noeviction"),
        ("appendonly", "yes"),
        ("appendfsync", "everysec"),
        ("save", ""),
    ];

    fn with(changed: &[(&str, &str)]) -> Vec<(String, Level)> {
        let mut asked = settings(&SOUND);
        asked.extend(settings(changed));
        let found = redis(&asked);
        let complaints = complaints(&found).into_iter();
        complaints
            .map(|(name, level)| (name.to_owned(), level))
            .collect()
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
        for (changed, said) in [
            (("redis_version", "6.2.14"), Level::Bad),
            (("maxmemory-policy", "allkeys-lru"), Level::Bad),
            (("maxmemory-policy", "volatile-ttl"), Level::Bad),
            (("appendfsync", "no"), Level::Warn),
            (("maxmemory", "0"), Level::Warn),
        ] {
            assert_eq!(with(&[changed]), [(changed.0.to_owned(), said)]);
        }
    }

    #[test]
    fn a_nearly_full_server_is_reported() {
        for (percent, said) in [
            ("79", None),
            ("80", Some(Level::Warn)),
            ("94", Some(Level::Warn)),
            ("95", Some(Level::Bad)),
            ("104", Some(Level::Bad)),
        ] {
            let found = with(&[("used_memory_percent", percent)]);
            let wanted: Vec<_> = said
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
        let found = redis(&settings(&[("redis_version", "8.0.2")]));
        let said = complaints(&found);
        assert!(
            said.iter().all(|(_, level)| *level == Level::Warn),
            "{said:?}"
        );
        assert_eq!(said.len(), 4);
    }
}
