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
fn cookies_are_secure_except_on_loopback() {
    let is_secure = |more: &[(&str, &str)], address: &str| {
        let mode = [("FIRSTCOME_AUTH_MODE", "sessions")];
        let mut config = load(&[&mode, more].concat()).unwrap();
        config.http.listen = (address.parse::<std::net::IpAddr>().unwrap(), 80).into();
        config.is_cookie_secure()
    };
    assert!(!is_secure(&[], "127.0.0.1") && !is_secure(&[], "::1"));
    assert!(is_secure(&[], "0.0.0.0") && is_secure(&[], "192.0.2.1"));
    let cookie_secure = |value| [("FIRSTCOME_ACCOUNTS_COOKIE_SECURE", value)];
    assert!(is_secure(&cookie_secure("true"), "127.0.0.1"));
    assert!(!is_secure(&cookie_secure("false"), "192.0.2.1"));
    let at_proxy = ("FIRSTCOME_HTTP_TLS_AT_PROXY", "true");
    assert!(is_secure(&[at_proxy], "127.0.0.1"));
    let unless = ("FIRSTCOME_ACCOUNTS_COOKIE_SECURE", "false");
    assert!(!is_secure(&[at_proxy, unless], "127.0.0.1"));
}

#[test]
fn allowed_origins_are_exact_and_with_secure_cookies_encrypted() {
    let origins = |text| ("FIRSTCOME_HTTP_CORS_ORIGINS", text);
    assert!(load(&[]).unwrap().http.cors_origins.is_empty());
    let config = load(&[origins("https://a.example,http://localhost:5173")]).unwrap();
    assert!(!config.http.cors_origins.is_empty());
    for wrong in ["*", "null", "shop.example", "https://shop.example/"] {
        let mistakes = rejected(&[origins(wrong)]);
        assert!(
            mistakes
                .iter()
                .any(|mistake| mistake.contains("http.cors_origins")),
            "{mistakes:?}"
        );
    }
    let age = ("FIRSTCOME_HTTP_CORS_MAX_AGE", "25h");
    assert!(rejected(&[age])[0].contains("http.cors_max_age"));
    let sessions = ("FIRSTCOME_AUTH_MODE", "sessions");
    let at_proxy = ("FIRSTCOME_HTTP_TLS_AT_PROXY", "true");
    let plain = origins("https://a.example,http://b.example");
    assert!(
        load(&[sessions, plain]).is_ok(),
        "plain cookies, on loopback"
    );
    let mistakes = rejected(&[sessions, at_proxy, plain]);
    assert!(mistakes[0].contains("http.cors_origins"), "{mistakes:?}");
    assert!(load(&[sessions, at_proxy, origins("https://a.example")]).is_ok());
}

