//! The topics over the admin API: on the embedded broker, on the real one, and while a broker is away.

use rdkafka::admin::AdminOptions;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::process::{ADMIN_TOKEN, Service, body};
use super::real::parts;
use super::records::admin;
use super::sale::rush;
use super::tokens::{token, with_secret};
use crate::relay::outage::spare;
use crate::support::{unique, until};

const PATH: &str = "/api/admin/kafka/partitions";

async fn read(service: &Service) -> (u16, Value) {
    let answer = service.get(PATH).bearer_auth(ADMIN_TOKEN).send().await;
    let answer = answer.unwrap();
    (answer.status().as_u16(), body(answer).await)
}

async fn topics(service: &Service) -> Value {
    let (status, seen) = read(service).await;
    assert_eq!(status, 200, "{seen}");
    seen
}

/// Number of records in a topic, by its offsets; none: an offset is unknown.
fn written(topic: &Value) -> Option<i64> {
    let partitions = topic["partitions"].as_array().unwrap().iter();
    partitions.map(|one| one["endOffset"].as_i64()).sum()
}

/// The complete data: a new topic, or a topic of a restarted broker, needs a moment.
async fn settled(service: &Service) -> Value {
    until("each partition says its offsets", async || {
        let (status, seen) = read(service).await;
        status == 200 && !seen["topics"].to_string().contains("null")
    })
    .await;
    topics(service).await
}

/// Each topic has this number of partitions, each with a leader and all copies, from offset 0 on.
fn are_whole(seen: &Value, prefix: &str, partitions: usize) {
    let topics = seen["topics"].as_array().unwrap();
    let names: Vec<_> = topics.iter().map(|topic| topic["name"].clone()).collect();
    let expected = [
        "participation.v1",
        "participation.v1.dlq",
        "participation.v1.points.dlq",
        "participation.v1.coupons.dlq",
        "campaign.v1",
        "campaign.v1.dlq",
        "order.v1",
        "order.v1.dlq",
    ];
    assert_eq!(
        names,
        expected.map(|name| json!(format!("{prefix}.{name}")))
    );
    for topic in topics {
        assert_eq!(topic["exists"], true);
        assert_eq!(topic["partitionCount"], partitions);
        let found = topic["partitions"].as_array().unwrap();
        assert_eq!(found.len(), partitions);
        for (number, partition) in found.iter().enumerate() {
            assert_eq!(partition["partition"], number);
            assert!(partition["leader"].is_i64(), "{topic}");
            assert!(partition["replicas"].as_u64() >= Some(1), "{topic}");
            assert_eq!(partition["replicas"], partition["inSyncReplicas"]);
            assert_eq!(partition["firstOffset"], 0);
        }
    }
}

/// Sells `stock` units, one to each user, and waits until the offsets show it.
async fn grow_by(service: &Service, stock: u32) {
    let before = written(&settled(service).await["topics"][0]).unwrap();
    let sale = rush(service, stock.into(), stock.into(), 0).await;
    assert_eq!(sale.accepted.len(), usize::try_from(stock).unwrap());
    until("all of them are in the topic", async || {
        let now = written(&topics(service).await["topics"][0]);
        let grown = now.map(|now| now - before);
        assert!(
            grown <= Some(stock.into()),
            "each is published once: {grown:?}"
        );
        grown == Some(stock.into())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn embedded_topics_have_the_requested_partitions_and_grow_with_each_sale() {
    let folder = TempDir::new().unwrap();
    let settings = [
        ("FIRSTCOME_KAFKA_PARTITIONS", "5".to_owned()),
        ("FIRSTCOME_KAFKA_KEY", "user".to_owned()),
    ];
    let service = Service::start(&folder, &settings).await;
    let seen = settled(&service).await;
    are_whole(&seen, "firstcome", 5);
    assert_eq!(seen["key"], "user");
    grow_by(&service, 40).await;
    grow_by(&service, 7).await;
    let seen = settled(&service).await;
    let topics = seen["topics"].as_array().unwrap().iter();
    let is_dead = |topic: &&Value| topic["name"].as_str().unwrap().contains(".v1.");
    assert_eq!(
        topics.filter(is_dead).map(written).sum::<Option<i64>>(),
        Some(0),
        "nothing failed"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_without_the_scope_reveal_nothing() {
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, &with_secret()).await;
    let asked = async |token: Option<&str>| {
        let request = service.get(PATH);
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), body(answer).await)
    };
    let (status, said) = asked(None).await;
    assert_eq!((status, &said["code"]), (401, &json!("UNAUTHENTICATED")));
    let other = token(&json!({ "sub": "an admin", "scope": "campaign:write stats:read" }));
    let (status, said) = asked(Some(&other)).await;
    assert_eq!((status, &said["code"]), (403, &json!("MISSING_SCOPE")));
    assert!(said.get("topics").is_none());
    let reader = token(&json!({ "sub": "an admin", "scope": "campaign:read" }));
    assert_eq!(asked(Some(&reader)).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn real_topics_grow_with_each_sale_and_a_missing_one_is_reported() {
    let parts = parts().await;
    let folder = TempDir::new().unwrap();
    let mut settings = parts.settings.clone();
    settings.push(("FIRSTCOME_KAFKA_PARTITIONS", "4".to_owned()));
    let service = Service::start(&folder, &settings).await;
    let seen = settled(&service).await;
    are_whole(&seen, &parts.prefix, 4);
    assert_eq!(seen["key"], "participation");
    grow_by(&service, 200).await;
    let read = parts.records(200).await;
    let now = settled(&service).await;
    for partition in now["topics"][0]["partitions"].as_array().unwrap() {
        let of_it = read
            .iter()
            .filter(|record| partition["partition"] == record.partition);
        assert_eq!(partition["endOffset"], of_it.count(), "{partition}");
    }

    let gone = format!("{}.campaign.v1.dlq", parts.prefix);
    let deleted = admin().delete_topics(&[&gone], &AdminOptions::new()).await;
    assert!(deleted.unwrap().iter().all(Result::is_ok));
    until("it is known to be gone", async || {
        let last = topics(&service).await["topics"][5].clone();
        last == json!({ "name": gone, "exists": false, "partitionCount": 0, "partitions": [] })
    })
    .await;
    assert_eq!(written(&settled(&service).await["topics"][0]), Some(200));
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_is_503_only_while_the_broker_is_unavailable() {
    let broker = spare::mine().await;
    let folder = TempDir::new().unwrap();
    let prefix = unique("it");
    let settings = [
        ("FIRSTCOME_KAFKA_BROKERS", broker.address.clone()),
        ("FIRSTCOME_KAFKA_TOPIC_PREFIX", prefix.clone()),
        ("FIRSTCOME_KAFKA_CREATE_TOPICS", "true".to_owned()),
    ];
    let service = Service::start(&folder, &settings).await;
    are_whole(&settled(&service).await, &prefix, 3);
    broker.kill().await;
    until("it is 503", async || read(&service).await.0 == 503).await;
    let answer = service.get(PATH).bearer_auth(ADMIN_TOKEN).send().await;
    let answer = answer.unwrap();
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after"));
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    let problem = body(answer).await;
    assert_eq!(problem["code"], "BROKER_UNAVAILABLE");
    assert!(!problem.to_string().contains(&broker.address), "{problem}");
    broker.start().await;
    are_whole(&settled(&service).await, &prefix, 3);
}
