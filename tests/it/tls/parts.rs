//! TLS to MySQL, Redis and Kafka. Each part accepts only encrypted connections and requires a client
//! certificate. A certificate of an unknown authority is refused, and nothing falls back to plain text.

use std::process::Output;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;
use tokio::process::Command;

use super::authority::Authority;
use crate::service::process::{Service, body, command};
use crate::spare::Spare;
use crate::support::{real, until};

/// Starts a part with these certificates, which ends with this process. Returns its address.
async fn spare(part: &str, stem: &str, keys: &Authority, client: &str, options: &[&str]) -> String {
    let folder = keys.folder().display().to_string();
    let shown = ["--files", &folder, "--client", client];
    let up = Spare::up(part, stem, &[&shown, options].concat()).await;
    up.address
}

fn owned(settings: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
    let settings = settings.iter();
    settings
        .map(|(name, value)| (*name, (*value).to_owned()))
        .collect()
}

/// The service does not start with these settings, and reports the reason.
async fn is_refused(settings: &[(&'static str, &str)], why: &[&str]) {
    let folder = TempDir::new().unwrap();
    let mut ran = Command::from(command(&folder, &owned(settings)));
    let ran = tokio::time::timeout(Duration::from_secs(60), ran.arg("serve").output());
    let Output { status, stderr, .. } = ran.await.expect("it goes on").unwrap();
    let said = String::from_utf8_lossy(&stderr);
    assert!(!status.success(), "{settings:?}\n{said}");
    assert!(
        why.iter().any(|why| said.contains(why)),
        "{settings:?}: {why:?}\n{said}"
    );
}

/// The service, and its own folder.
async fn serves(settings: &[(&'static str, &str)]) -> (Service, TempDir) {
    let folder = TempDir::new().unwrap();
    let settings = owned(settings);
    let service = Service::start(&folder, &settings).await;
    let campaign = json!({ "name": "encrypted", "kind": "general", "totalStock": 3 });
    let campaign = service.create(campaign).await;
    assert_eq!(service.take_part(campaign, 7).await.status(), 201);
    let checked = command(&folder, &settings)
        .args(["doctor", "--json"])
        .output()
        .unwrap();
    let told: serde_json::Value = serde_json::from_slice(&checked.stdout).unwrap();
    let findings = told["findings"].as_array().unwrap();
    let encryption: Vec<_> = findings
        .iter()
        .filter(|found| found["setting"] == "encryption")
        .collect();
    let [encryption] = encryption[..] else {
        panic!("{findings:?}");
    };
    assert_ne!(encryption["value"], "none");
    (service, folder)
}

const UNVERIFIED: [&str; 2] = ["UnknownIssuer", "certificate verify failed"];

#[tokio::test(flavor = "multi_thread")]
async fn mysql_is_reached_only_with_a_valid_certificate() {
    let keys = Authority::new();
    let address = spare(
        "mysql",
        "tls-mysql",
        &keys,
        "",
        &[
            "ssl-ca=@files/ca.pem",
            "ssl-cert=@files/named.pem",
            "ssl-key=@files/named-key.pem",
            "require-secure-transport=ON",
        ],
    )
    .await;
    let port = address.rsplit_once(':').unwrap().1;
    let url =
        |user: &str, words: &str| format!("mysql://{user}@localhost:{port}/firstcome?{words}");
    let (ca, stranger) = (keys.named("ca.pem"), keys.named("stranger.pem"));
    let pair = format!(
        "ssl-cert={}&ssl-key={}",
        keys.named("client.pem"),
        keys.named("client-key.pem")
    );

    let verified = url("root", &format!("ssl-mode=VERIFY_IDENTITY&ssl-ca={ca}"));
    drop(serves(&[("FIRSTCOME_DATABASE_URL", &verified)]).await);
    // A configured authority must be used.
    let named = url("root", &format!("ssl-ca={ca}"));
    drop(serves(&[("FIRSTCOME_DATABASE_URL", &named)]).await);

    let database = sea_orm::Database::connect(&verified).await.unwrap();
    for statement in [
        "CREATE USER shows REQUIRE X509",
        "GRANT ALL ON *.* TO shows",
    ] {
        sea_orm::ConnectionTrait::execute_unprepared(&database, statement)
            .await
            .unwrap();
    }
    let shown = url("shows", &format!("ssl-ca={ca}&{pair}"));
    drop(serves(&[("FIRSTCOME_DATABASE_URL", &shown)]).await);
    let hidden = url("shows", &format!("ssl-ca={ca}"));
    is_refused(&[("FIRSTCOME_DATABASE_URL", &hidden)], &["Access denied"]).await;

    for mode in ["ssl-mode=VERIFY_CA&", "ssl-mode=VERIFY_IDENTITY&", ""] {
        let wrong = url("root", &format!("{mode}ssl-ca={stranger}"));
        is_refused(&[("FIRSTCOME_DATABASE_URL", &wrong)], &UNVERIFIED).await;
    }
    // The certificate is not for this name.
    let elsewhere = format!("mysql://root@{address}/firstcome?ssl-ca={ca}");
    is_refused(
        &[("FIRSTCOME_DATABASE_URL", &elsewhere)],
        &["not valid for name", "NotValidForName"],
    )
    .await;
    let plain = url("root", "ssl-mode=DISABLED");
    is_refused(
        &[("FIRSTCOME_DATABASE_URL", &plain)],
        &["insecure transport", "secure transport"],
    )
    .await;
    for (words, why) in [
        (
            format!("ssl-mode=REQUIRED&ssl-ca={ca}"),
            "ssl-ca takes effect only",
        ),
        (format!("ssl-cert={ca}"), "go together"),
        (
            format!("ssl-mode=PREFERRED&{pair}"),
            "ssl-cert is always sent only",
        ),
    ] {
        is_refused(&[("FIRSTCOME_DATABASE_URL", &url("root", &words))], &[why]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_plaintext_connection_is_made_to_a_mysql_without_encryption() {
    let keys = Authority::new();
    let address = spare(
        "mysql",
        "plain-mysql",
        &keys,
        "--ssl-mode=DISABLED",
        &["tls-version="],
    )
    .await;
    let ca = keys.named("ca.pem");
    for words in [format!("ssl-ca={ca}"), "ssl-mode=REQUIRED".to_owned()] {
        let url = format!("mysql://root@{address}/firstcome?{words}");
        is_refused(
            &[("FIRSTCOME_DATABASE_URL", &url)],
            &["does not support TLS"],
        )
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_is_reached_only_with_a_valid_certificate() {
    let keys = Authority::new();
    let client =
        "--tls --cacert @files/ca.pem --cert @files/client.pem --key @files/client-key.pem";
    let address = spare(
        "redis",
        "tls-redis",
        &keys,
        client,
        &[
            "port=0",
            "tls-port=@port",
            "tls-ca-cert-file=@files/ca.pem",
            "tls-cert-file=@files/server.pem",
            "tls-key-file=@files/server-key.pem",
            "tls-auth-clients=yes",
        ],
    )
    .await;
    let url = format!("rediss://{address}");
    let (ca, stranger) = (keys.read("ca.pem"), keys.read("stranger.pem"));
    let (certificate, key) = (keys.read("client.pem"), keys.named("client-key.pem"));
    let good = [
        ("FIRSTCOME_REDIS_URL", url.as_str()),
        ("FIRSTCOME_REDIS_TLS_CA", &ca),
        ("FIRSTCOME_REDIS_TLS_CERTIFICATE", &certificate),
        ("FIRSTCOME_REDIS_TLS_KEY_FILE", &key),
    ];
    let (service, _folder) = serves(&good).await;
    // Messages between replicas are encrypted as well.
    assert!(!service.log().contains("other replicas are not"));
    drop(service);

    let mut wrong = good;
    wrong[1].1 = &stranger;
    is_refused(&wrong, &UNVERIFIED).await;
    // Without a configured authority, those of the public web are used.
    is_refused(&[good[0], good[2], good[3]], &UNVERIFIED).await;
    is_refused(&good[..2], &["cannot reach Redis"]).await;
    let plain = format!("redis://{address}");
    is_refused(&[("FIRSTCOME_REDIS_URL", &plain)], &["cannot reach Redis"]).await;
    let to_plain = real("FIRSTCOME_REDIS_URL").replace("redis://", "rediss://");
    is_refused(
        &[("FIRSTCOME_REDIS_URL", &to_plain), good[1]],
        &["cannot reach Redis"],
    )
    .await;

    let insecure = format!("{url}/#insecure");
    is_refused(&[("FIRSTCOME_REDIS_URL", &insecure)], &["protects nothing"]).await;
    is_refused(
        &[("FIRSTCOME_REDIS_URL", &plain), good[1]],
        &["only with a redis.url of rediss://"],
    )
    .await;
    is_refused(
        &[good[0], ("FIRSTCOME_REDIS_TLS_CA", "none")],
        &["certificates in PEM"],
    )
    .await;
    is_refused(&good[..3], &["go together"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_is_reached_only_with_a_valid_certificate() {
    let keys = Authority::new();
    let client = "-X security.protocol=ssl -X ssl.ca.location=@files/ca.pem -X \
                  ssl.certificate.location=@files/client.pem -X ssl.key.location=@files/client-key.pem";
    let properties = "security.protocol=SSL\nssl.truststore.type=PEM\n\
                      ssl.truststore.location=/mnt/files/ca.pem\nssl.keystore.type=PEM\n\
                      ssl.keystore.location=/mnt/files/client-both.pem\n";
    std::fs::write(keys.path("client.properties"), properties).unwrap();
    let address = spare(
        "kafka",
        "tls-kafka",
        &keys,
        client,
        &[
            // The listener of that name speaks TLS anyway.
            "listener.security.protocol.map=PLAINTEXT:SSL,CONTROLLER:PLAINTEXT",
            "ssl.keystore.type=PEM",
            "ssl.keystore.location=@files/server-both.pem",
            "ssl.truststore.type=PEM",
            "ssl.truststore.location=@files/ca.pem",
            "ssl.client.auth=required",
        ],
    )
    .await;
    let (ca, stranger) = (keys.named("ca.pem"), keys.named("stranger.pem"));
    let (certificate, key) = (keys.named("client.pem"), keys.named("client-key.pem"));
    let good = [
        ("FIRSTCOME_KAFKA_BROKERS", address.as_str()),
        ("FIRSTCOME_KAFKA_SECURITY_PROTOCOL", "ssl"),
        ("FIRSTCOME_KAFKA_TLS_CA_FILE", &ca),
        ("FIRSTCOME_KAFKA_TLS_CERTIFICATE_FILE", &certificate),
        ("FIRSTCOME_KAFKA_TLS_KEY_FILE", &key),
        ("FIRSTCOME_KAFKA_CREATE_TOPICS", "true"),
        ("FIRSTCOME_CONSUMERS_ENABLED", "points"),
    ];
    let (service, _folder) = serves(&good).await;
    until("the event is published", async || {
        let outbox = service.get("/api/admin/outbox");
        let outbox = outbox
            .bearer_auth(crate::service::process::ADMIN_TOKEN)
            .send()
            .await;
        body(outbox.unwrap()).await["pending"] == 0
    })
    .await;
    drop(service);

    let mut wrong = good;
    wrong[2].1 = &stranger;
    is_refused(&wrong, &UNVERIFIED).await;
    is_refused(&[good[0], good[1], good[2]], &["cannot reach Kafka"]).await;
    is_refused(&good[..1], &["cannot reach Kafka"]).await;
    let plain = real("FIRSTCOME_KAFKA_BROKERS");
    let to_plain = [
        ("FIRSTCOME_KAFKA_BROKERS", plain.as_str()),
        good[1],
        good[2],
    ];
    is_refused(&to_plain, &["cannot reach Kafka"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn contradictory_kafka_settings_are_named_at_start() {
    let keys = Authority::new();
    let (ca, certificate) = (keys.named("ca.pem"), keys.named("client.pem"));
    let brokers = ("FIRSTCOME_KAFKA_BROKERS", "127.0.0.1:1");
    let ssl = ("FIRSTCOME_KAFKA_SECURITY_PROTOCOL", "ssl");
    let ca = ("FIRSTCOME_KAFKA_TLS_CA_FILE", ca.as_str());
    let certificate = ("FIRSTCOME_KAFKA_TLS_CERTIFICATE_FILE", certificate.as_str());
    for (settings, why) in [
        (vec![ssl], "only with kafka.brokers"),
        (
            vec![brokers, ca],
            "only with a kafka.security_protocol of ssl",
        ),
        (vec![brokers, ssl, certificate], "go together"),
        (
            vec![brokers, ("FIRSTCOME_KAFKA_SECURITY_PROTOCOL", "sasl_ssl")],
            "both are needed",
        ),
        (
            vec![brokers, ("FIRSTCOME_KAFKA_SECURITY_PROTOCOL", "tls")],
            "kafka.security_protocol",
        ),
    ] {
        is_refused(&settings, &[why]).await;
    }
}
