//! The environment as keys and values of the configuration.

use std::collections::BTreeMap;

use figment::value::Value;

/// Prefix of our variables.
const PREFIX: &str = "FIRSTCOME_";
/// Variables that are not looked at: those of the scripts that provide the real parts.
const FOREIGN_SECTIONS: [&str; 1] = ["parts"];
/// Another: it says which schedules the tests run.
const OF_TESTS: &str = "FIRSTCOME_TEST_SEEDS";
/// Values that stay text even when they look like numbers.
const TEXT_KEYS: [&str; 46] = [
    "admin.token",
    "admin.token_previous",
    "auth.issuer",
    "auth.audience",
    "auth.token_types",
    "auth.jwt_secret",
    "auth.jwks",
    "auth.jwks_url",
    "auth.jwks_ca",
    "challenge.required",
    "challenge.secret",
    "challenge.previous_secret",
    "database.url",
    "redis.url",
    "redis.prefix",
    "redis.tls_ca",
    "redis.tls_certificate",
    "redis.tls_key",
    "kafka.brokers",
    "kafka.tls_ca",
    "kafka.tls_certificate",
    "kafka.tls_key",
    "kafka.sasl_username",
    "kafka.sasl_password",
    "kafka.topic_prefix",
    "data.dir",
    "http.listen",
    "http.allowed_hosts",
    "http.tls_certificate",
    "http.tls_key",
    "http.trusted_proxies",
    "limits.address",
    "limits.address_reads",
    "limits.exempt",
    "limits.user",
    "limits.campaign",
    "accounts.login_rate_address",
    "accounts.login_rate_name",
    "rewards.database_url",
    "consumers.enabled",
    "aggregation.schedule",
    "aggregation.zone",
    "aggregation.webhook_url",
    "traces.endpoint",
    "traces.headers",
    "traces.service_name",
];

/// Our variables as keys and values.
pub(super) fn variables(
    environment: impl Iterator<Item = (String, String)>,
    mistakes: &mut Vec<String>,
) -> BTreeMap<String, Value> {
    let mut values = BTreeMap::new();
    for (name, value) in environment {
        let Some(rest) = name.strip_prefix(PREFIX).filter(|_| name != OF_TESTS) else {
            continue;
        };
        let (rest, value) = match rest.strip_suffix("_FILE") {
            Some(rest) => match std::fs::read_to_string(&value) {
                Ok(text) => (rest, text.trim_end_matches(['\n', '\r']).to_owned()),
                Err(error) => {
                    mistakes.push(format!("{name}: cannot read the file: {error}"));
                    continue;
                }
            },
            None => (rest, value),
        };
        let rest = rest.to_ascii_lowercase();
        match rest.split_once('_') {
            Some((section, _)) if FOREIGN_SECTIONS.contains(&section) => {}
            Some((section, key)) => {
                let key = format!("{section}.{key}");
                values.insert(key.clone(), typed(&key, &value));
            }
            None => mistakes.push(format!("{name}: is not a setting")),
        }
    }
    values
}

/// Text where text is due, otherwise what the value looks like.
pub(super) fn typed(key: &str, value: &str) -> Value {
    if TEXT_KEYS.contains(&key) {
        return Value::from(value);
    }
    if let Ok(number) = value.parse::<i64>() {
        return Value::from(number);
    }
    let is_decimal = value
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    if let (true, Ok(number)) = (is_decimal, value.parse::<f64>()) {
        return Value::from(number);
    }
    match value {
        "true" => Value::from(true),
        "false" => Value::from(false),
        _ => Value::from(value),
    }
}
