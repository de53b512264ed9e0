//! Rules for encryption and authentication in `[redis]` and `[kafka]`. A setting without effect is a mistake: its
//! author believes that connections are encrypted.

use secrecy::SecretString;

use crate::access::identity::trust;
use crate::parts::broker::kafka::{KafkaConfig, SecurityProtocol};
use crate::parts::gate::RedisConfig;

/// Checks `[redis]`.
pub(super) fn check_redis(redis: &RedisConfig, require: &mut impl FnMut(bool, &str)) {
    let given = [
        redis.tls_ca.is_some(),
        redis.tls_certificate.is_some(),
        redis.tls_key.is_some(),
    ];
    require(
        redis.is_encrypted() || given == [false; 3],
        "redis.tls_ca, redis.tls_certificate, redis.tls_key: are used only with a redis.url of rediss://",
    );
    require(
        !redis.is_partly_encrypted(),
        "redis.url: either all nodes are encrypted or none",
    );
    require(
        redis.url.is_some() || !redis.cluster,
        "redis.cluster: is used only with redis.url",
    );
    require(
        !redis.urls().any(|url| url.contains('#')),
        "redis.url: a certificate that is not verified protects nothing; use redis.tls_ca",
    );
    let pair = (redis.tls_certificate.as_ref(), redis.tls_key.as_ref());
    check_certificates("redis", pair, redis.tls_ca.as_deref(), require);
}

/// Checks `[kafka]`.
pub(super) fn check_kafka(kafka: &KafkaConfig, require: &mut impl FnMut(bool, &str)) {
    let protocol = kafka.security_protocol;
    require(
        protocol == SecurityProtocol::Plaintext || kafka.brokers.is_some(),
        "kafka.security_protocol: is used only with kafka.brokers",
    );
    require(
        protocol == SecurityProtocol::Plaintext || cfg!(feature = "kafka-tls"),
        "kafka.security_protocol: this program was built without the feature kafka-tls",
    );
    let given = [
        kafka.tls_ca.is_some(),
        kafka.tls_certificate.is_some(),
        kafka.tls_key.is_some(),
    ];
    require(
        protocol.is_encrypted() || given == [false; 3],
        "kafka.tls_ca, kafka.tls_certificate, kafka.tls_key: are used only with a kafka.security_protocol of ssl or \
         sasl_ssl",
    );
    let pair = (kafka.tls_certificate.as_ref(), kafka.tls_key.as_ref());
    check_certificates("kafka", pair, kafka.tls_ca.as_deref(), require);
    let credentials = [kafka.sasl_username.is_some(), kafka.sasl_password.is_some()];
    require(
        credentials == [protocol.is_authenticated(); 2],
        "kafka.sasl_username, kafka.sasl_password: both are needed with a kafka.security_protocol of sasl_plaintext or \
         sasl_ssl, and used only with them",
    );
}

fn check_certificates(
    section: &str,
    (certificate, key): (Option<&String>, Option<&SecretString>),
    authorities: Option<&str>,
    require: &mut impl FnMut(bool, &str),
) {
    require(
        certificate.is_some() == key.is_some(),
        &format!("{section}.tls_certificate, {section}.tls_key: go together"),
    );
    if authorities.is_some()
        && let Err(error) = trust(authorities)
    {
        require(false, &format!("{section}.tls_ca: {error}"));
    }
}
