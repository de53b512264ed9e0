//! Checks during the faults that no campaign opens or closes too early: by the database's clock, with a query
//! that involves no replica. At the end every finished campaign has to be closed.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sea_orm::sqlx;
use tokio::task::JoinHandle;

use crate::judge::Breach;
use crate::world::World;

/// Interval of the checks.
const LOOK: Duration = Duration::from_millis(100);
/// Longest wait until a finished campaign is closed: schedules check at least every ten seconds.
const CLOSING: Duration = Duration::from_secs(15);

/// Campaigns with a state that is too early for the time, except those whose ends administrators change.
const EARLY: &str = "SELECT id, state FROM campaign WHERE \
    state = 'closed' AND name NOT IN ('ended', 'listed') AND (closes_at IS NULL OR closes_at > UTC_TIMESTAMP(6)) OR \
    state = 'open' AND opens_at > UTC_TIMESTAMP(6)";
/// Campaigns that have ended and are not closed.
const LATE: &str =
    "SELECT id, state FROM campaign WHERE state <> 'closed' AND closes_at <= UTC_TIMESTAMP(6)";

/// Checks campaigns during the run.
pub struct Windows {
    seen: Arc<Mutex<BTreeSet<String>>>,
    looking: JoinHandle<()>,
}

impl Windows {
    pub fn start(world: &Arc<World>) -> Self {
        let seen = Arc::new(Mutex::new(BTreeSet::new()));
        let (world, found) = (Arc::clone(world), Arc::clone(&seen));
        let looking = tokio::spawn(async move {
            loop {
                // While MySQL is unavailable nothing is written.
                if let Ok(early) = ask(&world, EARLY).await {
                    found.lock().unwrap().extend(early);
                }
                tokio::time::sleep(LOOK).await;
            }
        });
        Self { seen, looking }
    }

    /// The violations seen, and the campaigns that are still not closed.
    pub async fn stop(self, world: &World) -> Vec<Breach> {
        let began = Instant::now();
        let mut late = ask(world, LATE).await.unwrap();
        while !late.is_empty() && began.elapsed() < CLOSING {
            tokio::time::sleep(LOOK).await;
            late = ask(world, LATE).await.unwrap();
        }
        self.looking.abort();
        let early = std::mem::take(&mut *self.seen.lock().unwrap());
        let early = early
            .into_iter()
            .map(|what| format!("{what} before its time"));
        let late = late
            .into_iter()
            .map(|what| format!("{what} though it is over"));
        let breaches = early.chain(late);
        breaches.map(|what| Breach::new("window", what)).collect()
    }
}

async fn ask(world: &World, question: &'static str) -> sqlx::Result<Vec<String>> {
    let mut mysql = world.mysql().await?;
    let rows: Vec<(i64, String)> = sqlx::query_as(question).fetch_all(&mut mysql).await?;
    let names = rows.into_iter();
    Ok(names
        .map(|(id, state)| format!("campaign {id} is {state}"))
        .collect())
}
