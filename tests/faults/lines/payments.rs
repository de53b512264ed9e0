//! The ways in which clients handle an order that is to be paid: they pay, cancel, do both at once, pay twice, or let
//! it expire. A client without a response repeats its request at any replica until the outcome is known. The rules for
//! what may be stored afterwards are pure, and tested with planted violations.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reqwest::Client;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::world::{HOLD, World};

/// A change that a client requests of its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderChange {
    Confirm { reference: String },
    Cancel,
}

/// The last response to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Yes,
    No(String),
    Odd(String),
    /// Nobody asks any more.
    Unknown,
}

/// A change and its response.
pub type ChangeReply = (OrderChange, Reply);

/// A placed order and the client that placed it.
pub struct Payer<'a> {
    pub world: &'a World,
    pub http: &'a Client,
    pub abandon: &'a AtomicBool,
    pub order: Uuid,
    pub user: i64,
}

impl Payer<'_> {
    /// Chooses at random what to do, and does it. The references of payments end with `name`, which is unique.
    pub async fn handle(&self, name: &str, random: &mut StdRng) -> Vec<ChangeReply> {
        let confirm = |how: &str| OrderChange::Confirm {
            reference: format!("{how}-{name}"),
        };
        let steps = match random.random_range(0..10) {
            0..3 => vec![vec![confirm("pay")]],
            3 | 4 => vec![vec![confirm("one"), confirm("other")]],
            5 | 6 => vec![vec![confirm("pay"), OrderChange::Cancel]],
            7 => vec![vec![confirm("pay")], vec![OrderChange::Cancel]],
            8 => vec![vec![OrderChange::Cancel]],
            _ => Vec::new(),
        };
        if random.random_ratio(1, 4) {
            // Nearly too late, or a little later.
            let hold_ms = u64::try_from(HOLD.as_millis()).unwrap();
            let after = random.random_range(hold_ms - 400..hold_ms + 100);
            tokio::time::sleep(Duration::from_millis(after)).await;
        }
        let mut replies = Vec::new();
        for step in steps {
            replies.extend(self.ask_at_once(step, random).await);
        }
        replies
    }

    /// Asks for these changes at the same time, each at another replica as far as there are others.
    async fn ask_at_once(
        &self,
        changes: Vec<OrderChange>,
        random: &mut StdRng,
    ) -> Vec<ChangeReply> {
        let first = random.random_range(0..self.world.replicas.len());
        let requests = changes.into_iter().zip(first..).map(|(change, replica)| {
            let own = StdRng::seed_from_u64(random.random());
            self.ask_until_known(change, replica, own)
        });
        join_all(requests.collect::<Vec<_>>()).await
    }

    async fn ask_until_known(
        &self,
        change: OrderChange,
        mut replica: usize,
        mut random: StdRng,
    ) -> ChangeReply {
        loop {
            let nth = replica % self.world.replicas.len();
            if let Some(reply) = self.ask(nth, &change).await {
                return (change, reply);
            }
            if self.abandon.load(Ordering::SeqCst) {
                return (change, Reply::Unknown);
            }
            let pause = random.random_range(100..400);
            tokio::time::sleep(Duration::from_millis(pause)).await;
            replica = random.random_range(0..self.world.replicas.len());
        }
    }

    /// Asks once; none: no answer, or one that says to ask again.
    async fn ask(&self, replica: usize, change: &OrderChange) -> Option<Reply> {
        let base = self.world.replicas[replica].base()?;
        let word = match change {
            OrderChange::Confirm { .. } => "confirm",
            OrderChange::Cancel => "cancel",
        };
        let call = self
            .http
            .post(format!("{base}/api/orders/{}/{word}", self.order))
            .header("Authorization", self.user.to_string());
        let call = match change {
            OrderChange::Confirm { reference } => {
                call.json(&json!({ "paymentReference": reference }))
            }
            OrderChange::Cancel => call,
        };
        let answer = call.send().await.ok()?;
        let status = answer.status().as_u16();
        let body = answer.json().await.ok()?;
        read(self.order, change, status, &body)
    }
}

/// Reads a response; none: ask again.
fn read(order: Uuid, change: &OrderChange, status: u16, body: &Value) -> Option<Reply> {
    let odd = || Reply::Odd(format!("{change:?}: {status} {body}"));
    let code = body["code"].as_str().unwrap_or_default();
    let known: &[&str] = match change {
        OrderChange::Confirm { .. } => &["EXPIRED", "CANCELLED", "ALREADY_PAID"],
        OrderChange::Cancel => &["EXPIRED", "NOT_CANCELLABLE"],
    };
    let is_granted = body["orderId"] == order.to_string()
        && match change {
            OrderChange::Confirm { reference } => {
                body["status"] == "confirmed" && body["paymentReference"] == *reference
            }
            OrderChange::Cancel => body["status"] == "cancelled",
        };
    match status {
        429 | 503 => None,
        200 if is_granted => Some(Reply::Yes),
        409 if known.contains(&code) => Some(Reply::No(code.to_owned())),
        _ => Some(odd()),
    }
}

/// An order in the database.
#[derive(Clone, Debug)]
pub struct StoredOrder {
    pub status: String,
    pub payment_reference: Option<String>,
}

