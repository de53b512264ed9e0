//! Reads the settings of the campaigns that administrators change: at the begin, at the end, and meanwhile unless the
//! database or the gate fails over. No replica is involved.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sea_orm::sqlx::mysql::MySqlConnectOptions;
use sea_orm::sqlx::{self, Connection, MySqlConnection, Row};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::evidence::{History, Reading, Settings};
use crate::site::Site;

/// Interval of the readings.
const LOOK: Duration = Duration::from_millis(50);
/// A reading that takes longer is given up: the server hangs.
const ANSWER: Duration = Duration::from_secs(3);

/// How long a former primary may answer reads: until its silence is noticed, and its connections are retired.
const FAILOVER_LAG: Duration = Duration::from_secs(5);

/// Times in milliseconds of the epoch.
const SETTINGS: &str = "SELECT id, version, state, total_stock, per_user_limit, \
     TIMESTAMPDIFF(MICROSECOND, '1970-01-01', opens_at) DIV 1000, \
     TIMESTAMPDIFF(MICROSECOND, '1970-01-01', closes_at) DIV 1000, allow_list_id FROM campaign";

type Readings = Arc<Mutex<BTreeMap<i64, Vec<Reading>>>>;

/// Reads until it is stopped.
pub struct SettingsWatch {
    site: Arc<dyn Site>,
    readings: Readings,
    reading: Option<JoinHandle<()>>,
}

impl SettingsWatch {
    /// Reads for the first time before any administrator acts.
    pub async fn start(site: Arc<impl Site + 'static>, mysql: &mut MySqlConnection) -> Self {
        let site: Arc<dyn Site> = site;
        let readings = Readings::default();
        read(&*site, mysql, &readings).await.unwrap();
        let reading = site.watched_database().map(|database| {
            let (site, readings) = (Arc::clone(&site), Arc::clone(&readings));
            tokio::spawn(async move { watch(&*site, &database, &readings).await })
        });
        Self {
            site,
            readings,
            reading,
        }
    }

    /// What was read, with a last reading, and the actions of the administrators.
    pub async fn stop(self, mysql: &mut MySqlConnection) -> BTreeMap<i64, History> {
        if let Some(reading) = self.reading {
            reading.abort();
        }
        read(&*self.site, mysql, &self.readings).await.unwrap();
        let mut acts = self.site.ledger().read_acts();
        acts.sort_by_key(|act| act.at);
        let readings = std::mem::take(&mut *self.readings.lock().unwrap());
        let lag = match self.site.database() {
            Some(_) => Duration::ZERO,
            None => FAILOVER_LAG,
        };
        let histories = readings.into_iter().map(|(campaign, readings)| {
            let own = acts.iter().filter(|act| act.campaign == campaign);
            let acts = own.cloned().collect();
            let history = History {
                readings,
                acts,
                lag,
            };
            (campaign, history)
        });
        histories.collect()
    }
}

async fn watch(site: &dyn Site, database: &MySqlConnectOptions, into: &Readings) {
    loop {
        // While MySQL is unavailable nothing is read.
        let session = MySqlConnection::connect_with(database);
        if let Ok(Ok(mut mysql)) = timeout(ANSWER, session).await {
            while let Ok(Ok(())) = timeout(ANSWER, read(site, &mut mysql, into)).await {
                tokio::time::sleep(LOOK).await;
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn read(site: &dyn Site, mysql: &mut MySqlConnection, into: &Readings) -> sqlx::Result<()> {
    let called = site.began().elapsed();
    let rows = sqlx::query(SETTINGS).fetch_all(mysql).await?;
    let returned = site.began().elapsed();
    let began_ms = site.began_at().timestamp_millis();
    let managed = site.managed_offers();
    let mut into = into.lock().unwrap();
    for row in rows {
        let id: i64 = row.get(0);
        if !managed.iter().any(|offer| offer.id == id) {
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
