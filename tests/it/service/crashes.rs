//! Aborts the process at every gap between two writes, and restarts it: every accepted participation exists,
//! and every unit can still be sold.

use std::time::Duration;

use firstcome::domain::{CampaignId, ParticipationId, Status};
use firstcome::runtime::failpoint::POINTS;
use futures_util::StreamExt;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::process::{Service, command};
use super::real::{Parts, parts};
use crate::support::until;

const STOCK: u64 = 60;

/// The number of times that a point is passed before the crash.
fn passes(point: &str) -> u32 {
    match point {
        "participate.admitted" | "participate.committed" => 12,
        "rebuild.raised" | "rebuild.loaded" => 2,
        point if needs_leases(point) || point.starts_with("writer.releas") => 0,
        _ => 3,
    }
}

/// Whether the point is passed only when a dead process has left leases.
fn needs_leases(point: &str) -> bool {
    point.starts_with("sweep.") || point.starts_with("replicas.")
}

struct Run {
    parts: Parts,
    folder: TempDir,
    campaign: i64,
    other: i64,
    orders: i64,
    paid: Vec<String>,
    /// Not if leases must be swept: a rebuild ends them.
    rebuilds: bool,
    yes: Vec<Value>,
    asked: i64,
}

impl Run {
    /// All users participate in two campaigns with one key, so that some are admitted and then refused by the
    /// store; an admin rebuilds the gate meanwhile.
    async fn some_traffic(&mut self, service: &Service) {
        let users = self.asked..self.asked + 16;
        self.asked = users.end;
        let campaigns = (self.campaign, self.other);
        let answers: Vec<_> = futures_util::stream::iter(users)
            .map(|user| async move {
                let key = format!("key-{user}");
                let ask = |campaign: i64| {
                    let path = format!("/api/campaigns/{campaign}/participation");
                    let request = service.post(&path).header("Idempotency-Key", &key);
                    request.json(&json!({ "userId": user })).send()
                };
                let (one, two) = tokio::join!(ask(campaigns.0), ask(campaigns.1));
                [one, two]
            })
            .buffer_unordered(8)
            .collect()
            .await;
        for answer in answers.into_iter().flatten().flatten() {
            // An incomplete response counts as no response.
            if answer.status() == 201
                && let Ok(yes) = answer.text().await
                && let Ok(yes) = serde_json::from_str(&yes)
            {
                self.yes.push(yes);
            }
        }
        self.some_orders(service).await;
        if self.rebuilds {
            let path = format!("/campaigns/{}/rebuild-gate", self.campaign);
            service.admin(&path).send().await.ok();
        }
    }

    /// Some users reserve, and pay or cancel.
    async fn some_orders(&mut self, service: &Service) {
        for user in self.asked..self.asked + 4 {
            let Some(yes) = ask_for(service, self.orders, user).await else {
                continue;
            };
            let id = yes["participationId"].as_str().unwrap().to_owned();
            self.yes.push(yes);
            let what = if user % 2 == 0 { "confirm" } else { "cancel" };
            let path = format!("/api/participations/{id}/{what}");
            let asked = service
                .post(&path)
                .header("Authorization", user.to_string());
            let answer = asked.json(&json!({})).send().await;
            if what == "confirm" && answer.is_ok_and(|answer| answer.status() == 200) {
                self.paid.push(id);
            }
        }
    }

    /// The remaining users get the remaining units: all of them.
    async fn sell_the_rest(&mut self, service: &Service) {
        for campaign in [self.campaign, self.other, self.orders] {
            until("all is sold", async || {
                self.asked += 1;
                let answer = service.take_part(campaign, self.asked).await;
                answer.status() == 409 && self.committed(campaign).await == STOCK
            })
            .await;
        }
    }

    async fn committed(&self, campaign: i64) -> u64 {
        let store = &self.parts.test.store;
        let campaign = store.campaign(CampaignId(campaign)).await.unwrap();
        campaign.unwrap().committed_units
    }

