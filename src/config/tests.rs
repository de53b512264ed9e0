mod alerts;
mod cookies;
mod tokens;

use std::time::Duration;

use secrecy::ExposeSecret;

use super::*;
use crate::access::identity::Algorithm::{EdDsa, Es256, Hs256, Rs256};
use crate::domain::Consumer;

fn load(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let environment = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::from_sources(None, environment, &[])
}

/// The mistakes of a configuration that is rejected.
fn rejected(variables: &[(&str, &str)]) -> Vec<String> {
    let ConfigError(mistakes) = load(variables).unwrap_err();
    mistakes
}

#[test]
fn an_empty_configuration_is_embedded() {
    let config = load(&[]).unwrap();
    assert_eq!(config.embedded_parts(), ["store", "gate", "broker"]);
}

#[test]
fn variables_reach_their_section() {
    let config = load(&[
        ("FIRSTCOME_KAFKA_TOPIC_PREFIX", "7"),
        ("FIRSTCOME_KAFKA_CREATE_TOPICS", "true"),
        ("FIRSTCOME_ADMIN_TOKEN", "1234567890123456"),
        ("FIRSTCOME_HTTP_LISTEN", "127.0.0.1:9999"),
        ("FIRSTCOME_PARTS_MYSQL_PORT", "1"),
        ("FIRSTCOME_TEST_SEEDS", "1..3"),
        ("FIRSTCOME_TEST_ENDPOINTS", "true"),
        ("FIRSTCOME_TRACES_SAMPLE", "0.25"),
        ("FIRSTCOME_CONSUMERS_ENABLED", "points,coupons"),
        ("HOME", "/nowhere"),
    ])
    .unwrap();
    assert_eq!(config.kafka.topic_prefix, "7");
    assert!(config.kafka.create_topics);
    assert_eq!(config.consumers_of_serve(), Consumer::ALL);
    assert_eq!(
        config.admin.token.unwrap().expose_secret(),
        "1234567890123456"
    );
    assert_eq!(config.http.listen.port(), 9_999);
    assert!((config.traces.sample - 0.25).abs() < f64::EPSILON);
    assert!(config.test.endpoints && !load(&[]).unwrap().test.endpoints);
}

#[test]
fn simulated_payments_need_embedded_parts_or_the_setting() {
    let allow = ("FIRSTCOME_PAYMENT_ALLOW_SIMULATED", "true");
    let public = ("FIRSTCOME_HTTP_LISTEN", "0.0.0.0:8080");
    let trusted = ("FIRSTCOME_HTTP_ALLOW_TRUSTED", "true");
    let real = ("FIRSTCOME_REDIS_URL", "redis://r");
    let sells = |variables: &[(&str, &str)]| load(variables).unwrap().sells_for_money();
    assert!(sells(&[]));
    assert!(!sells(&[real]));
    assert!(!sells(&[public, trusted]));
    assert!(sells(&[real, allow]) && sells(&[public, trusted, allow]));
}

#[test]
fn consumers_run_with_all_parts_embedded_or_when_enabled() {
    let real = ("FIRSTCOME_KAFKA_BROKERS", "k:1");
    let named = |names| [real, ("FIRSTCOME_CONSUMERS_ENABLED", names)];
    assert_eq!(load(&[]).unwrap().consumers_of_serve(), Consumer::ALL);
    let config = load(&[real]).unwrap();
    assert_eq!(config.consumers_of_serve(), []);
    assert_eq!(config.consumers_of_consume(), Consumer::ALL);
    let config = load(&named(" coupons, coupons")).unwrap();
    assert_eq!(config.consumers_of_serve(), [Consumer::Coupons]);
    assert_eq!(config.consumers_of_consume(), [Consumer::Coupons]);
    assert_eq!(load(&named("")).unwrap().consumers_of_serve(), []);
}

#[test]
fn an_unknown_consumer_is_an_error_that_names_the_variable() {
    let mistakes = rejected(&[("FIRSTCOME_CONSUMERS_ENABLED", "points,stamps")]);
    let [mistake] = &mistakes[..] else {
        panic!("{mistakes:?}");
    };
    for part in ["consumers.enabled", "stamps", "FIRSTCOME_CONSUMERS_ENABLED"] {
        assert!(mistake.contains(part), "{part} missing in {mistake}");
    }
}

#[test]
fn a_hash_costs_at_least_the_recommended_minimum() {
    for (memory, iterations, is_enough) in [
        ("19456", "2", true),
        ("19456", "1", false),
        ("47104", "1", true),
        ("47103", "1", false),
        ("7168", "5", true),
        ("7168", "4", false),
    ] {
        let loaded = load(&[
            ("FIRSTCOME_ACCOUNTS_PASSWORD_MEMORY_KIB", memory),
            ("FIRSTCOME_ACCOUNTS_PASSWORD_ITERATIONS", iterations),
        ]);
        assert_eq!(loaded.is_ok(), is_enough, "{memory} KiB, {iterations}");
    }
}

