//! Dead letters over the admin API, on a running service.

use sea_orm::{ConnectionTrait, Database, DatabaseConnection};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::process::{ADMIN_TOKEN, Service, body, command};
use crate::support::until;

/// Makes the events of all participations dead letters, as the relay does after the last attempt.
pub async fn give_up_all(db: &DatabaseConnection) -> u64 {
    let parked = db
        .execute_unprepared(
            "INSERT INTO outbox_parked (campaign_id, sequence, event_id, topic, message_key, key_hash, state, attempts, \
             error_class, error, next_at, parked_at, copied_at) SELECT campaign_id, sequence, id, aggregatetype, \
             message_key, 0, 'dead', 10, 'record', 'too large', NULL, '2026-01-01 00:00:00', \
             '2026-01-01 00:00:00' FROM outbox_event WHERE aggregatetype = 'participation' \
             AND id NOT IN (SELECT event_id FROM outbox_parked)",
        )
        .await
        .unwrap();
    parked.rows_affected()
}

async fn published(service: &Service, campaign: i64) -> Value {
    let path = format!("/api/campaigns/{campaign}/status");
    let status = body(service.get(&path).send().await.unwrap()).await;
    status["funnel"]["published"].clone()
}

/// A service with three dead letters in one campaign.
async fn three_dead_letters(folder: &TempDir) -> (Service, i64) {
    let service = Service::start(folder, &[]).await;
    let campaign = service
        .create(json!({ "name": "letters", "kind": "general" }))
        .await;
    for user in 1..=3 {
        assert_eq!(service.take_part(campaign, user).await.status(), 201);
    }
    until("all are published", async || {
        published(&service, campaign).await == 3
    })
    .await;
    let file = folder.path().join("data/firstcome.db");
    let db = Database::connect(format!("sqlite://{}", file.display()));
    assert_eq!(give_up_all(&db.await.unwrap()).await, 3);
    (service, campaign)
}

pub async fn read(service: &Service, path: &str) -> Value {
    let path = format!("/api/admin/dead-letters{path}");
    let answer = service.get(&path).bearer_auth(ADMIN_TOKEN).send().await;
    body(answer.unwrap()).await
}

