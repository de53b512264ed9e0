//! The parts that are elsewhere: the sections `[redis]` and `[kafka]`, what they say of encryption and of who
//! we are, as the parts take it, and what they must keep to. What is set and would be passed over in silence
//! is a mistake: whoever set it believes that connections are encrypted.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::sections::section;
use crate::access::identity::trust;
use crate::domain::KeyChoice;
use crate::parts::gate::Layout;

/// How brokers are talked to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecurityProtocol {
    /// As it is.
    #[default]
    Plaintext,
    /// Encrypted.
    Ssl,
    /// As it is, by who says who they are.
    SaslPlaintext,
    /// Encrypted, by who says who they are.
    SaslSsl,
}

impl SecurityProtocol {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Plaintext => "plaintext",
            Self::Ssl => "ssl",
            Self::SaslPlaintext => "sasl_plaintext",
            Self::SaslSsl => "sasl_ssl",
        }
    }

    /// Whether what is said is encrypted.
    #[must_use]
    pub const fn is_encrypted(self) -> bool {
        matches!(self, Self::Ssl | Self::SaslSsl)
    }

    const fn names_somebody(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslSsl)
    }
}

/// How it is shown who we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum SaslMechanism {
    /// By the password itself.
    #[serde(rename = "PLAIN")]
    Plain,
    /// By a proof of knowing it.
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    /// The same, longer.
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
}

impl SaslMechanism {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

section! {
    /// `[redis]`: the gate.
    Redis {
        /// `redis://…`, of a cluster several with commas between them; absent: in this process.
        url: Option<SecretString> = None,
        /// Whether that is a Redis Cluster; more than one address can be nothing else.
        cluster: bool = false,
        /// Certificates, in PEM, that vouch for `rediss://…`; absent: those of the public web.
        tls_ca: Option<String> = None,
        /// The certificate to show, in PEM.
        tls_certificate: Option<String> = None,
        /// Its key, in PEM.
        tls_key: Option<SecretString> = None,
        /// Prefix of all keys.
        prefix: String = "firstcome".to_owned(),
        /// Longest wait for a connection.
        #[serde(with = "humantime_serde")]
        connect_timeout: Duration = Duration::from_secs(2),
        /// Longest wait for an answer.
        #[serde(with = "humantime_serde")]
        response_timeout: Duration = Duration::from_secs(1),
    }
}
section! {
    /// `[kafka]`: the broker.
    Kafka {
        /// `host:port,…`; absent: in this process.
        brokers: Option<String> = None,
        /// `plaintext`, `ssl`, `sasl_plaintext` or `sasl_ssl`.
        security_protocol: SecurityProtocol = SecurityProtocol::Plaintext,
        /// Certificates, in PEM, that vouch for brokers; absent: those of the system.
        tls_ca: Option<String> = None,
        /// The certificate to show, in PEM.
        tls_certificate: Option<String> = None,
        /// Its key, in PEM.
        tls_key: Option<SecretString> = None,
        /// `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.
        sasl_mechanism: SaslMechanism = SaslMechanism::ScramSha512,
        /// Who we are.
        sasl_username: Option<String> = None,
        /// What shows it.
        sasl_password: Option<SecretString> = None,
        /// Prefix of all topics.
        topic_prefix: String = "firstcome".to_owned(),
        /// What the key of a record is: `participation`, `user` or `campaign`.
        key: KeyChoice = KeyChoice::Participation,
        /// Whether missing topics are created.
        create_topics: bool = false,
        /// Partitions of topics that are created.
        partitions: u32 = 3,
        /// Longest wait for an acknowledgement.
        #[serde(with = "humantime_serde")]
        message_timeout: Duration = Duration::from_secs(4),
        /// How long a record waits for others to share its request.
        #[serde(with = "humantime_serde")]
        linger: Duration = Duration::from_millis(1),
        /// Producers side by side, each for its share of the partitions.
        producers: u16 = 3,
    }
}

impl Redis {
    /// Whether the URL asks for encryption.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.urls().all(is_encrypted)
    }

    /// What is there.
    #[must_use]
    pub fn layout(&self) -> Layout {
        if self.cluster || self.urls().count() > 1 {
            Layout::Cluster
        } else {
            Layout::Single
        }
    }

    fn urls(&self) -> impl Iterator<Item = &str> {
        let urls = self.url.as_ref().map_or("", |url| url.expose_secret());
        urls.split(',').map(str::trim)
    }

