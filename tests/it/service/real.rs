//! On MySQL, Redis and Apache Kafka.

use std::collections::BTreeSet;
use std::time::Duration;

use firstcome::domain::{CampaignId, ParticipationId, UserId};
use firstcome::parts::gate::{Admission, Entrant, Gate, Key, RedisConfig, ScriptGate};
use serde_json::json;
use tempfile::TempDir;

use super::process::{Service, Settings, body, command};
use super::records::read;
use super::sale::rush;
use crate::support::{TestStore, mysql, real, unique, until};

/// Settings for a service with a schema, a key prefix and topics of its own.
pub struct Parts {
    pub test: TestStore,
    pub prefix: String,
    pub settings: Vec<(&'static str, String)>,
}

pub async fn parts() -> Parts {
    let test = mysql().await;
    let prefix = unique("it");
    let settings = vec![
        ("FIRSTCOME_DATABASE_URL", test.url.clone()),
        ("FIRSTCOME_REDIS_URL", real("FIRSTCOME_REDIS_URL")),
        ("FIRSTCOME_REDIS_PREFIX", prefix.clone()),
        ("FIRSTCOME_KAFKA_BROKERS", real("FIRSTCOME_KAFKA_BROKERS")),
        ("FIRSTCOME_KAFKA_TOPIC_PREFIX", prefix.clone()),
        ("FIRSTCOME_KAFKA_CREATE_TOPICS", "true".to_owned()),
        ("FIRSTCOME_PAYMENT_ALLOW_SIMULATED", "true".to_owned()),
    ];
    Parts {
        test,
        prefix,
        settings,
    }
}

impl Parts {
    pub fn settings(&self) -> Settings<'_> {
        &self.settings
    }

    pub async fn records(&self, wanted: usize) -> Vec<super::records::Seen> {
        let topic = format!("{}.participation.v1", self.prefix);
        read(real("FIRSTCOME_KAFKA_BROKERS"), topic, wanted).await
    }

    /// The records about campaigns.
    pub async fn campaign_records(&self, wanted: usize) -> Vec<super::records::Seen> {
        let topic = format!("{}.campaign.v1", self.prefix);
        read(real("FIRSTCOME_KAFKA_BROKERS"), topic, wanted).await
    }

    /// `firstcome verify` finds no violation.
    pub fn is_sound(&self, folder: &TempDir) {
        let verified = self.verify(folder);
        let text = String::from_utf8_lossy(&verified.stdout);
        assert!(verified.status.success(), "{text}");
    }

    /// The invariants hold soon.
    pub async fn until_sound(&self, folder: &TempDir) {
        until("the invariants hold", || async {
            self.verify(folder).status.success()
        })
        .await;
    }

