//! After a restore of an older database: `outbox ahead` lists what it has lost, and `restored` makes the other parts fit.

use std::process::Output;

use chrono::{TimeDelta, Utc};
use sea_orm::{ConnectionTrait, Database};
use serde_json::json;
use tempfile::TempDir;

use super::process::{Service, body, command};
use super::real::{Parts, parts};
use crate::support::{real, until};

/// An installation with points for the participations of the first campaign.
struct Installation {
    parts: Parts,
    folder: TempDir,
    service: Service,
}

impl Installation {
    async fn new() -> Self {
        let mut parts = parts().await;
        let consumers = ("FIRSTCOME_CONSUMERS_ENABLED", "points".to_owned());
        parts.settings.push(consumers);
        let folder = TempDir::new().unwrap();
        let service = Service::start(&folder, parts.settings()).await;
        Self {
            parts,
            folder,
            service,
        }
    }

    async fn run(&self, arguments: &[&str]) -> Output {
        let mut command = command(&self.folder, self.parts.settings());
        command.args(arguments);
        let output = tokio::task::spawn_blocking(move || command.output()).await;
        output.unwrap().unwrap()
    }

    /// A user participates; the id of the participation.
    async fn participation(&self, campaign: i64, user: i64) -> String {
        let made = body(self.service.take_part(campaign, user).await).await;
        made["participationId"].as_str().unwrap().to_owned()
    }

    /// Everything is published and has its points.
    async fn until_settled(&self, user: i64) {
        until("all is published, and has its points", async || {
            let counts = self.parts.test.store.outbox_counts(None).await.unwrap();
            let path = format!("/api/users/{user}/rewards");
            let asked = self.service.get(&path).header("Authorization", user);
            let rewards = body(asked.send().await.unwrap()).await;
            counts.pending == 0 && rewards["points"] == 7
        })
        .await;
    }

    /// Sets the database back by statements.
    async fn set_back(&self, statements: &[String]) {
        let db = Database::connect(&self.parts.test.url).await.unwrap();
        for statement in statements {
            db.execute_unprepared(statement).await.unwrap();
        }
        db.close().await.unwrap();
    }

    async fn keys_in_redis(&self) -> usize {
        let client = redis::Client::open(real("FIRSTCOME_REDIS_URL")).unwrap();
        let mut redis = client.get_multiplexed_async_connection().await.unwrap();
        let pattern = format!("{}:*", self.parts.prefix);
        let keys: Vec<String> = redis::cmd("KEYS")
            .arg(pattern)
            .query_async(&mut redis)
            .await
            .unwrap();
        keys.len()
    }
}

/// The statements that lose a campaign, and the payment for another one.
fn loss(lost: i64, paid: i64) -> Vec<String> {
    let of_lost = ["participation", "outbox_event", "outbox_position"];
    let mut statements: Vec<String> = of_lost
        .iter()
        .map(|table| format!("DELETE FROM {table} WHERE campaign_id = {lost}"))
        .collect();
    statements.push(format!("DELETE FROM campaign WHERE id = {lost}"));
    statements.push(format!("ALTER TABLE campaign AUTO_INCREMENT = {lost}"));
    statements.push(format!(
        "UPDATE participation SET status = 'reserved', version = 1 WHERE campaign_id = {paid}"
    ));
    statements
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restore_the_lost_is_listed_and_the_other_parts_fit() {
    let began = Utc::now() - TimeDelta::seconds(1);
    let mut here = Installation::new().await;
    let points = json!({ "name": "points", "kind": "points", "reward": { "points": 7 } });
    let kept = here.service.create(points).await;
    let paid = json!({ "name": "paid", "kind": "general", "price": 100 });
    let paid = here.service.create(paid).await;
    let lost = json!({ "name": "lost", "kind": "general" });
    let lost = here.service.create(lost).await;
    here.participation(kept, 1).await;
    let changed = here.participation(paid, 2).await;
    let confirm = here
        .service
        .post(&format!("/api/participations/{changed}/confirm"));
    let confirm = confirm.header("Authorization", "2").json(&json!({}));
    assert_eq!(confirm.send().await.unwrap().status(), 200);
    let gone = here.participation(lost, 3).await;
    here.until_settled(1).await;

    // With a database that was not set back there is nothing to list.
    let listed = here.run(&["outbox", "ahead"]).await;
    let header = "campaignId,rank,participationId,userId,quantity,status,occurredAt,databaseStatus";
    assert_eq!(String::from_utf8(listed.stdout).unwrap().trim_end(), header);
    // Processes that run are in the way, and nothing is removed.
    let now = Utc::now().to_rfc3339();
    let refused = here.run(&["restored", "--to", &now, "--yes"]).await;
    let told = String::from_utf8(refused.stderr).unwrap();
    assert!(
        !refused.status.success() && told.contains("stop every process"),
        "{told}"
    );
    assert!(here.keys_in_redis().await > 0);
    assert!(here.service.stop().await.success());

    here.set_back(&loss(lost, paid)).await;

    let listed = here.run(&["outbox", "ahead"]).await;
    assert!(listed.status.success(), "{listed:?}");
    let listed = String::from_utf8(listed.stdout).unwrap();
    let rows: Vec<Vec<&str>> = listed
        .lines()
        .skip(1)
        .map(|line| line.split(',').collect())
        .collect();
    assert_eq!(rows.len(), 2, "{listed}");
    for (row, campaign, id, user, in_database) in [
        (&rows[0], paid, &changed, "2", "reserved"),
        (&rows[1], lost, &gone, "3", ""),
    ] {
        assert_eq!(row[0], campaign.to_string(), "{listed}");
        assert_eq!(&row[1..6], ["1", id, user, "1", "confirmed"], "{listed}");
        assert_eq!(row[7], in_database, "{listed}");
    }

    let done = here
        .run(&["restored", "--to", &began.to_rfc3339(), "--yes"])
        .await;
    let told = String::from_utf8(done.stdout).unwrap();
    assert!(done.status.success(), "{told} {:?}", done.stderr);
    assert!(told.contains(&format!("above {lost}\n")), "{told}");
    let group = format!("group {}.points: set back in ", here.parts.prefix);
    assert!(
        told.contains(&group) && !told.contains(&format!("{group}0 ")),
        "{told}"
    );
    assert_eq!(here.keys_in_redis().await, 0);

    here.service = Service::start(&here.folder, here.parts.settings()).await;
    let new = json!({ "name": "new", "kind": "general" });
    assert!(here.service.create(new).await > lost);
    // The points are granted once, although the record is read again.
    here.until_settled(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_moment_and_a_missing_confirmation_change_nothing() {
    let here = Installation::new().await;
    for (arguments, problem) in [
        (&["restored"][..], "--to"),
        (&["restored", "--to", "yesterday", "--yes"], "--to"),
        (
            &["restored", "--to", "2999-01-01T00:00:00Z", "--yes"],
            "in the future",
        ),
        (&["restored", "--to", "2020-01-01T00:00:00Z"], "--yes"),
        (
            &["outbox", "ahead", "--topic-seconds-max", "0"],
            "--topic-seconds-max",
        ),
    ] {
        let refused = here.run(arguments).await;
        let told = String::from_utf8(refused.stderr).unwrap();
        assert!(
            !refused.status.success() && told.contains(problem),
            "{arguments:?}: {told}"
        );
    }
}
