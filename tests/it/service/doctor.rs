//! The doctor, against parts with bad settings, and without parts.

use std::process::Output;

use firstcome::domain::Topic;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use serde_json::Value;
use tempfile::TempDir;

use super::process::{Settings, command};
use crate::spare::Spare;

/// Correct topics, except for the single broker.
const ALONE: [&str; 2] = ["replication factor", "min.insync.replicas"];

/// The findings of the doctor as JSON, and whether it exits with 0.
fn examine(settings: Settings<'_>) -> (Vec<Value>, bool) {
    let folder = TempDir::new().unwrap();
    let output = doctor(&folder, settings, &["--json"]);
    let told: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("{error}: {}", String::from_utf8_lossy(&output.stderr));
    });
    assert_eq!(told["sound"].as_bool(), Some(output.status.success()));
    let findings = told["findings"].as_array().unwrap().clone();
    (findings, output.status.success())
}

fn doctor(folder: &TempDir, settings: Settings<'_>, arguments: &[&str]) -> Output {
    let mut command = command(folder, settings);
    command.arg("doctor").args(arguments).output().unwrap()
}

/// The settings of one level. Each must have advice unless it is correct.
fn of_level<'a>(findings: &'a [Value], level: &str) -> Vec<&'a str> {
    let found = findings.iter().filter(|found| found["level"] == level);
    found
        .map(|found| {
            assert_eq!(found["advice"].is_string(), level != "ok", "{found}");
            found["setting"].as_str().unwrap()
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_names_what_is_wrong_with_mysql() {
    let options = [
        "innodb_flush_log_at_trx_commit=2",
        "sync_binlog=0",
        "innodb_doublewrite=OFF",
        "default_storage_engine=MyISAM",
        "sql_mode=",
        "max_connections=10",
    ];
    let address = Spare::up("mysql", "bad-mysql", &options).await.address;
    let url = format!("mysql://root@{address}/firstcome");
    let (findings, sound) = examine(&[("FIRSTCOME_DATABASE_URL", url)]);
    assert!(!sound);
    let bad = of_level(&findings, "bad");
    assert_eq!(
        bad,
        [
            "innodb_flush_log_at_trx_commit",
            "innodb_doublewrite",
            "sync_binlog",
            "default_storage_engine",
            "sql_mode"
        ]
    );
    assert_eq!(of_level(&findings, "warn"), ["max_connections"]);
    assert_eq!(
        of_level(&findings, "ok"),
        [
            "version",
            "log_bin",
            "super_read_only",
            "read_only",
            "innodb_read_only",
            "innodb_deadlock_detect",
            "session.wait_timeout",
            "session.lock_wait_timeout",
            "session.innodb_lock_wait_timeout",
            "session.transaction_isolation",
            "encryption",
            "mysql"
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_names_what_is_wrong_with_redis() {
    let options = [
        "appendonly=no",
        "maxmemory-policy=allkeys-lru",
        "save=",
        "maxmemory=256mb",
    ];
    let address = Spare::up("redis", "bad-redis", &options).await.address;
    let redis = [("FIRSTCOME_REDIS_URL", format!("redis://{address}"))];
    let (findings, sound) = examine(&redis);
    assert!(!sound);
    let bad = of_level(&findings, "bad");
    assert_eq!(bad, ["maxmemory-policy", "appendonly", "save"]);
    assert!(of_level(&findings, "warn").is_empty());
    assert_eq!(
        of_level(&findings, "ok"),
        [
            "redis_version",
            "maxmemory",
            "used_memory",
            "encryption",
            "redis"
        ]
    );

    let folder = TempDir::new().unwrap();
    let output = doctor(&folder, &redis, &[]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        said.contains("BAD  redis maxmemory-policy = allkeys-lru  -> set it to noeviction"),
        "{said}"
    );
    assert!(said.contains("--   store is embedded"), "{said}");
    assert!(!output.status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_names_the_permission_that_the_scripts_need() {
    let address = Spare::up("redis", "shy-redis", &[]).await.address;
    let client = redis::Client::open(format!("redis://{address}")).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut user = redis::cmd("ACL");
    user.arg("SETUSER").arg("shy").arg("on").arg(">secret");
    user.arg("~*").arg("&*").arg("+@all");
    user.arg("-info").arg("-config");
    user.exec_async(&mut connection).await.unwrap();
    let redis = [(
        "FIRSTCOME_REDIS_URL",
        format!("redis://shy:secret@{address}"),
    )];
    let (findings, sound) = examine(&redis);
    assert!(!sound, "{findings:?}");
    assert_eq!(of_level(&findings, "bad"), ["INFO"]);
    assert_eq!(
        of_level(&findings, "warn"),
        [
            "redis_version",
            "maxmemory-policy",
            "appendonly",
            "maxmemory",
            "appendfsync"
        ]
    );
    assert_eq!(of_level(&findings, "ok"), ["encryption", "redis"]);
}

/// Creates the topics of an installation, all alike.
async fn topics(address: &str, prefix: &str, settings: &[(&str, &str)]) -> Vec<String> {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", address)
        .create()
        .unwrap();
    let names = Topic::names(prefix);
    let new: Vec<NewTopic<'_>> = names
        .iter()
        .map(|name| {
            let new = NewTopic::new(name, 1, TopicReplication::Fixed(1));
            let settings = settings.iter();
            settings.fold(new, |new, (key, value)| new.set(key, value))
        })
        .collect();
    for created in admin
        .create_topics(&new, &AdminOptions::new())
        .await
        .unwrap()
    {
        created.unwrap();
    }
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_names_what_is_wrong_with_topics() {
    let address = Spare::up("kafka", "bad-topics", &[]).await.address;
    let kafka = |prefix: &str| {
        [
            ("FIRSTCOME_KAFKA_BROKERS", address.clone()),
            ("FIRSTCOME_KAFKA_TOPIC_PREFIX", prefix.to_owned()),
        ]
    };
    let wrong = [
        ("min.insync.replicas", "1"),
        ("unclean.leader.election.enable", "true"),
        ("cleanup.policy", "compact"),
        ("retention.ms", "60000"),
        ("max.message.bytes", "1000"),
    ];
    let names = topics(&address, "bad", &wrong).await;
    let (findings, sound) = examine(&kafka("bad"));
    assert!(!sound);
    let mut expected = Vec::new();
    for name in &names {
        expected.push(format!("{name} replication factor"));
        expected.extend(wrong.iter().map(|(setting, _)| format!("{name} {setting}")));
    }
    assert_eq!(of_level(&findings, "bad"), expected);
    assert_eq!(of_level(&findings, "ok"), ["encryption"]);

    // Topics that are created without settings have no other findings.
    topics(&address, "plain", &[]).await;
    let (findings, _) = examine(&kafka("plain"));
    let bad = of_level(&findings, "bad");
    assert!(!bad.is_empty());
    assert!(
        bad.iter()
            .all(|setting| ALONE.iter().any(|alone| setting.ends_with(alone))),
        "{bad:?}"
    );

    let (findings, sound) = examine(&kafka("none"));
    assert!(!sound);
    assert_eq!(of_level(&findings, "bad").len(), 8);
    let topics = findings
        .iter()
        .filter(|found| found["setting"] != "encryption");
    assert!(topics.into_iter().all(|found| found["value"] == "missing"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unavailable_part_is_one_finding_and_the_others_are_examined() {
    let options = ["appendonly=yes", "maxmemory-policy=noeviction"];
    let address = Spare::up("redis", "good-redis", &options).await.address;
    // No process listens on the port of multiplexed TCP services.
    let nobody = "127.0.0.1:1";
    let settings = [
        ("FIRSTCOME_DATABASE_URL", format!("mysql://root@{nobody}/x")),
        ("FIRSTCOME_REDIS_URL", format!("redis://{address}")),
        ("FIRSTCOME_KAFKA_BROKERS", nobody.to_owned()),
    ];
    let (findings, sound) = examine(&settings);
    assert!(!sound);
    let bad: Vec<&Value> = findings
        .iter()
        .filter(|found| found["level"] == "bad")
        .collect();
    let parts: Vec<&str> = bad
        .iter()
        .map(|found| found["part"].as_str().unwrap())
        .collect();
    assert_eq!(parts, ["mysql", "kafka"], "{findings:?}");
    for found in bad {
        let advice = found["advice"].as_str().unwrap();
        assert!(
            advice.contains(nobody) && !advice.contains('\n'),
            "{advice}"
        );
    }
    let good = of_level(&findings, "ok");
    assert!(good.contains(&"appendonly") && good.contains(&"appendfsync"));

    // Without a bad part it exits with success.
    let (_, sound) = examine(&settings[1..2]);
    assert!(sound);
}

#[test]
fn the_doctor_names_simulated_payments_beside_a_real_part() {
    let redis = ("FIRSTCOME_REDIS_URL", "redis://127.0.0.1:1".to_owned());
    let allow = ("FIRSTCOME_PAYMENT_ALLOW_SIMULATED", "true".to_owned());
    let (findings, _) = examine(&[redis.clone(), allow.clone()]);
    assert!(of_level(&findings, "bad").contains(&"provider"));
    for settings in [vec![redis], vec![allow]] {
        let (findings, _) = examine(&settings);
        assert!(!of_level(&findings, "bad").contains(&"provider"));
    }
}

/// The settings that the table of the documentation names, as the first word in each row's second cell or
/// later ones between commas.
fn documented() -> Vec<String> {
    let page = std::fs::read_to_string("docs/configuration.md").unwrap();
    let (_, section) = page.split_once("## The doctor").unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| "));
    let cells = rows.filter_map(|row| row.split('|').nth(2).map(str::to_owned));
    let names: Vec<String> = cells
        .flat_map(|cell| {
            let names = cell.split(',').map(|name| name.trim().replace('`', ""));
            names.collect::<Vec<_>>()
        })
        .collect();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documentation_names_every_setting_that_the_doctor_examines() {
    let parts = super::real::parts().await;
    let (folder, documented) = (TempDir::new().unwrap(), documented());
    // It creates the topics.
    let mut service = super::process::Service::start(&folder, parts.settings()).await;
    assert!(service.stop().await.success());
    let (findings, _) = examine(parts.settings());
    let missing: Vec<&str> = findings
        .iter()
        .map(|found| found["setting"].as_str().unwrap())
        .map(|setting| match setting.split_once(' ') {
            // A setting of a topic follows the topic's name.
            Some((topic, setting)) if topic.contains(&parts.prefix) => setting,
            _ => setting,
        })
        .filter(|setting| !documented.iter().any(|name| name == setting))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(findings.len() > 30, "{} findings", findings.len());
}