/// What is wrong about a stored order that is to be paid, given what its client asked for.
pub fn violations(
    stored: &StoredOrder,
    changes: &[ChangeReply],
    is_cancellable: bool,
) -> Vec<String> {
    let status = stored.status.as_str();
    let paid = stored.payment_reference.as_deref();
    let is_asked =
        |wanted: &dyn Fn(&OrderChange) -> bool| changes.iter().any(|(change, _)| wanted(change));
    let is_cancelled = is_asked(&|change| *change == OrderChange::Cancel);
    let is_paid_by_client = |paid: &str| {
        is_asked(
            &|change| matches!(change, OrderChange::Confirm { reference } if reference == paid),
        )
    };
    let is_right = match status {
        "confirmed" => paid.is_some(),
        "cancelled" => is_cancelled,
        "expired" | "refused" => paid.is_none(),
        // Nothing waits for a decision in the end.
        _ => false,
    };
    let mut found = Vec::new();
    if !is_right {
        found.push(format!("the client asked for {changes:?}"));
    }
    if !paid.is_none_or(is_paid_by_client) {
        found.push(format!("the client paid otherwise: {changes:?}"));
    }
    for (change, reply) in changes {
        let is_so = match (change, reply) {
            (OrderChange::Confirm { reference }, Reply::Yes) => {
                paid == Some(reference) && ["confirmed", "cancelled"].contains(&status)
            }
            (OrderChange::Cancel, Reply::Yes) => status == "cancelled",
            (OrderChange::Confirm { reference }, Reply::No(code)) => match code.as_str() {
                // Too late for a payment, a reservation can still be cancelled before it expires.
                "EXPIRED" => paid.is_none() && ["expired", "cancelled"].contains(&status),
                "CANCELLED" => status == "cancelled",
                _ => paid.is_some_and(|paid| paid != reference),
            },
            (OrderChange::Cancel, Reply::No(code)) => match code.as_str() {
                "EXPIRED" => status == "expired",
                _ => status == "confirmed" && !is_cancellable,
            },
            (_, Reply::Odd(_)) => false,
            (_, Reply::Unknown) => true,
        };
        if !is_so {
            found.push(format!("{change:?} was answered with {reply:?}"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(status: &str, paid: Option<&str>) -> StoredOrder {
        StoredOrder {
            status: status.to_owned(),
            payment_reference: paid.map(str::to_owned),
        }
    }

    fn pay(reference: &str) -> OrderChange {
        OrderChange::Confirm {
            reference: reference.to_owned(),
        }
    }

    fn no(code: &str) -> Reply {
        Reply::No(code.to_owned())
    }

    #[test]
    fn true_responses_to_changes_of_orders_are_no_violation() {
        let already = || no("ALREADY_PAID");
        for (stored, changes) in [
            (stored("expired", None), vec![]),
            (
                stored("confirmed", Some("a")),
                vec![(pay("a"), Reply::Yes), (pay("b"), already())],
            ),
            (
                stored("cancelled", Some("a")),
                vec![(pay("a"), Reply::Yes), (OrderChange::Cancel, Reply::Yes)],
            ),
            (stored("expired", None), vec![(pay("a"), no("EXPIRED"))]),
            (
                stored("confirmed", Some("a")),
                vec![(pay("a"), Reply::Unknown)],
            ),
        ] {
            assert_eq!(violations(&stored, &changes, true), [""; 0]);
        }
    }

    #[test]
    fn false_responses_to_changes_of_orders_are_found() {
        for (stored, changes) in [
            // Undecided, paid by nobody, paid otherwise, cancelled unasked.
            (stored("reserved", None), vec![]),
            (stored("confirmed", None), vec![]),
            (
                stored("confirmed", Some("b")),
                vec![(pay("a"), Reply::Unknown)],
            ),
            (stored("cancelled", None), vec![(pay("a"), no("CANCELLED"))]),
            // Two payments for one order, and a payment that was lost.
            (
                stored("confirmed", Some("a")),
                vec![(pay("a"), Reply::Yes), (pay("b"), Reply::Yes)],
            ),
            (stored("expired", None), vec![(pay("a"), Reply::Yes)]),
            (
                stored("confirmed", Some("a")),
                vec![(pay("a"), no("EXPIRED"))],
            ),
            // A cancellation that did not happen, and one that was possible.
            (
                stored("confirmed", Some("a")),
                vec![(pay("a"), Reply::Yes), (OrderChange::Cancel, Reply::Yes)],
            ),
            (
                stored("confirmed", Some("a")),
                vec![
                    (pay("a"), Reply::Yes),
                    (OrderChange::Cancel, no("NOT_CANCELLABLE")),
                ],
            ),
        ] {
            assert_ne!(violations(&stored, &changes, true), [""; 0], "{stored:?}");
        }
    }

    #[test]
    fn responses_to_changes_of_orders_are_distinguished() {
        let order = Uuid::nil();
        let body = |status: &str, reference: &str| json!({ "orderId": order, "status": status, "paymentReference": reference });
        let refused = |code: &str| json!({ "code": code });
        let paid = read(order, &pay("a"), 200, &body("confirmed", "a"));
        assert_eq!(paid, Some(Reply::Yes));
        let other = read(order, &pay("a"), 200, &body("confirmed", "b"));
        assert!(matches!(other, Some(Reply::Odd(_))));
        assert_eq!(read(order, &pay("a"), 503, &refused("UNAVAILABLE")), None);
        let late = read(order, &OrderChange::Cancel, 409, &refused("EXPIRED"));
        assert_eq!(late, Some(no("EXPIRED")));
        let missing = read(order, &OrderChange::Cancel, 404, &refused("NOT_FOUND"));
        assert!(matches!(missing, Some(Reply::Odd(_))));
    }
}
