//! Whether Debezium's outbox event router can read what the service writes: the columns its documented
//! defaults need, and the message its documented rules make of a row. The settings are those of
//! `docs/debezium.md`, so that the page cannot promise what does not hold.

use std::collections::BTreeMap;

use firstcome::domain::{OutboxEvent, StreamId};
use firstcome::parts::broker::Record;
use firstcome::parts::store::{LogEntry, Store};
use sea_orm::{ConnectionTrait, Database, DatabaseConnection, DbBackend, Statement};

use crate::groups::{BatchOutcome, Groups};
use crate::store::new_participation;
use crate::support::{campaign_of, create, mysql};

const PAGE: &str = include_str!("../../docs/debezium.md");

/// A column as the information schema describes it.
#[derive(Debug)]
struct Column {
    data_type: String,
    length: Option<i64>,
    precision: Option<i64>,
    nullable: bool,
}

async fn columns(db: &DatabaseConnection) -> BTreeMap<String, Column> {
    let sql = "SELECT CAST(column_name AS CHAR) AS name, CAST(data_type AS CHAR) AS data_type, \
         CAST(character_maximum_length AS SIGNED) AS length, \
         CAST(datetime_precision AS SIGNED) AS time_precision, is_nullable = 'YES' AS nullable \
         FROM information_schema.columns \
         WHERE table_schema = DATABASE() AND table_name = 'outbox_event'";
    let statement = Statement::from_string(DbBackend::MySql, sql);
    let rows = db.query_all_raw(statement).await.unwrap();
    rows.iter()
        .map(|row| {
            let column = Column {
                data_type: row.try_get("", "data_type").unwrap(),
                length: row.try_get("", "length").unwrap(),
                precision: row.try_get("", "time_precision").unwrap(),
                nullable: row.try_get::<i64>("", "nullable").unwrap() != 0,
            };
            (row.try_get("", "name").unwrap(), column)
        })
        .collect()
}

