//! MySQL's replication: whether a failover keeps every commit that was answered. Without the plugins of
//! semi-synchronous and group replication there is nothing to judge: a server does not tell what its replicas are for.

use super::SettingJudgement::{Bad, Good, Warn};
use super::{Finding, SettingJudgement, Settings, good_if, judged};

/// The prefix of a status variable, which is not a setting.
pub const STATUS: &str = "status.";

const ENABLED: &str = "rpl_semi_sync_source_enabled";
const GROUP: &str = "group_replication_group_name";

/// Shortest fallback that does not happen by itself, in milliseconds: an hour.
const FALLBACK_MS_MIN: u64 = 3_600_000;

type Rule = fn(&str) -> SettingJudgement;

/// The variables of semi-synchronous replication, if it is on.
const SEMI_SYNCHRONOUS: [(&str, Rule); 4] = [
    ("rpl_semi_sync_source_wait_point", wait_point),
    ("rpl_semi_sync_source_timeout", timeout),
    ("rpl_semi_sync_source_wait_no_replica", wait_no_replica),
    ("status.Rpl_semi_sync_source_status", status),
];

/// The variables of group replication, if the server belongs to a group.
const OF_GROUP: [(&str, Rule); 2] = [
    ("group_replication_consistency", consistency),
    ("group_replication_single_primary_mode", single_primary),
];

/// The variables that are judged; status variables with [`STATUS`] before their names.
pub fn replication_names() -> impl Iterator<Item = &'static str> {
    let rules = SEMI_SYNCHRONOUS.iter().chain(&OF_GROUP);
    [ENABLED, GROUP]
        .into_iter()
        .chain(rules.map(|(name, _)| *name))
}

/// Judges the replication of a primary.
#[must_use]
pub fn replication(settings: &Settings) -> Vec<Finding> {
    let judge = |(name, rule): &(&str, Rule)| judged("mysql", settings, name, rule);
    let mut findings = Vec::new();
    if let Some(enabled) = settings.get(ENABLED) {
        findings.push(judge(&(ENABLED, semi_synchronous)));
        if is_on(enabled) {
            findings.extend(SEMI_SYNCHRONOUS.iter().map(judge));
        }
    }
    if settings.get(GROUP).is_some_and(|name| !name.is_empty()) {
        findings.extend(OF_GROUP.iter().map(judge));
    }
    findings
}

fn is_on(value: &str) -> bool {
    value.eq_ignore_ascii_case("ON") || value == "1"
}

fn semi_synchronous(value: &str) -> SettingJudgement {
    let advice = "turn it on as soon as a replica is connected: with asynchronous replication a failover loses \
                  accepted participations";
    good_if(is_on(value), Warn(advice))
}

fn wait_point(value: &str) -> SettingJudgement {
    let advice =
        "set it to AFTER_SYNC: otherwise others see, and publish, commits that a failover loses";
    good_if(value.eq_ignore_ascii_case("AFTER_SYNC"), Bad(advice))
}

fn timeout(value: &str) -> SettingJudgement {
    let advice = "raise it to the maximum, 4294967295: after this time commits are answered without a replica, and \
                  a failover loses them";
    let is_long = value.parse().is_ok_and(|ms: u64| ms >= FALLBACK_MS_MIN);
    good_if(is_long, Bad(advice))
}

fn wait_no_replica(value: &str) -> SettingJudgement {
    let advice =
        "turn it on: without it commits are answered as soon as the last replica disconnects";
    good_if(is_on(value), Bad(advice))
}

/// `OFF` although it is enabled: it has fallen back.
fn status(value: &str) -> SettingJudgement {
    let advice =
        "connect a replica with rpl_semi_sync_replica_enabled: commits are answered without one";
    good_if(is_on(value), Bad(advice))
}

fn consistency(value: &str) -> SettingJudgement {
    let advice = "set it to BEFORE_ON_PRIMARY_FAILOVER: a new primary otherwise answers before it has applied all \
                  commits";
    good_if(!value.eq_ignore_ascii_case("EVENTUAL"), Bad(advice))
}

fn single_primary(value: &str) -> SettingJudgement {
    let advice = "turn it on: with several primaries the commits of one campaign conflict";
    if is_on(value) { Good } else { Warn(advice) }
}

#[cfg(test)]
mod tests {
    use super::super::{Level, changed, complaints, settings};
    use super::replication;

    const LOSSLESS: [(&str, &str); 5] = [
        ("rpl_semi_sync_source_enabled", "ON"),
        ("rpl_semi_sync_source_wait_point", "AFTER_SYNC"),
        ("rpl_semi_sync_source_timeout", "4294967295"),
        ("rpl_semi_sync_source_wait_no_replica", "ON"),
        ("status.Rpl_semi_sync_source_status", "ON"),
    ];
    const GROUP: [(&str, &str); 3] = [
        ("group_replication_group_name", "a group"),
        (
            "group_replication_consistency",
            "BEFORE_ON_PRIMARY_FAILOVER",
        ),
        ("group_replication_single_primary_mode", "ON"),
    ];

    #[test]
    fn lossless_replication_has_no_findings() {
        assert_eq!(complaints(replication(&settings(&LOSSLESS))), []);
        assert_eq!(complaints(replication(&settings(&GROUP))), []);
    }

    #[test]
    fn a_server_without_replication_is_not_judged() {
        assert_eq!(replication(&settings(&[])), []);
        let unused = [("group_replication_group_name", "")];
        assert_eq!(replication(&settings(&unused)), []);
    }

    #[test]
    fn replication_that_loses_answered_commits_is_bad() {
        for (name, value) in [
            ("rpl_semi_sync_source_wait_point", "AFTER_COMMIT"),
            ("rpl_semi_sync_source_timeout", "10000"),
            ("rpl_semi_sync_source_wait_no_replica", "OFF"),
            ("status.Rpl_semi_sync_source_status", "OFF"),
        ] {
            let found = complaints(replication(&changed(&LOSSLESS, &[(name, value)])));
            assert_eq!(found, [(name.to_owned(), Level::Bad)]);
        }
        let name = "group_replication_consistency";
        let found = complaints(replication(&changed(&GROUP, &[(name, "EVENTUAL")])));
        assert_eq!(found, [(name.to_owned(), Level::Bad)]);
    }

    #[test]
    fn asynchronous_replication_and_several_primaries_are_warnings() {
        let name = "rpl_semi_sync_source_enabled";
        let found = complaints(replication(&changed(&LOSSLESS, &[(name, "OFF")])));
        assert_eq!(found, [(name.to_owned(), Level::Warn)]);
        let name = "group_replication_single_primary_mode";
        let found = complaints(replication(&changed(&GROUP, &[(name, "OFF")])));
        assert_eq!(found, [(name.to_owned(), Level::Warn)]);
    }
}
