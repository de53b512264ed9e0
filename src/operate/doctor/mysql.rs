//! MySQL: the durability of commits, and how long the locks of lost connections last.

use super::SettingJudgement::{Bad, Good, Warn};
use super::{Finding, Level, SettingJudgement, Settings, good_if, judged, version};

/// Judges MySQL's variables; `pool` is the number of connections of one process.
#[must_use]
pub fn mysql(settings: &Settings, pool: u32) -> Vec<Finding> {
    let logs = settings.get("log_bin").is_none_or(|value| is_on(value));
    let judge =
        |name: &str, rule: &dyn Fn(&str) -> SettingJudgement| judged("mysql", settings, name, rule);
    let mut findings = vec![
        judge("version", &old),
        judge("innodb_flush_log_at_trx_commit", &flush),
        judge("innodb_doublewrite", &doublewrite),
        judge("log_bin", &|value| {
            let advice = "turn it on: a backup alone cannot restore commits made after it";
            good_if(is_on(value), Warn(advice))
        }),
        judge("sync_binlog", &|value| {
            let advice =
                "set it to 1: a replica or a restored backup can lack accepted participations";
            good_if(value == "1" || !logs, Bad(advice))
        }),
        judge("default_storage_engine", &|value| {
            let advice = "set it to InnoDB: tables of other engines have no transactions";
            good_if(value.eq_ignore_ascii_case("InnoDB"), Bad(advice))
        }),
        judge("sql_mode", &strict),
        enough(judged("mysql", settings, "max_connections", |_| Good), pool),
    ];
    findings.extend(service(settings));
    findings
}

/// The variables that are judged; those of a session as `session.NAME`.
#[must_use]
pub fn mysql_names() -> Vec<String> {
    let of_nothing = mysql(&Settings::new(), 0).into_iter();
    of_nothing.map(|finding| finding.setting).collect()
}

/// Whether the server accepts writes, and releases locks soon.
fn service(settings: &Settings) -> Vec<Finding> {
    let judge =
        |name: &str, rule: &dyn Fn(&str) -> SettingJudgement| judged("mysql", settings, name, rule);
    vec![
        judge("super_read_only", &writable),
        judge("read_only", &writable),
        judge("innodb_read_only", &writable),
        judge("innodb_deadlock_detect", &|value| {
            let advice =
                "turn it on: without it a deadlock lasts 2 s instead of aborting one transaction";
            good_if(is_on(value), Warn(advice))
        }),
        judge("session.wait_timeout", &brief),
        judge("session.lock_wait_timeout", &brief),
        judge("session.innodb_lock_wait_timeout", &|value| {
            at_most(value, 2)
        }),
        judge("session.transaction_isolation", &|value| {
            good_if(value == "READ-COMMITTED", Bad(LOST_SETTINGS))
        }),
    ]
}

/// Advice if a session lacks the settings that this service sets at its start.
const LOST_SETTINGS: &str =
    "the session settings were lost: let the proxy forward SET SESSION, or pin connections";

fn writable(value: &str) -> SettingJudgement {
    let advice = "point the address at the primary: this server is read-only";
    good_if(!is_on(value), Bad(advice))
}

/// Sessions request at most an hour: a lost connection keeps its locks for that long.
fn brief(value: &str) -> SettingJudgement {
    at_most(value, 3_600)
}

fn at_most(value: &str, seconds_max: u64) -> SettingJudgement {
    let is_brief = value
        .parse()
        .is_ok_and(|seconds: u64| seconds <= seconds_max);
    good_if(is_brief, Warn(LOST_SETTINGS))
}

fn is_on(value: &str) -> bool {
    value.eq_ignore_ascii_case("ON") || value == "1"
}

fn old(value: &str) -> SettingJudgement {
    if value.contains("MariaDB") {
        Warn("use MySQL 8.4 or newer: MariaDB is not tested")
    } else if version(value) < (8, 4) {
        Warn("use 8.4 or newer: older versions are not tested")
    } else {
        Good
    }
}

fn flush(value: &str) -> SettingJudgement {
    let advice = "set it to 1: any other value loses commits in a crash";
    good_if(value == "1", Bad(advice))
}

/// `DETECT_ONLY` finds a torn page and cannot repair it.
fn doublewrite(value: &str) -> SettingJudgement {
    let repairs = is_on(value) || value.eq_ignore_ascii_case("DETECT_AND_RECOVER");
    good_if(repairs, Bad("turn it on: without it a torn page is lost"))
}

