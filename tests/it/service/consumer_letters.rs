//! Dead letters of consumers over the admin API and on the command line, beside those of the relay.

use firstcome::domain::{CampaignId, Consumer, EventId};
use firstcome::parts::store::{NewConsumerLetter, RecordBytes, Store, StoreConfig};
use firstcome::runtime::clock::Clock;
use sea_orm::{ConnectionTrait, Database, Statement};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::dead_letters::{give_up_all, moved, read};
use super::process::{Service, body, command};
use crate::support::until;

/// A service with a campaign in which three users have their points, a dead letter of the relay for each of their events,
/// and one of each consumer for the first one.
async fn letters(folder: &TempDir) -> (Service, i64, Store) {
    let service = Service::start(folder, &[]).await;
    let new = json!({ "name": "letters", "kind": "points", "reward": { "points": 7 } });
    let campaign = service.create(new).await;
    for user in 1..=3 {
        assert_eq!(service.take_part(campaign, user).await.status(), 201);
    }
    until("all have their points", async || {
        points(&service, 3).await == 7 && points(&service, 1).await == 7
    })
    .await;
    let file = folder.path().join("data/firstcome.db");
    let url = format!("sqlite://{}", file.display());
    let db = Database::connect(&url).await.unwrap();
    let text = "SELECT id, message_key, payload, type, aggregateid FROM outbox_event \
                WHERE aggregatetype = 'participation' ORDER BY sequence LIMIT 1";
    let statement = Statement::from_string(db.get_database_backend(), text);
    let row = db.query_one_raw(statement).await.unwrap().unwrap();
    let id: uuid::Uuid = row.try_get("", "id").unwrap();
    let text = |column: &str| row.try_get::<String>("", column).unwrap();
    assert_eq!(give_up_all(&db).await, 3);
    let config = StoreConfig::new(url.as_str());
    let store = Store::connect(&config, Clock::System).await.unwrap();
    let headers = [
        ("ce_id", id.to_string()),
        ("ce_type", text("type")),
        ("ce_subject", text("aggregateid")),
        ("ce_keysequence", "1".to_owned()),
    ];
    for consumer in Consumer::ALL {
        let letter = NewConsumerLetter {
            consumer,
            event: EventId(id),
            campaign: Some(CampaignId(campaign)),
            event_type: text("type"),
            topic: "t".to_owned(),
            partition: 0,
            offset: 3,
            record: RecordBytes {
                key: Some(text("message_key").into_bytes()),
                headers: headers
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), Some(value.clone().into_bytes())))
                    .collect(),
                payload: Some(text("payload").into_bytes()),
            },
            error_class: "refused",
            error: "for a test".to_owned(),
        };
        store.store_consumer_letter(&letter).await.unwrap();
        store.store_consumer_letter(&letter).await.unwrap();
    }
    (service, campaign, store)
}

async fn points(service: &Service, user: i64) -> i64 {
    let path = format!("/api/users/{user}/rewards");
    let request = service.get(&path).header("authorization", user.to_string());
    let rewards = body(request.send().await.unwrap()).await;
    rewards["points"].as_i64().unwrap_or(-1)
}

fn sources(page: &Value) -> Vec<&str> {
    let items = page["items"].as_array().unwrap().iter();
    items.map(|one| one["source"].as_str().unwrap()).collect()
}

