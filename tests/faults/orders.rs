//! The ways in which clients handle a reservation: they pay, cancel, do both at once, change their mind later,
//! or let it expire. A client without a response retries at any replica until the outcome is known.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reqwest::Client;
use reqwest::header::RETRY_AFTER;
use serde_json::json;
use uuid::Uuid;

use crate::ledger::{Change, ChangeOutcome, ChangeRequest, DECLINED, Phase, Yes};
use crate::replica::ADMIN_TOKEN;
use crate::world::{HOLD, World};

/// A participation that its user changes.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    pub participation: Uuid,
    pub user: i64,
    /// When the participation was first requested.
    asked_at: Instant,
    yes_at: Instant,
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

/// A planned action on an order, at a given time; several changes may be requested at once.
#[derive(Debug)]
pub struct Errand {
    pub due: Instant,
    order: Order,
    changes: Vec<Change>,
}

/// Chooses an action on an order at random. `name` is unique.
pub fn plan(order: Order, name: &str, random: &mut StdRng) -> Vec<Errand> {
    let errand = |after_ms: u64, changes: Vec<Change>| Errand {
        due: order.yes_at + Duration::from_millis(after_ms),
        order,
        changes,
    };
    let confirm = |how: &str| Change::Confirm {
        reference: format!("{how}-{name}"),
    };
    let hold_ms = u64::try_from(HOLD.as_millis()).unwrap();
    // Most act at once, some wait until it is nearly too late.
    let at = match random.random_range(0..4) {
        0 => random.random_range(0..hold_ms),
        1 => random.random_range(hold_ms - 400..hold_ms + 100),
        _ => 0,
    };
    let later = at + random.random_range(100..hold_ms);
    match random.random_range(0..21) {
        0..5 => vec![errand(at, vec![confirm("pay")])],
        5 => {
            let slow = format!("slow-{}", random.random_range(50..900));
            vec![errand(at, vec![confirm(&slow)])]
        }
        6..8 => vec![
            errand(at, vec![confirm(DECLINED)]),
            errand(later, vec![confirm("again")]),
        ],
        8 => vec![errand(at, vec![confirm(DECLINED)])],
        9..11 => vec![errand(at, vec![Change::Cancel])],
        11..14 => vec![errand(at, vec![confirm("pay"), Change::Cancel])],
        14 => vec![errand(at, vec![confirm("one"), confirm("other")])],
        15..18 => vec![
            errand(at, vec![confirm("pay")]),
            errand(later, vec![Change::Cancel]),
        ],
        18 => vec![errand(hold_ms + 400, vec![confirm("late")])],
        19 => vec![errand(hold_ms + 700, vec![Change::Cancel])],
        _ => Vec::new(),
    }
}

/// Requests changes.
pub struct Buyer<'a> {
    pub world: &'a World,
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
    /// Requests all of its changes at once.
    pub async fn run(&self, errand: Errand, random: &mut StdRng) {
        self.ask_at_once(errand.order, errand.changes, random).await;
    }

    /// Requests all changes at once, each at another replica if there are others.
    pub async fn ask_at_once(&self, order: Order, changes: Vec<Change>, random: &mut StdRng) {
        let first = random.random_range(0..self.world.replicas.len());
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
            let nth = replica % self.world.replicas.len();
            let outcome = self.ask(nth, &request).await;
            let is_known = outcome.is_definite();
            let ledger = &self.world.ledger;
            ledger.write_change(self.phase, nth, request.clone(), order.asked_at, outcome);
            if is_known || self.abandon.load(Ordering::SeqCst) {
                return;
            }
            let pause = random.random_range(100..400);
            tokio::time::sleep(Duration::from_millis(pause)).await;
            replica = random.random_range(0..self.world.replicas.len());
        }
    }

    async fn ask(&self, replica: usize, request: &ChangeRequest) -> ChangeOutcome {
        let Some(base) = self.world.replicas[replica].base() else {
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
