//! The outbox of a run, read from MySQL while the fault lasts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sea_orm::sqlx::{self, MySqlConnection};
use tokio::task::JoinHandle;

const LOOK: Duration = Duration::from_millis(200);

/// Events of all campaigns.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outbox {
    /// Not acknowledged by Kafka.
    pub waiting: i64,
    /// Acknowledged, of the participations.
    pub published: i64,
    /// The highest number of attempts of an event that waits.
    pub attempts: i64,
    pub dead: i64,
}

impl Outbox {
    pub async fn read(mysql: &mut MySqlConnection) -> Self {
        let logs = "SELECT CAST(COALESCE(SUM(c.event_sequence - COALESCE(o.published, 0)), 0) AS SIGNED), \
                    CAST(COALESCE(SUM(o.published), 0) AS SIGNED) \
                    FROM campaign c LEFT JOIN outbox_position o ON o.campaign_id = c.id";
        let logs = sqlx::query_as(logs).fetch_one(&mut *mysql).await;
        let (behind, passed): (i64, i64) = logs.unwrap();
        let parked = "SELECT COUNT(*), CAST(COALESCE(MAX(attempts), 0) AS SIGNED), \
                      CAST(COALESCE(SUM(state = 'dead'), 0) AS SIGNED) \
                      FROM outbox_parked WHERE state <> 'acknowledged'";
        let parked = sqlx::query_as(parked).fetch_one(mysql).await;
        let (parked, attempts, dead): (i64, i64, i64) = parked.unwrap();
        Self {
            waiting: behind + parked,
            published: passed - parked,
            attempts,
            dead,
        }
    }
}

/// Reads the outbox again and again.
pub struct Watch {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Outbox>,
}

impl Watch {
    pub fn start(mut mysql: MySqlConnection) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let task = tokio::spawn(async move {
            let mut highest = Outbox::default();
            while !stopped.load(Ordering::SeqCst) {
                let now = Outbox::read(&mut mysql).await;
                highest = Outbox {
                    waiting: highest.waiting.max(now.waiting),
                    published: highest.published.max(now.published),
                    attempts: highest.attempts.max(now.attempts),
                    dead: highest.dead.max(now.dead),
                };
                tokio::time::sleep(LOOK).await;
            }
            highest
        });
        Self { stop, task }
    }

    /// The highest of each number that was seen.
    pub async fn end(self) -> Outbox {
        self.stop.store(true, Ordering::SeqCst);
        self.task.await.unwrap()
    }
}