#[test]
fn responses_over_tls_have_strict_transport_security() {
    let max_age = |more: &[(&str, &str)]| load(more).unwrap().http.strict_transport();
    let at_proxy = ("FIRSTCOME_HTTP_TLS_AT_PROXY", "true");
    let age = |text| ("FIRSTCOME_HTTP_HSTS_MAX_AGE", text);
    assert_eq!(max_age(&[]), None);
    assert_eq!(max_age(&[age("1d")]), None);
    let year = Duration::from_secs(365 * 86_400);
    assert_eq!(max_age(&[at_proxy]), Some(year));
    assert_eq!(max_age(&[at_proxy, age("0s")]), None);
    let mistakes = rejected(&[age("731d")]);
    assert!(mistakes[0].contains("http.hsts_max_age"), "{mistakes:?}");
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
fn all_errors_in_the_settings_of_mail_are_named_and_no_password_is_repeated() {
    let url = |url| ("FIRSTCOME_ALERTS_SMTP_URL", url);
    let from = ("FIRSTCOME_ALERTS_MAIL_FROM", "Firstcome <f@example.com>");
    let to = (
        "FIRSTCOME_ALERTS_MAIL_TO",
        "a@example.com, B C <b@example.com>",
    );
    for right in [
        "smtp://mail.example",
        "smtp://127.0.0.1:2525",
        "smtp://u:hush@127.0.0.1:2525",
        "smtp://u:hush@[::1]",
        "smtp://u:hush@localhost",
        "smtp://u:hush@mail.example:587?tls=required",
        "smtps://u:hush@mail.example",
    ] {
        let config = load(&[url(right), from, to]).unwrap();
        assert_eq!(config.alerts.mail_to.0.len(), 2, "{right}");
    }
    for wrong in [
        "mail.example",
        "http://mail.example",
        "smtp:",
        "smtp://u:hush@mail.example",
        "smtp://u:hush@mail.example?tls=opportunistic",
        "smtps://u@mail.example",
        "smtps://u:hush@mail.example?ssl=1",
        "smtp://mail.example?tls=hush",
    ] {
        let mistakes = rejected(&[url(wrong), from, to]);
        assert!(
            matches!(&mistakes[..], [one] if one.starts_with("alerts.smtp_url: ") && !one.contains("hush")),
            "{wrong}: {mistakes:?}"
        );
    }
    let server = url("smtp://mail.example");
    for (variables, key) in [
        ([server, to].as_slice(), "alerts.mail_from: "),
        (&[server, from], "alerts.mail_to: "),
        (
            &[server, from, (to.0, "a@example.com, b")],
            "alerts.mail_to: ",
        ),
        (&[server, (from.0, "f@"), to], "alerts.mail_from: "),
    ] {
        let mistakes = rejected(variables);
        assert!(
            matches!(&mistakes[..], [one] if one.starts_with(key)),
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

const JWT: (&str, &str) = ("FIRSTCOME_AUTH_MODE", "jwt");
const ISSUER: (&str, &str) = ("FIRSTCOME_AUTH_ISSUER", "https://issuer.example");
const AUDIENCE: (&str, &str) = ("FIRSTCOME_AUTH_AUDIENCE", "firstcome");
const SECRET: (&str, &str) = (
    "FIRSTCOME_AUTH_JWT_SECRET",
    "12345678901234567890123456789012",
);
const PLACE: (&str, &str) = ("FIRSTCOME_AUTH_JWKS_URL", "https://issuer.example/keys");

#[test]
fn requests_with_a_token_may_come_from_any_site() {
    let open = ("FIRSTCOME_HTTP_LISTEN", "0.0.0.0:80");
    for keys in [SECRET, PLACE] {
        assert!(load(&[JWT, ISSUER, AUDIENCE, keys, open]).is_ok());
    }
    let mistakes = rejected(&[open]);
    assert!(matches!(&mistakes[..], [one] if one.starts_with("http.listen: ")));
    assert!(load(&[open, ("FIRSTCOME_HTTP_ALLOW_TRUSTED", "true")]).is_ok());
}

#[test]
fn accepted_algorithms_default_to_those_of_the_keys() {
    let accepted = |more: &[(&str, &str)]| {
        let variables = [&[JWT, ISSUER, AUDIENCE][..], more].concat();
        load(&variables).unwrap().auth.accepted()
    };
    assert_eq!(accepted(&[SECRET]), [Hs256]);
    assert_eq!(accepted(&[PLACE]), [Rs256, Es256, EdDsa]);
    let named = ("FIRSTCOME_AUTH_ALGORITHMS", "EdDSA, RS256");
    assert_eq!(accepted(&[PLACE, named]), [EdDsa, Rs256]);
}

#[test]
fn all_errors_in_the_settings_of_tokens_are_named() {
    let check = |variables: &[(&str, &str)], mistake: &str| {
        let mistakes = rejected(variables);
        let named = mistakes.iter().any(|one| one.starts_with(mistake));
        assert!(named, "{variables:?}: {mistakes:?}");
    };
    let short = ("FIRSTCOME_AUTH_JWT_SECRET", &SECRET.1[..31]);
    let no_keys = "auth.jwt_secret, auth.jwks, auth.jwks_url: ";
    check(&[JWT, AUDIENCE, PLACE], "auth.issuer: ");
    check(&[JWT, ISSUER, PLACE], "auth.audience: ");
    check(&[JWT, ISSUER, AUDIENCE], no_keys);
    check(&[JWT, ISSUER, AUDIENCE, short], "auth.jwt_secret: ");
    check(&[ISSUER], "auth.issuer: ");
    check(&[SECRET], "auth.jwt_secret: ");
    check(&[PLACE], "auth.jwks_url: ");
    for (key, value) in [
        ("jwks_url", "http://issuer.example"),
        ("jwks_ca", "none"),
        ("algorithms", "none"),
        ("algorithms", ""),
        ("algorithms", "HS256"),
        ("algorithms", "RS256,HS256"),
        ("clock_skew", "6m"),
        ("jwks_refresh", "0s"),
        ("jwks_refresh_min", "6m"),
        ("jwks_timeout", "0s"),
        ("jwks_bytes_max", "1"),
        ("mode", "open"),
    ] {
        let variable = format!("FIRSTCOME_AUTH_{}", key.to_uppercase());
        let variables = [JWT, ISSUER, AUDIENCE, PLACE, (&variable, value)];
        check(&variables, &format!("auth.{key}: "));
    }
}

#[test]
fn all_keys_are_of_one_kind_and_at_least_one_is_usable() {
    let both = [JWT, ISSUER, AUDIENCE, PLACE, SECRET];
    assert!(load(&both).is_err(), "two kinds of keys");
    let keys = [
        JWT,
        ISSUER,
        AUDIENCE,
        ("FIRSTCOME_AUTH_JWKS", "{\"keys\": []}"),
    ];
    let mistakes = rejected(&keys);
    assert!(
        matches!(&mistakes[..], [one] if one.starts_with("auth.jwks: ")),
        "{mistakes:?}"
    );
}

#[test]
fn a_secret_is_never_printed() {
    let config = load(&[
        ("FIRSTCOME_ADMIN_TOKEN", "hush, the admin token"),
        ("FIRSTCOME_DATABASE_URL", "mysql://u:hush@h/d"),
        JWT,
        ISSUER,
        AUDIENCE,
        (
            "FIRSTCOME_AUTH_JWT_SECRET",
            "hush, this is the secret of tokens",
        ),
        ("FIRSTCOME_ALERTS_WEBHOOK_URL", "https://h/hush"),
        ("FIRSTCOME_ALERTS_SLACK_URL", "https://h/hush"),
        ("FIRSTCOME_ALERTS_SMTP_URL", "smtps://u:hush@h"),
        ("FIRSTCOME_ALERTS_MAIL_FROM", "a@example.com"),
        ("FIRSTCOME_ALERTS_MAIL_TO", "b@example.com"),
    ])
    .unwrap();
    assert!(!format!("{config:?}").contains("hush"));
}