    fn verify(&self, folder: &TempDir) -> std::process::Output {
        command(folder, self.settings())
            .args(["verify", "--json"])
            .output()
            .unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_accepted_answer_has_a_row_an_outbox_row_and_a_record() {
    let parts = parts().await;
    let folder = TempDir::new().unwrap();
    let mut service = Service::start(&folder, parts.settings()).await;
    let sale = rush(&service, 2_000, 4_000, 2_000).await;
    sale.is_exact(2_000);

    let id = firstcome::domain::CampaignId(sale.campaign);
    let counts = parts.test.store.counts(id).await.unwrap();
    assert_eq!(
        (counts.participations, counts.events, counts.units),
        (2_000, 2_000, 2_000)
    );
    let records = parts.records(2_000).await;
    let ids: BTreeSet<String> = records.iter().map(|record| record.ce_id.clone()).collect();
    assert_eq!((records.len(), ids.len()), (2_000, 2_000));
    let published: BTreeSet<String> = records
        .iter()
        .map(|record| record.value["participationId"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(published, sale.ids());
    assert!(
        records
            .iter()
            .all(|record| record.ce_type == "firstcome.participation.confirmed")
    );
    assert!(
        records
            .iter()
            .all(|record| record.value["participationId"] == record.key.as_str())
    );

    parts.is_sound(&folder);
    assert!(service.stop().await.success());
    assert_eq!(parts.test.store.counts(id).await.unwrap().pending, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn accepted_participations_survive_kill_9_and_are_published() {
    let parts = parts().await;
    let folder = TempDir::new().unwrap();
    let mut service = Service::start(&folder, parts.settings()).await;
    let campaign = service
        .create(json!({ "name": "crash", "kind": "general", "totalStock": 1_000 }))
        .await;
    let mut yes = BTreeSet::new();
    for round in 0..3 {
        let users = (round * 40 + 1)..=(round * 40 + 40);
        let answers =
            futures_util::future::join_all(users.map(|user| service.take_part(campaign, user)))
                .await;
        service.kill();
        for answer in answers {
            assert_eq!(answer.status(), 201);
            yes.insert(
                body(answer).await["participationId"]
                    .as_str()
                    .unwrap()
                    .to_owned(),
            );
        }
        service = Service::start(&folder, parts.settings()).await;
    }
    for id in &yes {
        let answer = service
            .get(&format!("/api/participations/{id}"))
            .bearer_auth(super::process::ADMIN_TOKEN);
        assert_eq!(answer.send().await.unwrap().status(), 200, "{id}");
    }
    let records = parts.records(yes.len()).await;
    let published: BTreeSet<String> = records
        .iter()
        .map(|record| record.value["participationId"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(published, yes);
    parts.until_sound(&folder).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_gate_is_rebuilt_from_committed_participations() {
    let parts = parts().await;
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, parts.settings()).await;
    let campaign = service
        .create(json!({ "name": "lost", "kind": "general", "totalStock": 3 }))
        .await;
    assert_eq!(service.take_part(campaign, 1).await.status(), 201);
    let client = redis::Client::open(real("FIRSTCOME_REDIS_URL")).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let keys: Vec<String> = redis::cmd("KEYS")
        .arg(format!("{}:*", parts.prefix))
        .query_async(&mut connection)
        .await
        .unwrap();
    assert!(!keys.is_empty());
    let _: i64 = redis::cmd("DEL")
        .arg(&keys)
        .query_async(&mut connection)
        .await
        .unwrap();

    assert_eq!(
        body(service.take_part(campaign, 1).await).await["code"],
        "ALREADY_PARTICIPATED"
    );
    let second = body(service.take_part(campaign, 2).await).await;
    assert_eq!(second["rank"], 2, "ranks go on where they were");
    assert_eq!(service.take_part(campaign, 3).await.status(), 201);
    assert_eq!(
        body(service.take_part(campaign, 4).await).await["code"],
        "SOLD_OUT"
    );
    parts.until_sound(&folder).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lease_of_a_killed_process_is_no_participation_and_its_unit_is_sold() {
    let parts = parts().await;
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, parts.settings()).await;
    let campaign = service
        .create(json!({ "name": "orphan", "kind": "general", "totalStock": 1 }))
        .await;
    let config = RedisConfig {
        url: Some(real("FIRSTCOME_REDIS_URL").into()),
        ..RedisConfig::default()
    };
    let gate = ScriptGate::redis(&config, &parts.prefix).await.unwrap();
    // The state after a process dies between gate and store.
    let entrant = Entrant {
        participation: ParticipationId::generate(),
        user: UserId(9),
        quantity: 1,
        key: Key::None,
    };
    let admitted = gate
        .admit(CampaignId(campaign), &[entrant], Duration::from_secs(3))
        .await
        .unwrap();
    assert!(
        matches!(admitted[..], [Admission::Admitted(_)]),
        "{admitted:?}"
    );

    let same_user = service.take_part(campaign, 9).await;
    assert_eq!(
        same_user.status(),
        503,
        "nothing is committed, so nothing is said"
    );
    assert!(same_user.headers().contains_key("retry-after"));
    until("the unit is sold", || async {
        service.take_part(campaign, 9).await.status() == 201
    })
    .await;
    parts.until_sound(&folder).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_paths_share_the_one_stock() {
    let parts = parts().await;
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, parts.settings()).await;
    let campaign = service
        .create(json!({ "name": "both", "kind": "general", "totalStock": 50 }))
        .await;
    let sync = format!("/api/campaigns/{campaign}/participation-sync");
    let answers = futures_util::future::join_all((1..=120_i64).map(|user| {
        let (service, sync) = (&service, &sync);
        async move {
            if user % 2 == 0 {
                service.take_part(campaign, user).await.status()
            } else {
                service
                    .post(sync)
                    .json(&json!({ "userId": user }))
                    .send()
                    .await
                    .unwrap()
                    .status()
            }
        }
    }))
    .await;
    assert_eq!(
        answers
            .iter()
            .filter(|status| status.as_u16() == 201)
            .count(),
        50
    );
    let records = parts.records(50).await;
    assert_eq!(
        records
            .iter()
            .map(|record| &record.ce_id)
            .collect::<BTreeSet<_>>()
            .len(),
        50
    );
    parts.until_sound(&folder).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_reads_the_real_parts() {
    let parts = parts().await;
    let folder = TempDir::new().unwrap();
    drop(Service::start(&folder, parts.settings()).await);
    let output = command(&folder, parts.settings())
        .arg("doctor")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        said.contains("ok   mysql innodb_flush_log_at_trx_commit = 1"),
        "{said}"
    );
    assert!(
        said.contains("ok   redis maxmemory-policy = noeviction"),
        "{said}"
    );
    assert!(
        said.contains("BAD  kafka") && said.contains("replication factor = 1"),
        "{said}"
    );
    assert!(!output.status.success(), "one broker is not enough");
}
