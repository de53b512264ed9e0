//! Aborts the process at every gap of an order: all lines follow their order, and every unit can still be sold.

use std::time::Duration;

use firstcome::domain::CampaignId;
use firstcome::runtime::failpoint::ORDER_POINTS;
use futures_util::StreamExt;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{lines, sale};
use crate::service::process::{ADMIN_TOKEN, Service};
use crate::service::real::parts;
use crate::support::until;

const STOCK: u64 = 40;

struct Run {
    campaigns: [i64; 2],
    asked: i64,
    /// Accepted orders, and the paid ones among them.
    placed: Vec<Value>,
    paid: Vec<Value>,
}

impl Run {
    async fn some_orders(&mut self, service: &Service) {
        let users = self.asked..self.asked + 8;
        self.asked = users.end;
        let campaigns = self.campaigns;
        let answers: Vec<_> = futures_util::stream::iter(users)
            .map(|user| order(service, campaigns, user))
            .buffer_unordered(4)
            .collect()
            .await;
        for (placed, paid) in answers {
            self.paid.extend(placed.clone().filter(|_| paid));
            self.placed.extend(placed);
        }
    }

    /// Accepted orders that are neither confirmed nor expired.
    async fn unfinished(&self, service: &Service) -> usize {
        let mut unfinished = 0;
        for placed in &self.placed {
            let order = read(service, placed).await;
            unfinished += usize::from(order["status"] == "reserved");
        }
        unfinished
    }
}

async fn read(service: &Service, placed: &Value) -> Value {
    let id = placed["orderId"].as_str().unwrap();
    let request = service.get(&format!("/api/orders/{id}"));
    let request = request.bearer_auth(ADMIN_TOKEN);
    request.send().await.unwrap().json().await.unwrap()
}

/// Places an order, and pays for it. Returns the accepted order, and whether it is paid.
async fn order(service: &Service, [one, two]: [i64; 2], user: i64) -> (Option<Value>, bool) {
    let wanted = if user % 2 == 0 {
        [(one, 1), (two, 1)]
    } else {
        [(two, 1), (one, 1)]
    };
    let request = service.post("/api/orders").json(&lines(&wanted));
    let request = request.header("Authorization", user.to_string());
    // An incomplete response counts as no response.
    let Ok(answer) = request.send().await else {
        return (None, false);
    };
    if answer.status() != 201 {
        return (None, false);
    }
    let Ok(placed) = answer.json::<Value>().await else {
        return (None, false);
    };
    let id = placed["orderId"].as_str().unwrap();
    let request = service.post(&format!("/api/orders/{id}/confirm"));
    let request = request.header("Authorization", user.to_string());
    let paid = request.json(&json!({})).send().await;
    let is_paid = paid.is_ok_and(|paid| paid.status() == 200);
    (Some(placed), is_paid)
}

async fn dies_at(point: &'static str) {
    let mut parts = parts().await;
    for (name, value) in [
        ("FIRSTCOME_GATE_LEASE", "3s"),
        ("FIRSTCOME_GATE_SWEEP_INTERVAL", "500ms"),
        ("FIRSTCOME_RELAY_LEASE", "3s"),
        ("FIRSTCOME_KAFKA_MESSAGE_TIMEOUT", "1s"),
    ] {
        parts.settings.push((name, value.to_owned()));
    }
    let folder = TempDir::new().unwrap();
    let first = Service::start(&folder, &parts.settings).await;
    let mut campaign = sale(STOCK, Some(10));
    campaign["holdSeconds"] = json!(5);
    let campaigns = [
        first.create(campaign.clone()).await,
        first.create(campaign).await,
    ];
    drop(first);
    let mut run = Run {
        campaigns,
        asked: 1,
        placed: Vec::new(),
        paid: Vec::new(),
    };
    let mut settings = parts.settings.clone();
    settings.push(("FAILPOINTS", format!("{point}=5*off->return")));
    let mut second = Service::start(&folder, &settings).await;
    until(&format!("it dies at {point}"), async || {
        run.some_orders(&second).await;
        second.has_died()
    })
    .await;

    let third = Service::start(&folder, &parts.settings).await;
    let store = &parts.test.store;
    // Unfinished orders are finished, unpaid ones expire, and the rest can be sold; the caller bounds the wait.
    loop {
        run.some_orders(&third).await;
        let mut sold = 0;
        for id in campaigns {
            let campaign = store.campaign(CampaignId(id)).await.unwrap();
            sold += campaign.unwrap().committed_units;
        }
        let left = store.outbox_counts(None).await.unwrap().pending;
        eprintln!(
            "{point}: {sold} units sold, {} orders paid, {left} events pending",
            run.paid.len()
        );
        if sold == 2 * STOCK && run.unfinished(&third).await == 0 {
            break;
        }
    }
    for paid in &run.paid {
        assert_eq!(read(&third, paid).await["status"], "confirmed", "{point}");
    }
    parts.until_sound(&folder).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_never_half_done_after_a_crash() {
    futures_util::stream::iter(ORDER_POINTS)
        .map(|point| tokio::time::timeout(Duration::from_secs(240), dies_at(point)))
        .buffer_unordered(3)
        .for_each(|ended| async move { ended.unwrap() })
        .await;
}
