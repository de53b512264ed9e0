//! The requests of a buyer: a participation, and the changes of it. A buyer without a response retries at any replica
//! until the outcome is known.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reqwest::Client;
use reqwest::header::RETRY_AFTER;
use serde_json::json;
use uuid::Uuid;

use crate::client::send;
use crate::ledger::{
    Change, ChangeOutcome, ChangeRequest, Outcome, ParticipationRequest, Path, Phase, Yes,
};
use crate::replica::ADMIN_TOKEN;
use crate::site::Site;

/// A participation that its user changes.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    pub participation: Uuid,
    pub user: i64,
    /// When the participation was first requested.
    asked_at: Instant,
    /// When the response arrived that accepted it.
    pub yes_at: Instant,
}

impl Order {
    /// The order of the response just received.
    pub fn of(yes: &Yes, asked_at: Instant) -> Self {
        Self {
            participation: yes.participation,
            user: yes.user,
            asked_at,
            yes_at: Instant::now(),
        }
    }

    /// A participation of this user that was read just now.
    pub fn known(participation: Uuid, user: i64) -> Self {
        let now = Instant::now();
        Self {
            participation,
            user,
            asked_at: now,
            yes_at: now,
        }
    }
}

/// One request in eight takes the synchronous path.
pub fn any_path(random: &mut StdRng) -> Path {
    if random.random_ratio(1, 8) {
        Path::Sync
    } else {
        Path::Grouped
    }
}

/// Sends a request of the traffic; with a key, at any replica until the outcome is known. Returns the order if it is
/// accepted.
pub async fn ask_until_known(
    site: &dyn Site,
    http: &Client,
    request: &ParticipationRequest,
    random: &mut StdRng,
    abandon: &AtomicBool,
) -> Option<Order> {
    let asked_at = Instant::now();
    loop {
        let replica = random.random_range(0..site.replicas().len());
        let sent = Instant::now();
        let outcome = send(site.replicas()[replica].base(), http, request).await;
        let order = match &outcome {
            Outcome::Yes(yes) => Some(Order::of(yes, asked_at)),
            _ => None,
        };
        let is_over = outcome.is_definite() || request.key.is_none();
        let ledger = site.ledger();
        ledger.write(Phase::Traffic, replica, (request.clone(), sent), outcome);
        if is_over || abandon.load(Ordering::SeqCst) {
            return order;
        }
        let pause = random.random_range(150..500);
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
}

/// Requests changes.
pub struct Buyer<'a> {
    pub site: &'a dyn Site,
    pub http: &'a Client,
    pub phase: Phase,
    /// Set when clients must not retry any more.
    pub abandon: &'a AtomicBool,
    pub by: By,
}

/// Who requests a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    User,
    Administrator,
    /// The user at the first replica, an administrator at the others.
    Either,
}

impl Buyer<'_> {
    /// Requests all changes at once, each at another replica if there are others.
    pub async fn ask_at_once(&self, order: Order, changes: Vec<Change>, random: &mut StdRng) {
        let first = random.random_range(0..self.site.replicas().len());
        let requests = changes.into_iter().zip(first..);
        let requests = requests.map(|(change, replica)| {
            let own = StdRng::seed_from_u64(random.random());
            self.ask_until_known(order, change, replica, own)
        });
        join_all(requests.collect::<Vec<_>>()).await;
    }

    /// Pays for it.
    pub async fn pay(&self, order: Order, replica: usize) {
        let change = Change::Confirm {
            reference: format!("pay-{}", order.participation),
        };
        let own = StdRng::seed_from_u64(order.user.unsigned_abs());
        self.ask_until_known(order, change, replica, own).await;
    }

    async fn ask_until_known(
        &self,
        order: Order,
        change: Change,
        mut replica: usize,
        mut random: StdRng,
    ) {
        let request = ChangeRequest {
            participation: order.participation,
            user: order.user,
            change,
            waited: order.yes_at.elapsed(),
        };
        loop {
            let nth = replica % self.site.replicas().len();
            let outcome = self.ask(nth, &request).await;
            let is_known = outcome.is_definite();
            let ledger = self.site.ledger();
            ledger.write_change(self.phase, nth, request.clone(), order.asked_at, outcome);
            if is_known || self.abandon.load(Ordering::SeqCst) {
                return;
            }
            let pause = random.random_range(100..400);
            tokio::time::sleep(Duration::from_millis(pause)).await;
            replica = random.random_range(0..self.site.replicas().len());
        }
    }

    async fn ask(&self, replica: usize, request: &ChangeRequest) -> ChangeOutcome {
        let Some(base) = self.site.replicas()[replica].base() else {
            return ChangeOutcome::Lost("it never served".to_owned());
        };
        let word = request.change.word();
        let what = match &request.change {
            Change::Use { coupon, .. } => format!("coupons/{coupon}"),
            Change::Confirm { .. } | Change::Cancel => {
                format!("participations/{}", request.participation)
            }
        };
        let call = self.http.post(format!("{base}/api/{what}/{word}"));
        let call = if self.by == By::User || self.by == By::Either && replica == 0 {
            call.header("Authorization", request.user.to_string())
        } else {
            call.bearer_auth(ADMIN_TOKEN)
        };
        let call = match &request.change {
            Change::Confirm { reference } => call.json(&json!({ "paymentReference": reference })),
            Change::Cancel => call,
            Change::Use { order, .. } => {
                call.json(&json!({ "orderAmount": 2_000, "orderId": order }))
            }
        };
        let answered = async {
            let answer = call.send().await?;
            let status = answer.status().as_u16();
            let has_retry_after = answer.headers().contains_key(RETRY_AFTER);
            let body = answer.text().await?;
            Ok::<_, reqwest::Error>(request.read(status, has_retry_after, &body))
        };
        answered
            .await
            .unwrap_or_else(|error| ChangeOutcome::Lost(format!("{error:?}")))
    }
}
