//! Clients that order units of two campaigns at once, in either order, and repeat each request with its key until the
//! outcome is known. Afterwards an accepted order stands with all its lines, and a refused one has none. With odd
//! seeds the orders have a price: `payments` has what their clients do then.

mod payments;

use std::collections::{BTreeMap, BTreeSet};
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

use self::payments::{ChangeReply, Payer, StoredOrder, violations};
use crate::client::http;
use crate::judge::Breach;
use crate::world::World;

/// Concurrent clients.
const CLIENTS: u64 = 3;
/// Their users, who send no other requests.
const FIRST_USER: i64 = 10_000;
const USERS: i64 = 200;
/// Longest wait until the last order is finished: an undecided order is refused after 15 s.
const FINISHING: Duration = Duration::from_secs(40);

/// The responses that clients got for their orders.
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
    /// The changes that its client asked for, and the responses.
    changes: Vec<ChangeReply>,
}

#[derive(Clone)]
enum OrderOutcome {
    Yes(Uuid),
    No(String),
    Odd(String),
    /// No client sends requests any more.
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
                let user = FIRST_USER + random.random_range(0..USERS);
                let outcome = order(&world, &http, (&key, user), &mut random, &abandon).await;
                let mut changes = Vec::new();
                if let OrderOutcome::Yes(order) = outcome
                    && world.has_paid_orders()
                {
                    let payer = Payer {
                        world: &world,
                        http: &http,
                        abandon: &abandon,
                        order,
                        user,
                    };
                    changes = payer.handle(&key, &mut random).await;
                }
                world.order_ledger.write(OrderAnswer {
                    key,
                    outcome,
                    changes,
                });
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
    (key, user): (&str, i64),
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

/// Sends one request; none: no response, or one that asks for a retry.
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
        429 | 503 => None,
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

/// Orders in the database by id and by key, and all references of payments.
struct Stored {
    by_id: BTreeMap<Uuid, StoredOrder>,
    by_key: BTreeMap<String, Uuid>,
    references: Vec<String>,
    /// Lines with a payment that is not that of their order.
    lines_paid_apart: i64,
}

async fn read(mysql: &mut MySqlConnection) -> sqlx::Result<Stored> {
    let orders =
        "SELECT id, COALESCE(idempotency_key, ''), status, payment_reference FROM customer_order";
    let rows: Vec<(Uuid, String, String, Option<String>)> =
        sqlx::query_as(orders).fetch_all(&mut *mysql).await?;
    let paid = "SELECT payment_reference FROM participation WHERE payment_reference IS NOT NULL \
                AND id NOT IN (SELECT participation_id FROM order_line)";
    let mut references: Vec<String> = sqlx::query_scalar(paid).fetch_all(&mut *mysql).await?;
    let apart = "SELECT COUNT(*) FROM order_line l JOIN customer_order o ON o.id = l.order_id \
                 JOIN participation p ON p.id = l.participation_id \
                 WHERE NOT p.payment_reference <=> o.payment_reference \
                 AND (p.status = 'confirmed' OR p.payment_reference IS NOT NULL)";
    let lines_paid_apart = sqlx::query_scalar(apart).fetch_one(&mut *mysql).await?;
    let (mut by_id, mut by_key) = (BTreeMap::new(), BTreeMap::new());
    for (id, key, status, payment_reference) in rows {
        references.extend(payment_reference.clone());
        by_key.insert(key, id);
        let stored = StoredOrder {
            status,
            payment_reference,
        };
        by_id.insert(id, stored);
    }
    Ok(Stored {
        by_id,
        by_key,
        references,
        lines_paid_apart,
    })
}

/// Compares the responses with the database. `verify` checks that lines follow their orders.
pub async fn judge(world: &World) -> Vec<Breach> {
    let mut mysql = world.mysql().await.unwrap();
    let due = unfinished(&mut mysql).await;
    let stored = read(&mut mysql).await.unwrap();
    let mut breaches = Vec::new();
    let mut breach = |holds: bool, what: String| {
        if !holds {
            breaches.push(Breach::new("I9", what));
        }
    };
    breach(due == 0, format!("{due} orders wait to be finished"));
    let apart = stored.lines_paid_apart;
    breach(
        apart == 0,
        format!("{apart} lines have another payment than their order"),
    );
    let distinct: BTreeSet<&String> = stored.references.iter().collect();
    let twice = stored.references.len() - distinct.len();
    breach(twice == 0, format!("{twice} payments paid for two things"));
    let answers = world.order_ledger.0.lock().unwrap();
    for OrderAnswer {
        key,
        outcome,
        changes,
    } in &*answers
    {
        let found = match outcome {
            OrderOutcome::Yes(id) => stored.by_id.get(id),
            _ => stored.by_key.get(key).map(|id| &stored.by_id[id]),
        };
        let status = found.map(|order| order.status.as_str());
        match outcome {
            OrderOutcome::Yes(id) => {
                let text = format!("{key}: order {id} was accepted, and is {found:?}");
                let stands = ["reserved", "confirmed", "cancelled", "expired"];
                let is_right = status.is_some_and(|status| {
                    status == "confirmed" || world.has_paid_orders() && stands.contains(&status)
                });
                breach(is_right, text);
            }
            OrderOutcome::No(code) => {
                let is_right = status.is_none_or(|status| status == "refused");
                breach(
                    is_right,
                    format!("{key}: refused with {code}, and {found:?}"),
                );
            }
            OrderOutcome::Odd(what) => breach(false, format!("{key}: {what}")),
            OrderOutcome::Unknown => {}
        }
        if let Some(order) = found.filter(|_| world.has_paid_orders()) {
            for what in violations(order, changes, world.is_cancellable()) {
                breach(false, format!("{key}: {order:?}, and {what}"));
            }
        }
    }
    let accepted = answers.iter();
    let accepted = accepted.filter(|answer| matches!(answer.outcome, OrderOutcome::Yes(_)));
    let mut statuses: BTreeMap<&str, u64> = BTreeMap::new();
    for order in stored.by_id.values() {
        *statuses.entry(&order.status).or_default() += 1;
    }
    eprintln!(
        "    orders of two lines: {} asked, {} accepted, in the database {statuses:?}",
        answers.len(),
        accepted.count(),
    );
    breaches
}
