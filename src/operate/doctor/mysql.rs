//! MySQL: what makes a commit durable, and what keeps locks of those who have gone short.

use super::Verdict::{Bad, Good, Warn};
use super::{Finding, Level, Settings, Verdict, judged, version};

/// Judges MySQL's global variables; `pool` is how many connections one process may open.
#[must_use]
pub fn mysql(settings: &Settings, pool: u32) -> Vec<Finding> {
    let logs = settings.get("log_bin").is_none_or(|value| is_on(value));
    let judge = |name: &str, rule: &dyn Fn(&str) -> Verdict| judged("mysql", settings, name, rule);
    let mut findings = vec![
        judge("version", &old),
        judge("innodb_flush_log_at_trx_commit", &flush),
        judge("innodb_doublewrite", &doublewrite),
        judge("log_bin", &|value| {
            if is_on(value) {
                Good
            } else {
                Warn(
                    "turn it on: without a binary log nothing newer than the last backup can be restored",
                )
            }
        }),
        judge("sync_binlog", &|value| {
            if value == "1" || !logs {
                Good
            } else {
                Bad(
                    "set it to 1: a replica, or a restored backup, could miss what was answered yes",
                )
            }
        }),
        judge("default_storage_engine", &|value| {
            if value.eq_ignore_ascii_case("InnoDB") {
                Good
            } else {
                Bad("set it to InnoDB: tables made by another engine know no transactions")
            }
        }),
        judge("sql_mode", &strict),
        enough(judged("mysql", settings, "max_connections", |_| Good), pool),
    ];
    findings.extend(service(settings));
    findings
}

/// Whether the server takes writes, and whether it gives locks back soon.
fn service(settings: &Settings) -> Vec<Finding> {
    let judge = |name: &str, rule: &dyn Fn(&str) -> Verdict| judged("mysql", settings, name, rule);
    vec![
        judge("super_read_only", &writable),
        judge("read_only", &writable),
        judge("innodb_read_only", &writable),
        judge("innodb_deadlock_detect", &|value| {
            if is_on(value) {
                Good
            } else {
                Warn(
                    "turn it on: without it a deadlock waits 2 s instead of aborting one transaction",
                )
            }
        }),
        judge("session.wait_timeout", &brief),
        judge("session.lock_wait_timeout", &brief),
        judge("session.innodb_lock_wait_timeout", &|value| {
            if value.parse().is_ok_and(|seconds: u64| seconds <= 2) {
                Good
            } else {
                Warn(LOST_SETTINGS)
            }
        }),
        judge("session.transaction_isolation", &|value| {
            if value == "READ-COMMITTED" {
                Good
            } else {
                Bad(LOST_SETTINGS)
            }
        }),
    ]
}

/// What a session says that was not told what we tell it.
const LOST_SETTINGS: &str =
    "the session settings were lost: let the proxy forward SET SESSION, or pin connections";

fn writable(value: &str) -> Verdict {
    if is_on(value) {
        Bad("point the address at the primary: this server takes no writes")
    } else {
        Good
    }
}

/// Sessions ask for an hour at most: a connection lost half-way keeps its locks for as long.
fn brief(value: &str) -> Verdict {
    if value.parse().is_ok_and(|seconds: u64| seconds <= 3_600) {
        Good
    } else {
        Warn(LOST_SETTINGS)
    }
}

/// The variables of a session that are judged, as `session.NAME`.
pub const SESSION_NAMES: [&str; 4] = [
    "wait_timeout",
    "lock_wait_timeout",
    "innodb_lock_wait_timeout",
    "transaction_isolation",
];

/// The variables that are judged.
pub const NAMES: [&str; 12] = [
    "version",
    "innodb_flush_log_at_trx_commit",
    "innodb_doublewrite",
    "log_bin",
    "sync_binlog",
    "default_storage_engine",
    "sql_mode",
    "max_connections",
    "super_read_only",
    "read_only",
    "innodb_read_only",
    "innodb_deadlock_detect",
];

fn is_on(value: &str) -> bool {
    value.eq_ignore_ascii_case("ON") || value == "1"
}

fn old(value: &str) -> Verdict {
    if value.contains("MariaDB") {
        Warn("use MySQL 8.4 or newer: MariaDB is not tested")
    } else if version(value) < (8, 4) {
        Warn("use 8.4 or newer: older ones are not tested, and get no fixes")
    } else {
        Good
    }
}

fn flush(value: &str) -> Verdict {
    if value == "1" {
        Good
    } else {
        Bad("set it to 1: any other value loses commits in a crash")
    }
}

/// `DETECT_ONLY` finds a torn page and cannot mend it.
fn doublewrite(value: &str) -> Verdict {
    if is_on(value) || value.eq_ignore_ascii_case("DETECT_AND_RECOVER") {
        Good
    } else {
        Bad("turn it on: a torn page is lost without it")
    }
}

fn strict(value: &str) -> Verdict {
    let strict = ["STRICT_TRANS_TABLES", "STRICT_ALL_TABLES", "TRADITIONAL"];
    if value.split(',').any(|mode| strict.contains(&mode)) {
        Good
    } else {
        Bad("add STRICT_TRANS_TABLES: without it a value that does not fit is cut off, not refused")
    }
}

/// One more than the pool, for whoever wants to look.
fn enough(mut found: Finding, pool: u32) -> Finding {
    let there: Option<u32> = found.value.parse().ok();
    if there.is_some_and(|there| there <= pool) {
        found.level = Level::Warn;
        found.advice = Some(format!(
            "raise it, or lower database.connections_max ({pool}): each process may open as many, \
             and requests wait for those it does not get"
        ));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::{Level, complaints, settings};
    use super::mysql;

    const SOUND: [(&str, &str); 16] = [
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

    /// What is said when these differ from a sound server.
    fn with(changed: &[(&str, &str)]) -> Vec<(String, Level)> {
        let mut asked = settings(&SOUND);
        asked.extend(settings(changed));
        let found = mysql(&asked, 16);
        let complaints = complaints(&found).into_iter();
        complaints
            .map(|(name, level)| (name.to_owned(), level))
            .collect()
    }

    fn says(name: &str, level: Level) -> Vec<(String, Level)> {
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
            assert_eq!(with(&[(name, value)]), says(name, Level::Bad), "{value}");
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
            assert_eq!(with(&[(name, value)]), says(name, Level::Warn), "{value}");
        }
    }

    #[test]
    fn without_a_binary_log_its_flushing_does_not_matter() {
        let said = with(&[("log_bin", "OFF"), ("sync_binlog", "0")]);
        assert_eq!(said, says("log_bin", Level::Warn));
    }
}
