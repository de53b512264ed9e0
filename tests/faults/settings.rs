//! Reads the settings of the campaigns that administrators change, during the whole run: with a query that involves no
//! replica.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sea_orm::sqlx::{self, MySqlConnection, Row};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::evidence::{History, Reading, Settings};
use crate::world::World;

/// Interval of the readings.
const LOOK: Duration = Duration::from_millis(50);
/// A reading that takes longer is given up: the server hangs.
const ANSWER: Duration = Duration::from_secs(3);

/// Times in milliseconds of the epoch.
const SETTINGS: &str = "SELECT id, version, state, total_stock, per_user_limit, \
     TIMESTAMPDIFF(MICROSECOND, '1970-01-01', opens_at) DIV 1000, \
     TIMESTAMPDIFF(MICROSECOND, '1970-01-01', closes_at) DIV 1000, allow_list_id FROM campaign";

type Readings = Arc<Mutex<BTreeMap<i64, Vec<Reading>>>>;

/// Reads until it is stopped.
pub struct SettingsWatch {
    readings: Readings,
    reading: JoinHandle<()>,
}

impl SettingsWatch {
    pub fn start(world: &Arc<World>) -> Self {
        let readings = Readings::default();
        let (world, into) = (Arc::clone(world), Arc::clone(&readings));
        let reading = tokio::spawn(async move {
            loop {
                // While MySQL is unavailable nothing is read.
                if let Ok(Ok(mut mysql)) = timeout(ANSWER, world.mysql()).await {
                    while let Ok(Ok(())) = timeout(ANSWER, read(&world, &mut mysql, &into)).await {
                        tokio::time::sleep(LOOK).await;
                    }
                }
                tokio::time::sleep(LOOK).await;
            }
        });
        Self { readings, reading }
    }

    /// What was read, with a last reading, and the actions of the administrators.
    pub async fn stop(self, world: &World) -> BTreeMap<i64, History> {
        self.reading.abort();
        let mut mysql = world.mysql().await.unwrap();
        read(world, &mut mysql, &self.readings).await.unwrap();
        let mut acts = world.ledger.read_acts();
        acts.sort_by_key(|act| act.at);
        let readings = std::mem::take(&mut *self.readings.lock().unwrap());
        let histories = readings.into_iter().map(|(campaign, readings)| {
            let own = acts.iter().filter(|act| act.campaign == campaign);
            let acts = own.cloned().collect();
            (campaign, History { readings, acts })
        });
        histories.collect()
    }
}

async fn read(world: &World, mysql: &mut MySqlConnection, into: &Readings) -> sqlx::Result<()> {
    let called = world.began.elapsed();
    let rows = sqlx::query(SETTINGS).fetch_all(mysql).await?;
    let returned = world.began.elapsed();
    let began_ms = world.began_at.timestamp_millis();
    let mut into = into.lock().unwrap();
    for row in rows {
        let id: i64 = row.get(0);
        let is_managed = |offer: &&crate::world::Offer| offer.id == id && offer.managed.is_some();
        if !world.offers.iter().any(|offer| is_managed(&offer)) {
            continue;
        }
        let since = |nth: usize| row.get::<Option<i64>, _>(nth).map(|at| at - began_ms);
        let settings = Settings {
            version: row.get(1),
            state: row.get(2),
            total: row.get::<Option<i64>, _>(3).map(i64::unsigned_abs),
            limit: row.get::<i32, _>(4).unsigned_abs().into(),
            opens_ms: since(5),
            closes_ms: since(6),
            list: row.get(7),
        };
        into.entry(id).or_default().push(Reading {
            called,
            returned,
            settings,
        });
    }
    Ok(())
}
