//! Clients that order units of two campaigns at once, in either order, and repeat each request with its key until the
//! outcome is known. Afterwards an accepted order stands with all its lines, and a refused one has none.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reqwest::Client;
use sea_orm::sqlx::{self, MySqlConnection};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::judge::Breach;
use crate::load::http;
use crate::world::World;

/// Clients at the same time.
const CLIENTS: u64 = 3;
/// Their users, who ask for nothing else.
const FIRST_USER: i64 = 10_000;
const USERS: i64 = 200;
/// Longest wait until the last order is finished: one that nobody decided is refused after 15 s.
const FINISHING: Duration = Duration::from_secs(40);

/// What clients know of their orders.
#[derive(Default)]
pub struct OrderLedger(Mutex<Vec<OrderAnswer>>);

impl OrderLedger {
    fn write(&self, answer: OrderAnswer) {
        self.0.lock().unwrap().push(answer);
    }
}

struct OrderAnswer {
    key: String,
    outcome: OrderOutcome,
}

#[derive(Clone)]
enum OrderOutcome {
    Yes(Uuid),
    No(String),
    Odd(String),
    /// Nobody asks any more.
    Unknown,
}

/// Starts the clients.
pub fn start(
    world: &Arc<World>,
    stop: &Arc<AtomicBool>,
    abandon: &Arc<AtomicBool>,
) -> Vec<JoinHandle<()>> {
    let client = |nth: u64| {
        let (world, stop, abandon) = (Arc::clone(world), Arc::clone(stop), Arc::clone(abandon));
        let mut random = StdRng::seed_from_u64(world.schedule.seed * 1_000 + 500 + nth);
        tokio::spawn(async move {
            let http = http();
            let mut sent = 0;
            while !stop.load(Ordering::SeqCst) {
                sent += 1;
                let key = format!("lines-{nth}-{sent}");
                let outcome = order(&world, &http, &key, &mut random, &abandon).await;
                world.order_ledger.write(OrderAnswer { key, outcome });
                let pause = random.random_range(60..220);
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
        })
    };
    (0..CLIENTS).map(client).collect()
}

/// Places an order, and repeats the request at any replica until the outcome is known.
async fn order(
    world: &World,
    http: &Client,
    key: &str,
    random: &mut StdRng,
    abandon: &AtomicBool,
) -> OrderOutcome {
    let mut lines: Vec<Value> = world
        .ordered()
        .iter()
        .map(|offer| json!({ "campaignId": offer.id }))
        .collect();
    if random.random_ratio(1, 2) {
        lines.reverse();
    }
    let user = FIRST_USER + random.random_range(0..USERS);
    let wanted = json!({ "userId": user, "lines": lines });
    while !abandon.load(Ordering::SeqCst) {
        let replica = random.random_range(0..world.replicas.len());
        if let Some(base) = world.replicas[replica].base()
            && let Some(outcome) = ask(http, &base, key, &wanted).await
        {
            return outcome;
        }
        let pause = random.random_range(150..500);
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
    OrderOutcome::Unknown
}

/// Asks once; none: no answer, or one that says to ask again.
async fn ask(http: &Client, base: &str, key: &str, wanted: &Value) -> Option<OrderOutcome> {
    let request = http.post(format!("{base}/api/orders"));
    let request = request.header("Idempotency-Key", key).json(wanted);
    let answer = request.send().await.ok()?;
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.ok()?;
    let code = body["code"].as_str().unwrap_or_default();
    match status {
        201 => body["orderId"]
            .as_str()?
            .parse()
            .ok()
            .map(OrderOutcome::Yes),
        503 => None,
        409 => Some(OrderOutcome::No(code.to_owned())),
        _ => Some(OrderOutcome::Odd(format!("{status} {body}"))),
    }
}

/// Orders that wait to be finished, which takes some time after a crash.
async fn unfinished(mysql: &mut MySqlConnection) -> i64 {
    let began = Instant::now();
    loop {
        let due = "SELECT COUNT(*) FROM order_due";
        let due: i64 = sqlx::query_scalar(due)
            .fetch_one(&mut *mysql)
            .await
            .unwrap();
        if due == 0 || began.elapsed() > FINISHING {
            return due;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Compares the answers with the database. That lines follow their orders is what `verify` checks.
pub async fn judge(world: &World) -> Vec<Breach> {
    let mut mysql = world.mysql().await.unwrap();
    let due = unfinished(&mut mysql).await;
    let orders = "SELECT id, COALESCE(idempotency_key, ''), status FROM customer_order";
    let rows: Vec<(Uuid, String, String)> =
        sqlx::query_as(orders).fetch_all(&mut mysql).await.unwrap();
    let by_id: BTreeMap<Uuid, &str> = rows.iter().map(|row| (row.0, row.2.as_str())).collect();
    let by_key: BTreeMap<&str, &str> = rows
        .iter()
        .map(|row| (row.1.as_str(), row.2.as_str()))
        .collect();
    let mut breaches = Vec::new();
    let mut breach = |holds: bool, what: String| {
        if !holds {
            breaches.push(Breach::new("I9", what));
        }
    };
    breach(due == 0, format!("{due} orders wait to be finished"));
    let answers = world.order_ledger.0.lock().unwrap();
    for OrderAnswer { key, outcome } in &*answers {
        match outcome {
            OrderOutcome::Yes(id) => {
                let status = by_id.get(id);
                let text = format!("{key}: order {id} was accepted, and is {status:?}");
                breach(status == Some(&"confirmed"), text);
            }
            OrderOutcome::No(code) => {
                let status = by_key.get(key.as_str());
                let is_right = status.is_none_or(|status| *status == "refused");
                breach(
                    is_right,
                    format!("{key}: refused with {code}, and {status:?}"),
                );
            }
            OrderOutcome::Odd(what) => breach(false, format!("{key}: {what}")),
            OrderOutcome::Unknown => {}
        }
    }
    let accepted = answers.iter();
    let accepted = accepted.filter(|answer| matches!(answer.outcome, OrderOutcome::Yes(_)));
    eprintln!(
        "    orders of two lines: {} asked, {} accepted, {} in the database",
        answers.len(),
        accepted.count(),
        rows.len()
    );
    breaches
}