    async fn judge(&self, point: &str) {
        for yes in &self.yes {
            let id = yes["participationId"].as_str().unwrap();
            let id = ParticipationId(id.parse().unwrap());
            let row = self.parts.test.store.participation(id).await.unwrap();
            let row = row.unwrap_or_else(|| panic!("{point}: {yes} is lost"));
            assert_eq!(row.rank, yes["rank"].as_u64().unwrap(), "{point}");
        }
        for id in &self.paid {
            let id = ParticipationId(id.parse().unwrap());
            let row = self.parts.test.store.participation(id).await.unwrap();
            assert_eq!(row.unwrap().status, Status::Confirmed, "{point}");
        }
        let store = &self.parts.test.store;
        until("everything is published", async || {
            store.outbox_counts(None).await.unwrap().pending == 0
        })
        .await;
        let verified = command(&self.folder, self.parts.settings())
            .args(["verify", "--json", "--topic"])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&verified.stdout);
        assert!(verified.status.success(), "{point}: {text}");
    }
}

/// Participates, and returns whether it was accepted.
async fn ask_for(service: &Service, campaign: i64, user: i64) -> Option<Value> {
    let path = format!("/api/campaigns/{campaign}/participation");
    let asked = service.post(&path).json(&json!({ "userId": user }));
    let answer = asked.send().await.ok()?;
    let is_yes = answer.status() == 201;
    let text = answer.text().await.ok()?;
    is_yes.then(|| serde_json::from_str(&text).ok()).flatten()
}

async fn dies_at(point: &'static str) {
    let mut parts = parts().await;
    // The leases of a dead replica are ended long before they expire.
    let lease = if point.starts_with("replicas.") {
        "10m"
    } else {
        "3s"
    };
    for (name, value) in [
        ("FIRSTCOME_GATE_LEASE", lease),
        ("FIRSTCOME_GATE_SWEEP_INTERVAL", "500ms"),
        ("FIRSTCOME_KAFKA_MESSAGE_TIMEOUT", "1s"),
        ("FIRSTCOME_RELAY_LEASE", "3s"),
    ] {
        parts.settings.push((name, value.to_owned()));
    }
    let folder = TempDir::new().unwrap();
    let mut first = Service::start(&folder, &parts.settings).await;
    let sale = || json!({ "name": point, "kind": "general", "totalStock": STOCK });
    let (campaign, other) = (first.create(sale()).await, first.create(sale()).await);
    let mut paid = sale();
    paid["price"] = json!(100);
    let orders = first.create(paid).await;
    if needs_leases(point) {
        // A crash here leaves leases.
        drop(first);
        let mut settings = parts.settings.clone();
        settings.push((
            "FAILPOINTS",
            "participate.admitted=5*off->return".to_owned(),
        ));
        first = Service::start(&folder, &settings).await;
    }
    let mut run = Run {
        parts,
        folder,
        campaign,
        other,
        orders,
        paid: Vec::new(),
        rebuilds: !needs_leases(point),
        yes: Vec::new(),
        asked: 1,
    };
    run.some_traffic(&first).await;
    drop(first);

    let mut settings = run.parts.settings.clone();
    let armed = match passes(point) {
        0 => format!("{point}=return"),
        passes => format!("{point}={passes}*off->return"),
    };
    settings.push(("FAILPOINTS", armed));
    let mut second = Service::start(&run.folder, &settings).await;
    until(&format!("it dies at {point}"), async || {
        run.some_traffic(&second).await;
        second.has_died()
    })
    .await;

    let third = Service::start(&run.folder, &run.parts.settings).await;
    run.sell_the_rest(&third).await;
    run.judge(point).await;
    eprintln!("{point}: {} yes, {} asked", run.yes.len(), run.asked);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_killed_between_two_writes_loses_nothing() {
    futures_util::stream::iter(POINTS)
        .map(|point| tokio::time::timeout(Duration::from_secs(240), dies_at(point)))
        .buffer_unordered(3)
        .for_each(|ended| async move { ended.unwrap() })
        .await;
}