    /// Requires what must hold.
    pub(super) fn check(&self, require: &mut impl FnMut(bool, &str)) {
        let given = [
            self.tls_ca.is_some(),
            self.tls_certificate.is_some(),
            self.tls_key.is_some(),
        ];
        require(
            self.is_encrypted() || given == [false; 3],
            "redis.tls_ca, redis.tls_certificate, redis.tls_key: are used with a redis.url of rediss:// alone",
        );
        require(
            self.is_encrypted() || !self.urls().any(is_encrypted),
            "redis.url: either all nodes are encrypted or none",
        );
        require(
            self.url.is_some() || !self.cluster,
            "redis.cluster: is used with redis.url alone",
        );
        require(
            !self.urls().any(|url| url.contains('#')),
            "redis.url: a certificate that is not verified protects from nobody; use redis.tls_ca",
        );
        pair(
            "redis",
            self.tls_certificate.as_ref(),
            self.tls_key.as_ref(),
            require,
        );
        authorities("redis", self.tls_ca.as_deref(), require);
    }
}

impl Kafka {
    /// What librdkafka is told.
    #[must_use]
    pub fn security(&self) -> Vec<(&'static str, String)> {
        let protocol = self.security_protocol;
        let mut settings = vec![("security.protocol", protocol.as_str().to_owned())];
        let mut tell = |name, value: Option<&str>| {
            settings.extend(value.map(|value| (name, value.to_owned())));
        };
        let shown =
            |secret: Option<&SecretString>| secret.map(|secret| secret.expose_secret().to_owned());
        if protocol.is_encrypted() {
            tell("ssl.ca.pem", self.tls_ca.as_deref());
            tell("ssl.certificate.pem", self.tls_certificate.as_deref());
            tell("ssl.key.pem", shown(self.tls_key.as_ref()).as_deref());
            // Whoever has some certificate of the authority is not yet the broker.
            tell("ssl.endpoint.identification.algorithm", Some("https"));
        }
        if protocol.names_somebody() {
            tell("sasl.mechanism", Some(self.sasl_mechanism.as_str()));
            tell("sasl.username", self.sasl_username.as_deref());
            tell(
                "sasl.password",
                shown(self.sasl_password.as_ref()).as_deref(),
            );
        }
        settings
    }

    /// Requires what must hold.
    pub(super) fn check_security(&self, require: &mut impl FnMut(bool, &str)) {
        let protocol = self.security_protocol;
        require(
            protocol == SecurityProtocol::Plaintext || self.brokers.is_some(),
            "kafka.security_protocol: is used with kafka.brokers alone",
        );
        require(
            protocol == SecurityProtocol::Plaintext || cfg!(feature = "kafka-tls"),
            "kafka.security_protocol: this program was built without the feature kafka-tls",
        );
        let given = [
            self.tls_ca.is_some(),
            self.tls_certificate.is_some(),
            self.tls_key.is_some(),
        ];
        require(
            protocol.is_encrypted() || given == [false; 3],
            "kafka.tls_ca, kafka.tls_certificate, kafka.tls_key: are used with a kafka.security_protocol of \
             ssl or sasl_ssl alone",
        );
        pair(
            "kafka",
            self.tls_certificate.as_ref(),
            self.tls_key.as_ref(),
            require,
        );
        authorities("kafka", self.tls_ca.as_deref(), require);
        let named = [self.sasl_username.is_some(), self.sasl_password.is_some()];
        require(
            named == [protocol.names_somebody(); 2],
            "kafka.sasl_username, kafka.sasl_password: both are needed with a kafka.security_protocol of \
             sasl_plaintext or sasl_ssl, and used with them alone",
        );
    }
}

fn is_encrypted(url: &str) -> bool {
    url.starts_with("rediss:") || url.starts_with("valkeys:")
}

fn pair(
    section: &str,
    certificate: Option<&String>,
    key: Option<&SecretString>,
    require: &mut impl FnMut(bool, &str),
) {
    require(
        certificate.is_some() == key.is_some(),
        &format!("{section}.tls_certificate, {section}.tls_key: go together"),
    );
}

fn authorities(section: &str, pem: Option<&str>, require: &mut impl FnMut(bool, &str)) {
    if pem.is_some()
        && let Err(error) = trust(pem)
    {
        require(false, &format!("{section}.tls_ca: {error}"));
    }
}