fn strict(value: &str) -> SettingJudgement {
    let strict = ["STRICT_TRANS_TABLES", "STRICT_ALL_TABLES", "TRADITIONAL"];
    let advice = "add STRICT_TRANS_TABLES: without it a value that does not fit is truncated";
    good_if(
        value.split(',').any(|mode| strict.contains(&mode)),
        Bad(advice),
    )
}

/// One more than the pool, for an operator.
fn enough(mut found: Finding, pool: u32) -> Finding {
    let available: Option<u32> = found.value.parse().ok();
    if available.is_some_and(|available| available <= pool) {
        found.level = Level::Warn;
        found.advice = Some(format!(
            "raise it, or lower database.connections_max ({pool}): each process may open that many, \
             and without them requests wait"
        ));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::{Level, complaints};
    use super::mysql;

    const CORRECT: [(&str, &str); 16] = [
        ("version", "8.4.6"),
        ("innodb_flush_log_at_trx_commit", "1"),
        ("innodb_doublewrite", "ON"),
        ("log_bin", "ON"),
        ("sync_binlog", "1"),
        ("default_storage_engine", "InnoDB"),
        ("sql_mode", "ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES"),
        ("max_connections", "151"),
        ("super_read_only", "OFF"),
        ("read_only", "OFF"),
        ("innodb_read_only", "OFF"),
        ("innodb_deadlock_detect", "ON"),
        ("session.wait_timeout", "30"),
        ("session.lock_wait_timeout", "30"),
        ("session.innodb_lock_wait_timeout", "2"),
        ("session.transaction_isolation", "READ-COMMITTED"),
    ];

    /// The findings about a correct server with these changes.
    fn with(changed: &[(&str, &str)]) -> Vec<(String, Level)> {
        complaints(mysql(&super::super::changed(&CORRECT, changed), 16))
    }

    fn expected(name: &str, level: Level) -> Vec<(String, Level)> {
        vec![(name.to_owned(), level)]
    }

    #[test]
    fn a_correct_server_has_no_findings() {
        assert_eq!(with(&[]), []);
        for value in ["9.7.0", "10.0.1", "8.4.0-commercial"] {
            assert_eq!(with(&[("version", value)]), []);
        }
        assert_eq!(with(&[("innodb_doublewrite", "DETECT_AND_RECOVER")]), []);
        assert_eq!(with(&[("sql_mode", "STRICT_ALL_TABLES")]), []);
        assert_eq!(with(&[("max_connections", "17")]), []);
    }

    #[test]
    fn settings_that_lose_commits_are_bad() {
        for (name, value) in [
            ("innodb_flush_log_at_trx_commit", "0"),
            ("innodb_flush_log_at_trx_commit", "2"),
            ("innodb_doublewrite", "OFF"),
            ("innodb_doublewrite", "DETECT_ONLY"),
            ("sync_binlog", "0"),
            ("sync_binlog", "100"),
            ("default_storage_engine", "MyISAM"),
            ("sql_mode", ""),
            ("sql_mode", "ONLY_FULL_GROUP_BY"),
            ("super_read_only", "ON"),
            ("read_only", "1"),
            ("innodb_read_only", "ON"),
            ("session.transaction_isolation", "REPEATABLE-READ"),
        ] {
            assert_eq!(
                with(&[(name, value)]),
                expected(name, Level::Bad),
                "{value}"
            );
        }
    }

    #[test]
    fn suboptimal_settings_are_warnings() {
        for (name, value) in [
            ("version", "8.0.44"),
            ("version", "11.4.2-MariaDB"),
            ("log_bin", "OFF"),
            ("max_connections", "16"),
            ("innodb_deadlock_detect", "OFF"),
            ("session.wait_timeout", "28800"),
            ("session.lock_wait_timeout", "31536000"),
            ("session.innodb_lock_wait_timeout", "50"),
        ] {
            assert_eq!(
                with(&[(name, value)]),
                expected(name, Level::Warn),
                "{value}"
            );
        }
    }

    #[test]
    fn without_a_binary_log_its_flushing_does_not_matter() {
        let found = with(&[("log_bin", "OFF"), ("sync_binlog", "0")]);
        assert_eq!(found, expected("log_bin", Level::Warn));
    }
}
