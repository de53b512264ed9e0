//! After the fault: waits until each replica accepts a participation, every unit is sold and every event is published,
//! and measures how long each takes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use sea_orm::sqlx::{self, MySqlConnection};

use super::campaigns::Sale;
use super::traffic::{Traffic, ask};
use crate::client::http;
use crate::judge::Breach;
use crate::ledger::{Outcome, Phase};
use crate::{administrator, replicas};

/// Longest time until each replica accepts a participation.
const FIRST_YES_MAX: Duration = Duration::from_secs(10);
/// Longest wait for the last unit, and for the first acceptance.
const SELLING: Duration = Duration::from_secs(60);
/// How long a client without a definite response retries.
const DOUBT: Duration = Duration::from_secs(30);
/// Accepted participations after the fault before the traffic ends.
const YES_AFTER: usize = 60;
const SELLERS: usize = 4;

/// Seconds until everything was consistent again; none: not in time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Recovery {
    pub first_yes: [Option<f64>; 2],
    pub all_sold: Option<f64>,
    pub all_published: Option<f64>,
}

impl Recovery {
    /// Opens what administrators have paused, sends requests of new users until everything is sold, and waits until
    /// everything is published.
    pub async fn wait(
        sale: &Sale,
        traffic: &Traffic,
        [mysql, restoring]: [&mut MySqlConnection; 2],
        healed: Instant,
        publishing_max: Duration,
    ) -> Self {
        let before = sale.yeses();
        let first_yes = tokio::join!(first_yes(sale, 0, healed), first_yes(sale, 1, healed));
        while sale.yeses() < before + YES_AFTER && healed.elapsed() < SELLING {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        traffic.stop();
        let is_over = AtomicBool::new(false);
        let selling = async {
            let sold = sell_out(sale, traffic, mysql, healed).await;
            is_over.store(true, Ordering::SeqCst);
            sold
        };
        let restoring = administrator::restore(sale, restoring, &is_over);
        let (all_sold, ()) = tokio::join!(selling, restoring);
        Self {
            first_yes: first_yes.into(),
            all_sold,
            all_published: replicas::all_published(mysql, publishing_max, healed).await,
        }
    }

    /// What took too long.
    pub fn breaches(&self) -> Vec<Breach> {
        let mut breaches = Vec::new();
        let mut late = |promise: &str, what: String| breaches.push(Breach::new(promise, what));
        for (nth, first) in self.first_yes.iter().enumerate() {
            let limit = FIRST_YES_MAX.as_secs_f64();
            if first.is_none_or(|seconds| seconds > limit) {
                late("time", format!("replica {nth} said yes after {first:?} s"));
            }
        }
        if self.all_sold.is_none() {
            late("I7", "not all units could be sold".to_owned());
        }
        if self.all_published.is_none() {
            late("I4", "events still waited long after the fault".to_owned());
        }
        breaches
    }
}

/// Sends requests to one replica until it accepts one.
async fn first_yes(sale: &Sale, nth: usize, healed: Instant) -> Option<f64> {
    let http = http();
    while healed.elapsed() < SELLING {
        let request = sale.fresh.wish(sale.endless().id);
        let outcome = ask(sale, &http, Phase::Healing, nth, &request).await;
        if matches!(outcome, Outcome::Yes(_)) {
            return Some(healed.elapsed().as_secs_f64());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    None
}

/// Until no unit is left and no client waits for an outcome.
async fn sell_out(
    sale: &Sale,
    traffic: &Traffic,
    mysql: &mut MySqlConnection,
    healed: Instant,
) -> Option<f64> {
    let mut sold = None;
    while sold.is_none() && healed.elapsed() < SELLING {
        if healed.elapsed() > DOUBT {
            traffic.abandon();
        }
        // A request that ends later may have returned units.
        let is_settled = traffic.is_settled() && !administrator::may_still_act(sale);
        let left = unsold_campaigns(mysql).await.unwrap();
        sold = (is_settled && left.is_empty()).then(|| healed.elapsed().as_secs_f64());
        let sellers = (0..SELLERS).map(|nth| sell(sale, nth, &left));
        let mut accepted = join_all(sellers).await.into_iter();
        if !accepted.any(|is_yes| is_yes) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    traffic.abandon();
    sold
}

async fn unsold_campaigns(mysql: &mut MySqlConnection) -> sqlx::Result<Vec<i64>> {
    let unsold =
        "SELECT id FROM campaign WHERE committed_units < total_stock AND state <> 'closed'";
    sqlx::query_scalar(unsold).fetch_all(mysql).await
}

/// Asks for a unit; whether it is accepted.
async fn sell(sale: &Sale, nth: usize, left: &[i64]) -> bool {
    let Some(campaign) = left.get(nth / 2 % left.len().max(1)) else {
        return false;
    };
    let request = sale.fresh.wish(*campaign);
    let outcome = ask(sale, &http(), Phase::Healing, nth % 2, &request).await;
    matches!(outcome, Outcome::Yes(_))
}
