//! Waits after the failover until each replica accepts a participation, every unit is sold and every event is
//! published, and measures how long each takes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use sea_orm::sqlx::{self, MySqlConnection};

use crate::client::{Fresh, http};
use crate::ledger::{Outcome, Phase};
use crate::load::{Traffic, ask, yeses};
use crate::replicas;
use crate::world::World;

/// Longest time until each replica accepts a participation.
pub const FIRST_YES_MAX: Duration = Duration::from_secs(10);
/// Longest wait for the last unit, and for the first acceptance.
const SELLING: Duration = Duration::from_secs(60);
/// Longest wait for the last event.
const PUBLISHING: Duration = Duration::from_secs(30);
/// How long a client without a definite response retries.
const DOUBT: Duration = Duration::from_secs(30);
/// Accepted participations after the failover before the traffic ends.
const YES_AFTER: usize = 60;
const SELLERS: usize = 4;

/// Seconds until everything was consistent again; none: not in time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Recovery {
    pub first_yes: [Option<f64>; 2],
    pub all_sold: Option<f64>,
    pub all_published: Option<f64>,
}

/// Sends requests of new users until everything is sold, and waits until everything is published.
pub async fn recover(world: &Arc<World>, traffic: &Traffic, healed: Instant) -> Recovery {
    let fresh = Fresh::new();
    let before = yeses(world);
    let first_yes = tokio::join!(
        first_yes(world, 0, &fresh, healed),
        first_yes(world, 1, &fresh, healed)
    );
    while yeses(world) < before + YES_AFTER && healed.elapsed() < SELLING {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    traffic.stop();
    let all_sold = sell_out(world, traffic, &fresh, healed).await;
    let mut mysql = world.session().await;
    Recovery {
        first_yes: first_yes.into(),
        all_sold,
        all_published: replicas::all_published(&mut mysql, PUBLISHING, healed).await,
    }
}

/// Sends requests to one replica until it accepts one.
async fn first_yes(world: &World, nth: usize, fresh: &Fresh, healed: Instant) -> Option<f64> {
    let http = http();
    while healed.elapsed() < SELLING {
        let request = fresh.wish(world.endless().id);
        let outcome = ask(world, &http, Phase::Healing, nth, &request).await;
        if matches!(outcome, Outcome::Yes(_)) {
            return Some(healed.elapsed().as_secs_f64());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    None
}

/// Until no unit is left and no client waits for an outcome.
async fn sell_out(world: &World, traffic: &Traffic, fresh: &Fresh, healed: Instant) -> Option<f64> {
    let mut mysql = world.session().await;
    let mut sold = None;
    while sold.is_none() && healed.elapsed() < SELLING {
        if healed.elapsed() > DOUBT {
            traffic.abandon();
        }
        let is_settled = traffic.is_settled();
        let left = unsold_campaigns(&mut mysql).await.unwrap();
        sold = (is_settled && left.is_empty()).then(|| healed.elapsed().as_secs_f64());
        let sellers = (0..SELLERS).map(|nth| sell(world, nth, fresh, &left));
        let mut accepted = join_all(sellers).await.into_iter();
        if !accepted.any(|is_yes| is_yes) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    traffic.abandon();
    sold
}

async fn unsold_campaigns(mysql: &mut MySqlConnection) -> sqlx::Result<Vec<i64>> {
    let unsold = "SELECT id FROM campaign WHERE committed_units < total_stock";
    sqlx::query_scalar(unsold).fetch_all(mysql).await
}

/// Asks for a unit; whether it is accepted.
async fn sell(world: &World, nth: usize, fresh: &Fresh, left: &[i64]) -> bool {
    let Some(campaign) = left.get(nth / 2 % left.len().max(1)) else {
        return false;
    };
    let request = fresh.wish(*campaign);
    let outcome = ask(world, &http(), Phase::Healing, nth % 2, &request).await;
    matches!(outcome, Outcome::Yes(_))
}
