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

/// Longest suspicion before a silent member is expelled, in seconds: the default. Its detection takes 5 s more.
const EXPEL_SECONDS_MAX: u64 = 5;

const CLIENTS: &str = "status.Rpl_semi_sync_source_clients";
const CLIENTS_WAITED_FOR: &str = "rpl_semi_sync_source_wait_for_replica_count";

/// The variables of semi-synchronous replication, if it is on.
const SEMI_SYNCHRONOUS: [(&str, Rule); 4] = [
    ("rpl_semi_sync_source_wait_point", wait_point),
    ("rpl_semi_sync_source_timeout", timeout),
    ("rpl_semi_sync_source_wait_no_replica", wait_no_replica),
    ("status.Rpl_semi_sync_source_status", status),
];

/// The variables of group replication, if the server belongs to a group.
const OF_GROUP: [(&str, Rule); 7] = [
    ("group_replication_consistency", consistency),
    ("group_replication_single_primary_mode", single_primary),
    ("group_replication_bootstrap_group", bootstrap),
    ("group_replication_start_on_boot", start_on_boot),
    (
        "group_replication_unreachable_majority_timeout",
        unreachable_majority,
    ),
    ("group_replication_exit_state_action", exit_state_action),
    ("group_replication_member_expel_timeout", expel),
];

/// The variables that are judged; status variables with [`STATUS`] before their names.
pub fn replication_names() -> impl Iterator<Item = &'static str> {
    let rules = SEMI_SYNCHRONOUS.iter().chain(&OF_GROUP);
    [ENABLED, GROUP, CLIENTS, CLIENTS_WAITED_FOR]
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
            let waited_for = settings.get(CLIENTS_WAITED_FOR);
            let waited_for = waited_for.and_then(|count| count.parse().ok());
            findings.push(judged("mysql", settings, CLIENTS, |clients| {
                enough_clients(clients, waited_for)
            }));
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

/// `waited_for`: the number of replicas that a commit waits for; none: unknown.
fn enough_clients(clients: &str, waited_for: Option<u64>) -> SettingJudgement {
    let few = "connect as many replicas as rpl_semi_sync_source_wait_for_replica_count: commits wait for them";
    let just = "connect one replica more than rpl_semi_sync_source_wait_for_replica_count: if one is lost, no commit \
                is answered";
    match (clients.parse::<u64>(), waited_for) {
        (Ok(clients), Some(waited_for)) if clients > waited_for => Good,
        (Ok(clients), Some(waited_for)) if clients == waited_for => Warn(just),
        (Ok(_), Some(_)) => Warn(few),
        _ => Warn("compare it with rpl_semi_sync_source_wait_for_replica_count"),
    }
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

fn bootstrap(value: &str) -> SettingJudgement {
    let advice = "turn it off: a server that starts with it forms a second group, and two primaries accept writes";
    good_if(!is_on(value), Bad(advice))
}

fn start_on_boot(value: &str) -> SettingJudgement {
    let advice = "turn it on, or start servers with super_read_only: a member that restarts outside of its group \
                  accepts writes";
    good_if(is_on(value), Warn(advice))
}

fn unreachable_majority(value: &str) -> SettingJudgement {
    let advice = "set it to some seconds: 0 lets a primary that was cut off answer reads with old data, and wait with \
                  commits, without end";
    good_if(
        value.parse().is_ok_and(|seconds: u64| seconds > 0),
        Warn(advice),
    )
}

fn exit_state_action(value: &str) -> SettingJudgement {
    let advice = "set it to OFFLINE_MODE or ABORT_SERVER: a member that has left its group otherwise answers reads with \
                  old data";
    let leaves = ["OFFLINE_MODE", "ABORT_SERVER"];
    let leaves = leaves
        .iter()
        .any(|action| value.eq_ignore_ascii_case(action));
    good_if(leaves, Warn(advice))
}

fn expel(value: &str) -> SettingJudgement {
    let advice = "lower it to 5 or less: a silent primary is replaced 5 s and this time later, and meanwhile nobody can \
                  participate";
    let is_short = value
        .parse()
        .is_ok_and(|seconds: u64| seconds <= EXPEL_SECONDS_MAX);
    good_if(is_short, Warn(advice))
}

#[cfg(test)]
mod tests {
    use super::super::{Level, changed, complaints, settings};
    use super::replication;

    const LOSSLESS: [(&str, &str); 7] = [
        ("rpl_semi_sync_source_enabled", "ON"),
        ("rpl_semi_sync_source_wait_point", "AFTER_SYNC"),
        ("rpl_semi_sync_source_timeout", "4294967295"),
        ("rpl_semi_sync_source_wait_no_replica", "ON"),
        ("status.Rpl_semi_sync_source_status", "ON"),
        ("rpl_semi_sync_source_wait_for_replica_count", "1"),
        ("status.Rpl_semi_sync_source_clients", "2"),
    ];
    const GROUP: [(&str, &str); 8] = [
        ("group_replication_group_name", "a group"),
        (
            "group_replication_consistency",
            "BEFORE_ON_PRIMARY_FAILOVER",
        ),
        ("group_replication_single_primary_mode", "ON"),
        ("group_replication_bootstrap_group", "OFF"),
        ("group_replication_start_on_boot", "ON"),
        ("group_replication_unreachable_majority_timeout", "5"),
        ("group_replication_exit_state_action", "OFFLINE_MODE"),
        ("group_replication_member_expel_timeout", "5"),
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
        for (name, value) in [
            ("group_replication_consistency", "EVENTUAL"),
            ("group_replication_bootstrap_group", "ON"),
        ] {
            let found = complaints(replication(&changed(&GROUP, &[(name, value)])));
            assert_eq!(found, [(name.to_owned(), Level::Bad)]);
        }
    }

    #[test]
    fn a_group_that_serves_old_data_or_is_slow_to_elect_is_a_warning() {
        for (name, value) in [
            ("group_replication_start_on_boot", "OFF"),
            ("group_replication_unreachable_majority_timeout", "0"),
            ("group_replication_exit_state_action", "READ_ONLY"),
            ("group_replication_member_expel_timeout", "30"),
        ] {
            let found = complaints(replication(&changed(&GROUP, &[(name, value)])));
            assert_eq!(found, [(name.to_owned(), Level::Warn)]);
        }
        let aborts = [("group_replication_exit_state_action", "ABORT_SERVER")];
        assert_eq!(complaints(replication(&changed(&GROUP, &aborts))), []);
    }

    #[test]
    fn commits_that_wait_for_every_replica_are_a_warning() {
        let name = "status.Rpl_semi_sync_source_clients";
        for clients in ["0", "1"] {
            let found = complaints(replication(&changed(&LOSSLESS, &[(name, clients)])));
            assert_eq!(found, [(name.to_owned(), Level::Warn)]);
        }
        let count = "rpl_semi_sync_source_wait_for_replica_count";
        let found = complaints(replication(&changed(&LOSSLESS, &[(count, "2")])));
        assert_eq!(found, [(name.to_owned(), Level::Warn)]);
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
