//! `outbox republish`: events whose records were lost in Kafka after they had been acknowledged are sent again.

use std::collections::BTreeSet;
use std::process::Output;

use firstcome::domain::{EventId, ParticipationId};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::process::{Service, body, command};
use super::real::{Parts, parts};
use super::sale::rush;
use crate::support::{unique, until};

const SOLD: u64 = 150;

/// A sale whose topic was lost: the service now writes to an empty one.
struct Loss {
    parts: Parts,
    folder: TempDir,
    campaign: i64,
    /// A participation with two events.
    cancelled: String,
}

impl Loss {
    async fn new() -> Self {
        let mut parts = parts().await;
        let folder = TempDir::new().unwrap();
        let mut service = Service::start(&folder, parts.settings()).await;
        let sale = rush(&service, SOLD, 200, 0).await;
        sale.is_exact(SOLD);
        let paid = json!({ "name": "paid", "kind": "general", "price": 100 });
        let paid = service.create(paid).await;
        let reserved = body(service.take_part(paid, 1).await).await;
        let id = reserved["participationId"].as_str().unwrap();
        let cancel = service.post(&format!("/api/participations/{id}/cancel"));
        let cancelled = cancel.header("Authorization", "1").json(&json!({}));
        assert_eq!(cancelled.send().await.unwrap().status(), 200);
        let loss = |parts| Self {
            parts,
            folder,
            campaign: sale.campaign,
            cancelled: id.to_owned(),
        };
        until("all is published", async || {
            let counts = parts.test.store.outbox_counts(None).await.unwrap();
            counts.pending == 0
        })
        .await;
        assert!(service.stop().await.success());
        let empty = unique("it");
        for (name, value) in &mut parts.settings {
            if *name == "FIRSTCOME_KAFKA_TOPIC_PREFIX" {
                value.clone_from(&empty);
            }
        }
        parts.prefix = empty;
        loss(parts)
    }

    async fn run(&self, arguments: &[&str]) -> Output {
        let mut command = command(&self.folder, self.parts.settings());
        command.args(arguments);
        let output = tokio::task::spawn_blocking(move || command.output()).await;
        output.unwrap().unwrap()
    }

    /// The last line of an `outbox republish` that succeeds.
    async fn republish(&self, arguments: &[&str]) -> String {
        let output = self
            .run(&[&["outbox", "republish"], arguments].concat())
            .await;
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().last().unwrap().to_owned()
    }

    async fn verified(&self) -> (bool, Value) {
        let output = self.run(&["verify", "--topic", "--json"]).await;
        let said = serde_json::from_slice(&output.stdout);
        (
            output.status.success(),
            said.unwrap_or_else(|error| panic!("{error}: {output:?}")),
        )
    }

    async fn until_clean(&self) {
        until("nothing is lost any more", async || self.verified().await.0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_events_are_named_and_sent_again_in_order() {
    let loss = Loss::new().await;
    let service = Service::start(&loss.folder, loss.parts.settings()).await;
    let (clean, said) = loss.verified().await;
    assert!(!clean);
    let found = &said["topic"]["verdict"];
    assert_eq!(lost(&said), SOLD + 2, "{said}");
    // Some of them, by id.
    assert!(found["examples"][0].as_str().unwrap().contains("event "));
    let store = &loss.parts.test.store;
    let id = ParticipationId(loss.cancelled.parse().unwrap());
    let events = store.events_of(id).await.unwrap().unwrap().events;
    let ids: BTreeSet<EventId> = events.iter().map(|event| event.id).collect();
    assert_eq!(ids.len(), 2);

    let all = SOLD + 2;
    assert_eq!(
        loss.republish(&["--lost", "--dry-run"]).await,
        format!("{all} published events selected, 0 will be sent again")
    );
    assert_eq!(lost(&loss.verified().await.1), all);
    assert_eq!(
        loss.republish(&["--lost", "--yes"]).await,
        format!("{all} published events selected, {all} will be sent again")
    );
    // With the order of the changes of the cancelled participation.
    loss.until_clean().await;
    assert_eq!(
        loss.republish(&["--lost", "--yes"]).await,
        "0 published events selected, 0 will be sent again"
    );
    let records = loss.parts.records(usize::try_from(all).unwrap()).await;
    let seen: BTreeSet<String> = records
        .iter()
        .map(|record| record.headers["ce_id"].clone())
        .collect();
    assert_eq!(seen.len() as u64, all);
    assert!(ids.iter().all(|id| seen.contains(&id.to_string())));
    let audited = service
        .get("/api/admin/audit?action=outbox.republish")
        .bearer_auth(super::process::ADMIN_TOKEN);
    let audited = body(audited.send().await.unwrap()).await;
    let notes = audited["items"].as_array().unwrap();
    let note = notes
        .iter()
        .find(|note| note["campaignId"] == loss.campaign);
    let events = note.unwrap()["after"]["events"].as_array().unwrap();
    assert_eq!(events.len() as u64, SOLD, "{audited}");
}

/// The lost events of all campaigns.
fn lost(said: &Value) -> u64 {
    let campaigns = said["topic"]["verdict"]["campaigns"].as_array().unwrap();
    let lost = campaigns.iter().map(|one| one["lost"].as_u64().unwrap());
    lost.sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_selected_by_participation_and_by_sequence() {
    let loss = Loss::new().await;
    let _service = Service::start(&loss.folder, loss.parts.settings()).await;
    let campaign = loss.campaign.to_string();
    let of_one = ["--participation", &loss.cancelled, "--yes"];
    assert_eq!(
        loss.republish(&of_one).await,
        "2 published events selected, 2 will be sent again"
    );
    assert_eq!(loss.parts.records(2).await.len(), 2);
    // The first ten and the last; those that still wait are left out, those that were sent are sent again.
    let last = SOLD.to_string();
    for (from, to, count) in [("1", "10", 10), (last.as_str(), last.as_str(), 1)] {
        let range = ["--campaign", &campaign, "--from", from, "--to", to, "--yes"];
        let told = loss.republish(&range).await;
        let selected = format!("{count} published events selected, ");
        assert!(told.starts_with(&selected), "{told}");
    }
    let rest = loss.republish(&["--campaign", &campaign, "--yes"]).await;
    let selected = format!("{SOLD} published events selected, ");
    assert!(rest.starts_with(&selected), "{rest}");
    loss.until_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_selection_is_required_and_its_mistakes_are_named() {
    let parts = parts().await;
    let folder = TempDir::new().unwrap();
    parts.test.store.migrate().await.unwrap();
    let unknown = ParticipationId::generate().to_string();
    for (arguments, problem) in [
        (&[][..], "--lost|--campaign"),
        (&["--lost", "--campaign", "1"], "cannot be used with"),
        (&["--lost", "--from", "2"], "cannot be used with"),
        (&["--campaign", "1", "--from", "0"], "--from"),
        (&["--campaign", "7"], "there is no campaign 7"),
        (&["--participation", &unknown], "there is no participation"),
        (
            &["--campaign", "7", "--topic", "x"],
            "participation, campaign, order",
        ),
    ] {
        let output = command(&folder, parts.settings())
            .args(["outbox", "republish"])
            .args(arguments)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(
            !output.status.success() && text.contains(problem),
            "{arguments:?}: {text}"
        );
    }
}