const RELAY: &str = "relay";
const COUPONS: &str = "consumer:coupons";
const POINTS: &str = "consumer:points";

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_of_all_sources_are_one_list() {
    let folder = TempDir::new().unwrap();
    let (service, campaign, _) = letters(&folder).await;
    let all = [RELAY, COUPONS, POINTS, RELAY, RELAY];
    let page = read(&service, &format!("?campaignId={campaign}")).await;
    assert_eq!(sources(&page), all);
    for (source, wanted) in [(RELAY, 3), (COUPONS, 1), (POINTS, 1)] {
        let page = read(&service, &format!("?source={source}")).await;
        assert_eq!(sources(&page), vec![source; wanted]);
    }
    // Over all pages, each is listed once.
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = read(&service, &format!("?limit=1{cursor}")).await;
        seen.extend(sources(&page).into_iter().map(str::to_owned));
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, all);
    let event = page["items"][0]["eventId"].as_str().unwrap();
    for (source, class) in [(RELAY, "record"), (POINTS, "refused")] {
        let one = read(&service, &format!("/{event}?source={source}")).await;
        assert_eq!(
            (&one["source"], &one["errorClass"]),
            (&json!(source), &json!(class))
        );
        assert!(one["payload"].as_str().unwrap().contains("participationId"));
    }
    assert_eq!(read(&service, &format!("/{event}")).await["source"], RELAY);
    let key = read(&service, &format!("/{event}")).await["key"].clone();
    let of_key = read(&service, &format!("?key={}", key.as_str().unwrap())).await;
    assert_eq!(sources(&of_key), [RELAY, COUPONS, POINTS]);
    let wrong = read(&service, "?source=mail").await;
    assert_eq!(wrong["errors"][0]["field"], "source");
    let wrong = read(&service, "?cursor=x").await;
    assert_eq!(wrong["errors"][0]["field"], "cursor");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replayed_dead_letter_of_a_consumer_is_applied_by_it_once() {
    let folder = TempDir::new().unwrap();
    let (service, campaign, store) = letters(&folder).await;
    let selection = json!({ "source": POINTS });
    let dry = json!({ "source": POINTS, "dryRun": true });
    assert_eq!(moved(&service, "replay", &dry).await["matched"], 1);
    assert_eq!(moved(&service, "replay", &selection).await["changed"], 1);
    until("it is applied", async || {
        let due = store.consumer_letters_to_replay(Consumer::Points, 10).await;
        due.unwrap().is_empty()
    })
    .await;
    assert_eq!(points(&service, 1).await, 7, "it had its effect before");
    assert_eq!(
        sources(&read(&service, "").await),
        [RELAY, COUPONS, RELAY, RELAY]
    );
    let coupons = json!({ "source": COUPONS });
    assert_eq!(moved(&service, "discard", &coupons).await["changed"], 1);
    assert_eq!(sources(&read(&service, "").await), [RELAY; 3]);
    let audit = service.get("/api/admin/audit?action=dead_letter.replay");
    let audit = audit.bearer_auth(super::process::ADMIN_TOKEN).send().await;
    let audit = body(audit.unwrap()).await;
    let entry = &audit["items"][0];
    assert_eq!(entry["campaignId"], campaign);
    assert_eq!(
        (&entry["after"]["source"], &entry["after"]["state"]),
        (&json!(POINTS), &json!("retry"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_selects_dead_letters_by_source() {
    let folder = TempDir::new().unwrap();
    let (_service, _, _) = letters(&folder).await;
    let said = async |arguments: &str| {
        let mut command = command(&folder, &[]);
        command.arg("dead-letters").args(arguments.split(' '));
        let output = tokio::task::spawn_blocking(move || command.output()).await;
        let output = output.unwrap().unwrap();
        (
            output.status.success(),
            String::from_utf8(output.stdout).unwrap(),
        )
    };
    let (_, list) = said("list").await;
    assert!(
        list.ends_with("5 dead letters\n") && list.contains(COUPONS),
        "{list}"
    );
    let (_, list) = said("list --source consumer:points").await;
    assert!(list.ends_with("1 dead letters\n"), "{list}");
    let (_, done) = said("discard --source consumer:coupons --yes").await;
    assert!(done.contains("1 dead letters, 1 discarded"), "{done}");
    let (_, done) = said("replay --source consumer:points --yes").await;
    assert!(done.contains("1 dead letters, 1 replayed"), "{done}");
    assert!(!said("list --source mail").await.0);
}