#[test]
fn idempotency_keys_are_kept_for_longer_than_an_attempt_takes() {
    let retention = |text| ("FIRSTCOME_IDEMPOTENCY_RETENTION", text);
    let slow = ("FIRSTCOME_HTTP_REQUEST_TIMEOUT", "1h");
    assert!(load(&[retention("1h")]).is_ok());
    assert!(load(&[slow, retention("61m")]).is_ok());
    for short in ["1h", "1h 15s"] {
        let mistakes = rejected(&[slow, retention(short)]);
        assert!(
            mistakes[0].contains("idempotency.retention"),
            "{mistakes:?}"
        );
    }
    for text in ["0s", "36500d"] {
        assert!(load(&[slow, retention(text)]).is_ok(), "{text}");
    }
    assert!(load(&[retention("36501d")]).is_err());
}

#[test]
fn names_of_hosts_have_no_ports_and_no_schemes() {
    let names = |text| load(&[("FIRSTCOME_HTTP_ALLOWED_HOSTS", text)]);
    let read = names("Shop.example, *.internal.example").unwrap();
    let read = read.http.allowed_hosts.0;
    assert_eq!(read, ["shop.example", "*.internal.example"]);
    assert_eq!(names("*").unwrap().http.allowed_hosts.0, ["*"]);
    for wrong in [
        "shop.example:80",
        "https://shop.example",
        "",
        "a..b",
        "**",
        "*.*.x",
    ] {
        let ConfigError(mistakes) = names(wrong).unwrap_err();
        assert!(mistakes[0].contains("http.allowed_hosts"), "{mistakes:?}");
    }
}

#[test]
fn token_types_are_configured_only_with_tokens() {
    let types = ("FIRSTCOME_AUTH_TOKEN_TYPES", "shop+jwt");
    let mistakes = rejected(&[types]);
    assert!(mistakes[0].contains("auth.token_types"), "{mistakes:?}");
    let mistakes = rejected(&[("FIRSTCOME_AUTH_TOKEN_TYPES", "a b")]);
    assert!(mistakes[0].contains("media types"), "{mistakes:?}");
}

#[test]
fn a_service_with_log_ins_may_listen_on_all_addresses_and_takes_no_tokens() {
    let sessions = ("FIRSTCOME_AUTH_MODE", "sessions");
    let listen = ("FIRSTCOME_HTTP_LISTEN", "0.0.0.0:80");
    assert!(load(&[sessions, listen]).is_ok());
    let secret = (
        "FIRSTCOME_AUTH_JWT_SECRET",
        "a secret of at least thirty-two bytes",
    );
    let mistakes = rejected(&[sessions, secret]);
    assert!(mistakes[0].contains("auth.jwt_secret"), "{mistakes:?}");
}

#[test]
fn all_errors_are_named_at_once() {
    let mistakes = rejected(&[
        ("FIRSTCOME_KAFKA_PARTITIONS", "none"),
        ("FIRSTCOME_HTTP_LISTEN", "0.0.0.0:80"),
        ("FIRSTCOME_REDIS_COLOUR", "red"),
        ("FIRSTCOME_NONSENSE_KEY", "1"),
    ]);
    for part in [
        "kafka.partitions",
        "http.listen",
        "redis.colour",
        "nonsense",
    ] {
        assert!(
            mistakes.iter().any(|mistake| mistake.contains(part)),
            "{part} missing in {mistakes:?}"
        );
    }
}