/// The settings of a transformation named `outbox`, without their prefix.
fn settings_of_the_page() -> BTreeMap<String, String> {
    let (_, block) = PAGE.split_once("```properties\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    block
        .lines()
        .filter_map(|line| line.strip_prefix("transforms.outbox."))
        .map(|line| line.split_once('=').unwrap())
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// Adds the columns that the page has its readers add.
async fn add_the_columns_of_the_page(db: &DatabaseConnection) {
    let (_, statement) = PAGE.split_once("```sql\nALTER TABLE").unwrap();
    let (statement, _) = statement.split_once("```").unwrap();
    let statement = format!("ALTER TABLE{statement}");
    db.execute_unprepared(&statement).await.unwrap();
}

fn is_on_the_page(settings: &[&str]) {
    for setting in settings {
        assert!(PAGE.contains(&format!("{setting}\n")), "{setting}");
    }
}

/// The message that the router makes from a row.
#[derive(Debug)]
struct Routed {
    topic: String,
    key: String,
    value: String,
    timestamp_millis: Option<i64>,
    headers: BTreeMap<String, String>,
}

/// The connector's `after`: each column as its mapping of types and `binary.handling.mode=hex` give it.
async fn row_of(db: &DatabaseConnection, event: &OutboxEvent) -> BTreeMap<String, Option<String>> {
    let columns = columns(db).await;
    let selected: Vec<String> = columns
        .iter()
        .map(|(name, column)| match column.data_type.as_str() {
            "binary" => format!("LOWER(HEX(`{name}`)) AS `{name}`"),
            "datetime" => {
                let micros = format!("TIMESTAMPDIFF(MICROSECOND, '1970-01-01', `{name}`)");
                format!("CAST({micros} AS CHAR) AS `{name}`")
            }
            _ => format!("CAST(`{name}` AS CHAR) AS `{name}`"),
        })
        .collect();
    let sql = format!(
        "SELECT {} FROM outbox_event WHERE id = ?",
        selected.join(", ")
    );
    let statement = Statement::from_sql_and_values(DbBackend::MySql, sql, [event.id.0.into()]);
    let row = db.query_one_raw(statement).await.unwrap().unwrap();
    let value = |name: &String| row.try_get::<Option<String>>("", name).unwrap();
    columns
        .keys()
        .map(|name| (name.clone(), value(name)))
        .collect()
}

/// The router's rules, by its documentation: its defaults where a setting is absent.
fn route(settings: &BTreeMap<String, String>, row: &BTreeMap<String, Option<String>>) -> Routed {
    let setting = |name: &str, default: &str| {
        let given = settings.get(name).map(String::as_str);
        given.unwrap_or(default).to_owned()
    };
    let column = |name: &str| {
        let found = row.get(name).unwrap_or_else(|| panic!("no column {name}"));
        found.clone()
    };
    let required = |option: &str, default: &str| {
        let name = setting(option, default);
        column(&name).unwrap_or_else(|| panic!("{name} is null"))
    };
    let mut headers = BTreeMap::new();
    headers.insert("id".to_owned(), required("table.field.event.id", "id"));
    let placement = setting("table.fields.additional.placement", "");
    for field in placement.split(',').filter(|field| !field.is_empty()) {
        let parts: Vec<&str> = field.split(':').collect();
        let [name, "header", alias] = parts[..] else {
            panic!("{field} is not a header with a name");
        };
        headers.extend(column(name).map(|value| (alias.to_owned(), value)));
    }
    let routed_by = required("route.by.field", "aggregatetype");
    let replacement = setting("route.topic.replacement", "outbox.event.${routedByValue}");
    let timestamp = settings.get("table.field.event.timestamp");
    Routed {
        topic: replacement.replace("${routedByValue}", &routed_by),
        key: required("table.field.event.key", "aggregateid"),
        value: required("table.field.event.payload", "payload"),
        timestamp_millis: timestamp
            .map(|name| column(name).unwrap().parse::<i64>().unwrap() / 1_000),
        headers,
    }
}

/// Commits a participation as the service does. Returns its event.
async fn written(store: &Store) -> OutboxEvent {
    let campaign = create(store, campaign_of(None)).await;
    let mut new_participation = new_participation(&campaign, 42, 1, 1);
    new_participation.event.key = "user-42".into();
    new_participation.event.traceparent =
        Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into());
    let batch = [new_participation];
    let outcome = store.commit_participations(&campaign, campaign.gate_epoch, &batch);
    assert!(matches!(
        outcome.await.unwrap(),
        BatchOutcome::Committed {
            held_from: None,
            ..
        }
    ));
    let mut read = store
        .read_stream(StreamId::of_participations(campaign.id), 0, 10)
        .await
        .unwrap();
    match read.pop() {
        Some(LogEntry::Event(event)) => event,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_outbox_has_the_columns_of_debeziums_router() {
    let test = mysql().await;
    let db = Database::connect(&test.url).await.unwrap();
    let columns = columns(&db).await;
    for name in [
        "id",
        "aggregatetype",
        "aggregateid",
        "type",
        "payload",
        "message_key",
    ] {
        assert!(!columns[name].nullable, "{name} may be null");
    }
    let id = &columns["id"];
    assert_eq!((id.data_type.as_str(), id.length), ("binary", Some(16)));
    for name in [
        "aggregatetype",
        "aggregateid",
        "type",
        "message_key",
        "traceparent",
    ] {
        let column = &columns[name];
        assert_eq!(column.data_type, "varchar", "{name}");
        assert!(column.length.unwrap() <= 255, "{name}");
    }
    assert_eq!(columns["payload"].data_type, "text");
    // Only with more than milliseconds does it arrive in microseconds, under a name the router knows.
    let created_at = &columns["created_at"];
    assert_eq!(
        (created_at.data_type.as_str(), created_at.precision),
        ("datetime", Some(6))
    );
}

#[tokio::test]
async fn the_defaults_of_debeziums_router_make_a_message_of_a_row() {
    let test = mysql().await;
    let event = written(&test.store).await;
    let db = Database::connect(&test.url).await.unwrap();
    let routed = route(&BTreeMap::new(), &row_of(&db, &event).await);
    assert_eq!(routed.topic, "outbox.event.participation");
    assert_eq!(routed.key, event.aggregate_id);
    assert_eq!(routed.value, event.payload);
    assert_eq!(routed.timestamp_millis, None);
    let id = event.id.0.simple().to_string();
    assert_eq!(routed.headers, BTreeMap::from([("id".to_owned(), id)]));
}

#[tokio::test]
async fn the_documented_debezium_settings_make_the_record_of_the_relay() {
    let test = mysql().await;
    let db = Database::connect(&test.url).await.unwrap();
    add_the_columns_of_the_page(&db).await;
    let event = written(&test.store).await;
    let routed = route(&settings_of_the_page(), &row_of(&db, &event).await);
    let record = Record::of(&event, "firstcome");
    assert_eq!(
        (&routed.topic, &routed.key, &routed.value),
        (&record.topic, &record.key, &record.payload)
    );
    let millis = event.created_at.timestamp_millis();
    assert_eq!(routed.timestamp_millis, Some(millis));
    for (name, value) in &record.headers {
        let expected = match *name {
            // Constants, which other transformations add.
            "content-type" | "ce_source" => {
                is_on_the_page(&[
                    &format!(".header={name}"),
                    &format!(".value.literal={value}"),
                ]);
                continue;
            }
            // `InsertHeader` would convert it to a number.
            "ce_specversion" => {
                is_on_the_page(&[
                    "transforms=specversion,toheader,outbox,unranked,untraced,topic,source,contenttype,routerid",
                    "transforms.specversion.type=org.apache.kafka.connect.transforms.InsertField$Key",
                    &format!("transforms.specversion.static.value={value}"),
                    "transforms.toheader.type=org.apache.kafka.connect.transforms.HeaderFrom$Key",
                    &format!("transforms.toheader.headers={name}"),
                ]);
                continue;
            }
            _ => value.clone(),
        };
        assert_eq!(routed.headers.get(*name), Some(&expected), "{name}");
    }
}