pub async fn moved(service: &Service, action: &str, selection: &Value) -> Value {
    let request = service.admin(&format!("/dead-letters/{action}"));
    body(request.json(selection).send().await.unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_listed_and_shown() {
    let folder = TempDir::new().unwrap();
    let (service, campaign) = three_dead_letters(&folder).await;
    let list = format!("?campaignId={campaign}&limit=2");
    let page = read(&service, &list).await;
    let first = &page["items"][0];
    assert_eq!(page["items"].as_array().map(Vec::len), Some(2));
    assert_eq!(first["errorClass"], "record");
    let cursor = page["nextCursor"].as_str().unwrap();
    let rest = read(&service, &format!("{list}&cursor={cursor}")).await;
    assert_eq!(rest["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(rest["nextCursor"], Value::Null);
    let one = read(
        &service,
        &format!("/{}", first["eventId"].as_str().unwrap()),
    )
    .await;
    assert_eq!(
        (&one["eventId"], &one["parkedAt"]),
        (&first["eventId"], &first["parkedAt"])
    );
    // Records are shown one by one.
    assert!(one["key"].is_string() && one["payload"].is_string());
    assert_eq!(
        (&first["key"], &first["payload"]),
        (&Value::Null, &Value::Null)
    );
    let none = read(&service, "?until=2020-01-01T00:00:00Z").await;
    assert_eq!(none["items"], json!([]));
    let stranger = service.get("/api/admin/dead-letters").send().await;
    assert_eq!(stranger.unwrap().status(), 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_dry_run_replayed_and_discarded() {
    let folder = TempDir::new().unwrap();
    let (service, campaign) = three_dead_letters(&folder).await;
    until("none counts as published", async || {
        published(&service, campaign).await == 0
    })
    .await;
    let dry = json!({ "campaignId": campaign, "dryRun": true });
    assert_eq!(
        moved(&service, "replay", &dry).await,
        json!({ "matched": 3, "changed": 0, "dryRun": true })
    );
    let other = json!({ "campaignId": campaign + 1 });
    assert_eq!(moved(&service, "replay", &other).await["matched"], 0);

    let page = read(&service, "?limit=1").await;
    let event = json!({ "eventId": page["items"][0]["eventId"] });
    assert_eq!(
        moved(&service, "replay", &event).await,
        json!({ "matched": 1, "changed": 1, "dryRun": false })
    );
    assert_eq!(moved(&service, "replay", &event).await["code"], "NOT_DEAD");
    until("the replayed one is published", async || {
        published(&service, campaign).await == 1
    })
    .await;

    let all = json!({ "campaignId": campaign });
    assert_eq!(moved(&service, "discard", &all).await["changed"], 2);
    assert_eq!(read(&service, "").await["items"], json!([]));
    // Discarded events are not published; the rows stay, in this state.
    assert_eq!(published(&service, campaign).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_wrong_field_of_a_selection_is_named() {
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, &[]).await;
    let wrong = json!({ "eventId": "x", "limit": 0, "dryRun": "yes", "colour": "red" });
    let problem = moved(&service, "replay", &wrong).await;
    let errors = problem["errors"].as_array().unwrap();
    let fields: Vec<_> = errors.iter().map(|error| &error["field"]).collect();
    assert_eq!(fields, ["eventId", "limit", "dryRun", "colour"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_selection_is_rejected() {
    let folder = TempDir::new().unwrap();
    let (service, _) = three_dead_letters(&folder).await;
    for action in ["replay", "discard"] {
        for nothing in [json!({}), json!({ "limit": 10 }), json!({ "all": false })] {
            let problem = moved(&service, action, &nothing).await;
            assert_eq!(problem["errors"][0]["field"], "all", "{action} {nothing}");
        }
        let both = json!({ "all": true, "campaignId": 1 });
        let problem = moved(&service, action, &both).await;
        assert_eq!(problem["errors"][0]["field"], "all", "{action}");
    }
    let all = json!({ "all": true, "dryRun": true });
    assert_eq!(moved(&service, "discard", &all).await["matched"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_handles_dead_letters() {
    let folder = TempDir::new().unwrap();
    let (service, campaign) = three_dead_letters(&folder).await;
    let said = async |arguments: &str| {
        let mut command = command(&folder, &[]);
        command.arg("dead-letters").args(arguments.split(' '));
        let output = tokio::task::spawn_blocking(move || command.output()).await;
        let output = output.unwrap().unwrap();
        assert!(output.status.success(), "{arguments}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(said("list").await.ends_with("3 dead letters\n"));
    assert!(
        said("replay --all --dry-run")
            .await
            .contains("3 dead letters, 0 replayed")
    );
    let refused = async |arguments: &str| {
        let mut command = command(&folder, &[]);
        command.arg("dead-letters").args(arguments.split(' '));
        let output = tokio::task::spawn_blocking(move || command.output()).await;
        let output = output.unwrap().unwrap();
        assert!(!output.status.success(), "{arguments}: {output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    for action in ["replay", "discard"] {
        let which = refused(&format!("{action} --yes")).await;
        assert!(which.contains("--all"), "{which}");
        // There is no terminal for the confirmation.
        let unasked = refused(&format!("{action} --all")).await;
        assert!(
            unasked.contains("3 dead letters?") && unasked.contains("--yes"),
            "{unasked}"
        );
    }
    assert!(said("list").await.ends_with("3 dead letters\n"));
    let page = read(&service, "?limit=1").await;
    let event = page["items"][0]["eventId"].as_str().unwrap();
    let one = said(&format!("replay --event {event} --yes")).await;
    assert!(one.contains("1 dead letters, 1 replayed"), "{one}");
    let mut again = command(&folder, &[]);
    again.args(["dead-letters", "replay", "--event", event]);
    let again = again.output().unwrap();
    let text = String::from_utf8(again.stdout).unwrap();
    assert!(
        !again.status.success()
            && text.contains("is not a dead letter: it was replayed or discarded"),
        "{text}"
    );
    let rest = said(&format!("discard --campaign {campaign} --yes")).await;
    assert!(rest.contains("2 dead letters, 2 discarded"), "{rest}");
    assert!(said("list").await.ends_with("0 dead letters\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_outbox_command_shows_pending_rows_and_their_relays() {
    let folder = TempDir::new().unwrap();
    let (service, _) = three_dead_letters(&folder).await;
    let answer = service.get("/api/admin/outbox").bearer_auth(ADMIN_TOKEN);
    let outbox = body(answer.send().await.unwrap()).await;
    assert_eq!(
        (&outbox["dead"], &outbox["pending"]),
        (&json!(3), &json!(0))
    );
    assert_eq!(outbox["oldestAgeSeconds"], Value::Null);
    assert_eq!(outbox["relays"].as_array().map(Vec::len), Some(1));
    assert_eq!(outbox["relays"][0]["buckets"], 64);
    let stranger = service.get("/api/admin/outbox").send().await;
    assert_eq!(stranger.unwrap().status(), 401);
}
