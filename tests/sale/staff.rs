//! The administrators and the consumers of a run: what they must have done at its end.

use std::time::Instant;

use sea_orm::sqlx::MySqlConnection;

use super::campaigns::Sale;
use crate::evidence::Evidence;
use crate::judge::Breach;
use crate::ledger::ActAnswer;
use crate::rewards::{Rewarding, all_settled};

/// Waits until the consumers have granted and taken back all points.
pub async fn unrewarded(sale: &Sale, mysql: &mut MySqlConnection, schema: &str) -> Option<Breach> {
    let campaigns = Rewarding {
        coupons: None,
        points: sale.points()?,
    };
    let settled = all_settled(mysql, schema, campaigns, Instant::now()).await;
    let late = || Breach::new("I6", "points are not settled long after the fault");
    settled.is_none().then(late)
}

/// Administrators and consumers without an effect prove nothing.
pub fn idle(sale: &Sale, evidence: &Evidence) -> Vec<Breach> {
    let mut breaches = Vec::new();
    if sale.managed.is_empty() {
        return breaches;
    }
    let acts = sale.ledger.read_acts();
    // The others are also those that end a run.
    let mut acts = acts.iter().filter(|act| {
        let kinds = ["stock", "pause", "close", "import"];
        kinds.contains(&act.act.word())
    });
    if !acts.any(ActAnswer::is_done) {
        breaches.push(Breach::new("administrators", "none of them had an effect"));
    }
    if evidence.entries.is_empty() {
        breaches.push(Breach::new("consumers", "nobody was granted points"));
    }
    breaches
}