#[test]
fn every_bound_of_the_edge_is_checked() {
    for (variable, value) in [
        ("FIRSTCOME_HTTP_THREADS", "0"),
        ("FIRSTCOME_HTTP_HEADER_BYTES_MAX", "100"),
        ("FIRSTCOME_HTTP_HEADERS_MAX", "100"),
        ("FIRSTCOME_HTTP_BODY_BYTES_MAX", "1"),
        ("FIRSTCOME_HTTP_CONNECTIONS_MAX", "0"),
        ("FIRSTCOME_HTTP_CONCURRENT_REQUESTS_MAX", "0"),
        ("FIRSTCOME_HTTP_CONCURRENT_STREAMS_MAX", "0"),
        ("FIRSTCOME_HTTP_HEAD_TIMEOUT", "0s"),
        ("FIRSTCOME_HTTP_BODY_TIMEOUT", "0s"),
        ("FIRSTCOME_HTTP_REQUEST_TIMEOUT", "0s"),
        ("FIRSTCOME_HTTP_IDLE_TIMEOUT", "2h"),
        ("FIRSTCOME_ACCOUNTS_SESSION_IDLE", "0s"),
        ("FIRSTCOME_ACCOUNTS_SESSION_MAX", "1m"),
        ("FIRSTCOME_ACCOUNTS_SESSIONS_PER_ACCOUNT_MAX", "0"),
        ("FIRSTCOME_ACCOUNTS_REMEMBER_MAX", "1s"),
        ("FIRSTCOME_ACCOUNTS_REMEMBER_GRACE", "2m"),
        ("FIRSTCOME_ACCOUNTS_PASSWORD_MEMORY_KIB", "1024"),
        ("FIRSTCOME_ACCOUNTS_PASSWORD_ITERATIONS", "0"),
        ("FIRSTCOME_ACCOUNTS_PASSWORD_LANES", "0"),
        ("FIRSTCOME_ACCOUNTS_HASHING_MAX", "0"),
        ("FIRSTCOME_ACCOUNTS_HASHING_WAIT_MAX", "0s"),
        ("FIRSTCOME_ACCOUNTS_LOGIN_RATE_NAME", "none"),
        ("FIRSTCOME_WRITER_CAPACITY", "0"),
        ("FIRSTCOME_WRITER_WAIT_MAX", "0s"),
        ("FIRSTCOME_RETENTION_AUDIT_ENTRIES", "1h"),
        ("FIRSTCOME_RETENTION_REFUSED_ORDERS", "59m"),
        ("FIRSTCOME_IDEMPOTENCY_RETENTION", "59m"),
        ("FIRSTCOME_EXPORT_CONCURRENT_MAX", "0"),
        ("FIRSTCOME_EXPORT_PIECE_ROWS", "10001"),
        ("FIRSTCOME_EXPORT_PIECES_MAX", "0"),
        ("FIRSTCOME_TEST_JOBS_MAX", "17"),
        ("FIRSTCOME_TEST_RESULTS_MAX", "0"),
        ("FIRSTCOME_TEST_RESULTS_AGE", "0s"),
        ("FIRSTCOME_REWARDS_CONNECTIONS_MAX", "0"),
        ("FIRSTCOME_CONSUMERS_BATCH_RECORDS_MAX", "1001"),
        ("FIRSTCOME_CONSUMERS_PARALLEL_MAX", "0"),
        ("FIRSTCOME_CONSUMERS_SESSION_TIMEOUT", "1s"),
        ("FIRSTCOME_CONSUMERS_RETRY_INITIAL", "0s"),
        ("FIRSTCOME_AGGREGATION_SCHEDULE", "at noon"),
        ("FIRSTCOME_AGGREGATION_ZONE", "Mars/Olympus"),
        ("FIRSTCOME_AGGREGATION_CATCH_UP_DAYS", "0"),
        ("FIRSTCOME_AGGREGATION_SLICE_ROWS", "1"),
        ("FIRSTCOME_AGGREGATION_PARALLEL_MAX", "17"),
        ("FIRSTCOME_AGGREGATION_CONCURRENCY", "33"),
        ("FIRSTCOME_AGGREGATION_LEASE", "1s"),
        ("FIRSTCOME_AGGREGATION_ATTEMPTS_MAX", "0"),
        ("FIRSTCOME_AGGREGATION_RETRY_INITIAL", "0s"),
        ("FIRSTCOME_AGGREGATION_RETRY_MAX", "2m"),
        ("FIRSTCOME_AGGREGATION_RUNS_KEPT", "1h"),
        ("FIRSTCOME_ALERTS_WEBHOOK_URL", "hooks.example"),
        ("FIRSTCOME_ALERTS_WEBHOOK_TIMEOUT", "0s"),
        ("FIRSTCOME_ALERTS_SLACK_URL", "slack.example"),
        ("FIRSTCOME_ALERTS_SMTP_TIMEOUT", "2m"),
        ("FIRSTCOME_ALERTS_MAIL_FROM", "a@example.com"),
        ("FIRSTCOME_ALERTS_MAIL_TO", "a@example.com"),
        ("FIRSTCOME_ALERTS_ATTEMPTS_MAX", "0"),
        ("FIRSTCOME_ALERTS_RETRY_INITIAL", "0s"),
        ("FIRSTCOME_ALERTS_RETRY_MAX", "2m"),
    ] {
        let mistakes = rejected(&[(variable, value)]);
        let key = variable["FIRSTCOME_".len()..]
            .to_lowercase()
            .replacen('_', ".", 1);
        assert!(
            matches!(&mistakes[..], [one] if one.starts_with(&key)),
            "{key}: {mistakes:?}"
        );
    }
}

#[test]
fn aggregation_leaves_a_connection_of_the_pool_free() {
    let mysql = ("FIRSTCOME_DATABASE_URL", "mysql://u:p@h/d");
    let concurrency = |variables: &[(&str, &str)]| {
        let config = load(variables).unwrap();
        let settings = config.aggregation.settings(config.database.pool_size());
        settings.unwrap().concurrency
    };
    let (many, few) = (
        ("FIRSTCOME_AGGREGATION_CONCURRENCY", "32"),
        ("FIRSTCOME_DATABASE_CONNECTIONS_MAX", "3"),
    );
    assert_eq!(concurrency(&[mysql]), 4);
    assert_eq!(concurrency(&[mysql, many]), 15);
    assert_eq!(concurrency(&[mysql, few]), 2);
    assert_eq!(
        concurrency(&[mysql, ("FIRSTCOME_DATABASE_CONNECTIONS_MAX", "1")]),
        1
    );
    assert_eq!(concurrency(&[]), 3, "SQLite");
}
