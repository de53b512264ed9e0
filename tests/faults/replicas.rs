//! What holds for all replicas of a run together: they start, stop in order, do not panic, and publish everything.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use sea_orm::sqlx::{self, MySqlConnection};

use crate::judge::Breach;
use crate::replica::Replica;

/// How long the replicas may take to start.
const START_PATIENCE: Duration = Duration::from_secs(40);

/// Waits until all replicas are ready.
pub async fn wait_ready(replicas: &[Arc<Replica>]) {
    let began = Instant::now();
    while !replicas.iter().all(|replica| replica.is_ready()) {
        if began.elapsed() > START_PATIENCE {
            let tails: String = replicas.iter().map(|one| one.log_tails(30)).collect();
            panic!("the replicas do not start:\n{tails}");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Without faults, a stopping replica ends in order.
pub async fn stopped(replicas: &[Arc<Replica>]) -> Vec<Breach> {
    let stops = replicas.iter().map(|replica| async move {
        let status = replica.stop().await;
        (!status.is_some_and(|status| status.success())).then(|| {
            let text = status.map_or_else(|| "not in time".to_owned(), |status| status.to_string());
            Breach::new("stop", format!("replica {} stopped: {text}", replica.nth))
        })
    });
    join_all(stops).await.into_iter().flatten().collect()
}

/// No replica panics.
pub fn panics(replicas: &[Arc<Replica>]) -> Vec<Breach> {
    let logs = replicas.iter().map(|replica| replica.logs());
    logs.flat_map(|logs| {
        let lines = logs.lines().filter(|line| line.contains("panicked at"));
        let breaches = lines.map(|line| Breach::new("panic", line));
        breaches.collect::<Vec<_>>()
    })
    .collect()
}

/// Waits until every event is written, also those about the stock, and published. Returns the seconds since `healed`;
/// none: not in time.
pub async fn all_published(
    mysql: &mut MySqlConnection,
    limit: Duration,
    healed: Instant,
) -> Option<f64> {
    let began = Instant::now();
    while began.elapsed() < limit {
        let waiting: i64 = sqlx::query_scalar(
            "SELECT (SELECT COUNT(*) FROM campaign c LEFT JOIN outbox_position o ON o.campaign_id = c.id \
             WHERE c.event_sequence > COALESCE(o.published, 0) \
             OR c.campaign_events > COALESCE(o.campaign_published, 0) \
             OR c.order_events > COALESCE(o.order_published, 0)) \
             + (SELECT COUNT(*) FROM outbox_parked WHERE state <> 'acknowledged') \
             + (SELECT COUNT(*) FROM campaign WHERE state = 'open' AND total_stock IS NOT NULL \
                AND is_sold_out <> (committed_units >= total_stock))",
        )
        .fetch_one(&mut *mysql)
        .await
        .unwrap();
        if waiting == 0 {
            return Some(healed.elapsed().as_secs_f64());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    None
}
