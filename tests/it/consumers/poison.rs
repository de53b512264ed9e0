//! Records that cannot be applied go to the dead letter topic alone.

use firstcome::domain::{CampaignId, Consumer, Reward, Status, Topic};
use firstcome::parts::broker::{CopyOf, Delivered};

use super::scene::{Scene, change};
use crate::support::{real, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_poison_record_becomes_a_dead_letter_alone() {
    let scene = Scene::new().await;
    let campaign = scene.campaign(Some(Reward::Points(10))).await;
    let made = scene.participations(campaign, 300, 10).await;
    let (before, after) = made.split_at(150);
    scene.confirm(before).await;
    // Written directly to the topic, as any other producer could.
    let raw = |payload: &[u8]| Delivered {
        key: Some(b"k".to_vec()),
        payload: Some(payload.to_vec()),
        ..Delivered::default()
    };
    let topic = scene.topic();
    for record in [raw(b"\xff\xfe not even text"), raw(b"{}")] {
        scene
            .kafka
            .forward(
                &record,
                &topic,
                &[("ce_id", "7".to_owned())],
                CopyOf::Everything,
            )
            .await
            .unwrap();
    }
    let mut unknown = made[0].clone();
    unknown.campaign_id = CampaignId(999_999);
    unknown.id = firstcome::domain::ParticipationId::generate();
    let mut strange = change(&unknown, Status::Confirmed, 1);
    strange.payload = strange.payload.replace("confirmed", "delighted");
    scene
        .publish(&[change(&unknown, Status::Confirmed, 1), strange])
        .await;
    scene.confirm(after).await;
    let running = scene.start(Consumer::Points);
    scene.reaches("SELECT COUNT(*) FROM inbox", 300).await;
    scene.granted_exactly(&made, 10).await;
    until("all is read", async || {
        scene.committed(Consumer::Points).await == 304
    })
    .await;
    let poison = r#"consumer_records_total{consumer="points",outcome="poison"}"#;
    assert_eq!(running.metric(poison), 4);
    running.stop().await;

    let dead = Topic::Participation.dead_letter_name_of(Consumer::Points, &scene.prefix);
    let brokers = real("FIRSTCOME_KAFKA_BROKERS");
    let copies = consume_raw(&brokers, &dead, 4).await;
    let mut classes: Vec<&str> = copies
        .iter()
        .map(|copy| copy.header("firstcome-dead-class").unwrap())
        .collect();
    classes.sort_unstable();
    assert_eq!(
        classes,
        ["headers", "headers", "status", "unknown_campaign"]
    );
    for copy in &copies {
        assert_eq!(copy.header("firstcome-dead-consumer"), Some("points"));
        assert_eq!(copy.header("firstcome-dead-topic"), Some(topic.as_str()));
        for number in ["firstcome-dead-partition", "firstcome-dead-offset"] {
            assert!(copy.header(number).unwrap().parse::<u64>().is_ok());
        }
        assert!(!copy.header("firstcome-dead-error").unwrap().is_empty());
    }
    let bytes = copies.iter().any(|copy| {
        copy.payload.as_deref() == Some(b"\xff\xfe not even text".as_slice())
            && copy.header("ce_id") == Some("7")
    });
    assert!(bytes, "a copy is the record, byte for byte");
}

/// The records of a topic as bytes.
async fn consume_raw(brokers: &str, topic: &str, wanted: usize) -> Vec<Delivered> {
    use rdkafka::consumer::{BaseConsumer, Consumer as _};
    use rdkafka::message::{Headers as _, Message as _};
    let group: BaseConsumer = rdkafka::ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "unused: nothing is committed")
        .create()
        .unwrap();
    let mut list = rdkafka::TopicPartitionList::new();
    for partition in 0..super::scene::PARTITIONS {
        list.add_partition_offset(topic, partition, rdkafka::Offset::Beginning)
            .unwrap();
    }
    group.assign(&list).unwrap();
    let reading = tokio::task::spawn_blocking(move || {
        let mut copies = Vec::new();
        let began = std::time::Instant::now();
        while copies.len() < wanted && began.elapsed().as_secs() < 30 {
            let Some(Ok(record)) = group.poll(std::time::Duration::from_millis(100)) else {
                continue;
            };
            let headers = record.headers().unwrap();
            copies.push(Delivered {
                partition: record.partition(),
                offset: record.offset(),
                key: record.key().map(<[u8]>::to_vec),
                payload: record.payload().map(<[u8]>::to_vec),
                headers: headers
                    .iter()
                    .map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec)))
                    .collect(),
            });
        }
        std::thread::spawn(move || drop(group));
        copies
    });
    reading.await.unwrap()
}
