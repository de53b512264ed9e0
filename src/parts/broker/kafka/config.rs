//! `[kafka]`: the configuration of the broker's client.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use crate::domain::KeyChoice;
use crate::domain::words::words;
use crate::runtime::settings::settings;

words! {
    /// The protocol of connections to brokers.
    #[derive(Default)]
    pub enum SecurityProtocol {
        /// Plaintext, not authenticated.
        #[default]
        Plaintext = "plaintext",
        /// TLS.
        Ssl = "ssl",
        /// Plaintext, SASL-authenticated.
        SaslPlaintext = "sasl_plaintext",
        /// TLS, SASL-authenticated.
        SaslSsl = "sasl_ssl",
    }
}

impl SecurityProtocol {
    /// Whether connections are encrypted.
    #[must_use]
    pub const fn is_encrypted(self) -> bool {
        matches!(self, Self::Ssl | Self::SaslSsl)
    }

    /// Whether clients authenticate by SASL.
    #[must_use]
    pub const fn is_authenticated(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslSsl)
    }
}

words! {
    /// A SASL mechanism.
    pub enum SaslMechanism {
        /// The password itself.
        Plain = "PLAIN",
        /// Proof of the password, with SHA-256.
        ScramSha256 = "SCRAM-SHA-256",
        /// Proof of the password, with SHA-512.
        ScramSha512 = "SCRAM-SHA-512",
    }
}

settings! {
    /// `[kafka]`: the broker.
    KafkaConfig in "kafka" {
        /// `host:port`, separated by commas; absent: in this process
        brokers: Option<String> = None;
        /// Encryption and authentication: [tls.md](tls.md)
        security_protocol: SecurityProtocol = SecurityProtocol::Plaintext;
        /// Certificate authorities of the brokers, in PEM; `FIRSTCOME_KAFKA_TLS_CA_FILE` names a file of them. These
        /// three are used only with `ssl` and `sasl_ssl`
        tls_ca: Option<String> = None, shown "those of the system";
        /// The client's certificate, in PEM
        tls_certificate: Option<String> = None;
        /// Its private key, in PEM
        tls_key: Option<SecretString> = None;
        /// The SASL mechanism, with which the service proves that it knows the password
        sasl_mechanism: SaslMechanism = SaslMechanism::ScramSha512;
        /// Needed with `sasl_plaintext` and `sasl_ssl`
        sasl_username: Option<String> = None;
        /// Needed with `sasl_plaintext` and `sasl_ssl`
        sasl_password: Option<SecretString> = None;
        /// Topics are `PREFIX.participation.v1`, `PREFIX.campaign.v1` and `PREFIX.order.v1`, each with a `.dlq`, and
        /// `PREFIX.participation.v1.points.dlq` and `….coupons.dlq`
        topic_prefix: String = "firstcome".to_owned();
        /// Key of a record. Events with the same key are published in order
        key: KeyChoice = KeyChoice::Participation;
        /// Create missing topics; without it a missing topic stops the start
        create_topics: bool = false;
        /// Partitions of topics that are created
        partitions: u32 = 3, in 1..=1_000;
        /// Longest wait for an acknowledgement. A relay's lease must be longer than twice this
        message_timeout: Duration = Duration::from_secs(4), in Duration::from_secs(1)..=Duration::from_secs(60);
        /// How long a record waits for others to share its request
        linger: Duration = Duration::from_millis(1), in ..=Duration::from_secs(1);
        /// Producers side by side, each for a part of the partitions
        producers: u16 = 3, in 1..=16;
    }
    beside {
        /// Shown in the brokers' logs and quotas.
        client_id: String = "firstcome".to_owned();
        /// `none`, `lz4`, `zstd`, `snappy` or `gzip`.
        compression: String = "lz4".to_owned();
        /// Limit of a batch; the topics' `max.message.bytes` must be at least this.
        message_bytes_max: u32 = 1_000_000;
        /// Records in the producer's own queue.
        queue_records_max: u32 = 50_000;
        /// How long requests for metadata may take.
        metadata_timeout: Duration = Duration::from_secs(5);
    }
}

impl KafkaConfig {
    /// The settings of librdkafka for encryption and authentication. They contain secrets.
    pub(super) fn security(&self) -> Vec<(&'static str, String)> {
        let protocol = self.security_protocol;
        let mut settings = vec![("security.protocol", protocol.as_str().to_owned())];
        let mut set = |name, value: Option<&str>| {
            settings.extend(value.map(|value| (name, value.to_owned())));
        };
        let exposed =
            |secret: Option<&SecretString>| secret.map(|secret| secret.expose_secret().to_owned());
        if protocol.is_encrypted() {
            set("ssl.ca.pem", self.tls_ca.as_deref());
            set("ssl.certificate.pem", self.tls_certificate.as_deref());
            set("ssl.key.pem", exposed(self.tls_key.as_ref()).as_deref());
            // Another certificate of the same authority must not be accepted as the broker's.
            set("ssl.endpoint.identification.algorithm", Some("https"));
        }
        if protocol.is_authenticated() {
            set("sasl.mechanism", Some(self.sasl_mechanism.as_str()));
            set("sasl.username", self.sasl_username.as_deref());
            set(
                "sasl.password",
                exposed(self.sasl_password.as_ref()).as_deref(),
            );
        }
        settings
    }
}
