//! Waits for the consumers of rewards.

use std::time::{Duration, Instant};

use sea_orm::sqlx::{self, AssertSqlSafe, MySqlConnection};

/// Longest wait for the last coupon or entry of points.
const REWARDING: Duration = Duration::from_secs(30);

/// The campaigns whose units earn coupons and points.
#[derive(Clone, Copy, Debug)]
pub struct Rewarding {
    pub coupons: Option<i64>,
    pub points: i64,
}

/// Waits until confirmed participations have their coupons and points, and cancelled ones have none. Returns the seconds
/// since `healed`; none: not in time.
pub async fn all_settled(
    mysql: &mut MySqlConnection,
    schema: &str,
    Rewarding { coupons, points }: Rewarding,
    healed: Instant,
) -> Option<f64> {
    let began = Instant::now();
    // No campaign has the id 0.
    let coupons = coupons.unwrap_or(0);
    let unsettled = format!(
        "SELECT (SELECT COUNT(*) FROM {schema}.revocation) \
         + (SELECT COUNT(*) FROM {schema}.coupon WHERE status = 'suspended') \
         + (SELECT COUNT(*) FROM participation \
            WHERE campaign_id = {coupons} AND status = 'confirmed' \
            AND id NOT IN (SELECT participation_id FROM {schema}.coupon)) \
         + (SELECT COUNT(*) FROM {schema}.coupon WHERE status <> 'revoked' \
            AND participation_id IN (SELECT id FROM participation WHERE status = 'cancelled')) \
         + (SELECT COUNT(*) FROM participation \
            WHERE campaign_id = {points} AND status = 'confirmed' \
            AND id NOT IN (SELECT participation_id FROM {schema}.ledger)) \
         + (SELECT COUNT(*) FROM {schema}.ledger gain WHERE gain.kind = 'granted' \
            AND participation_id IN (SELECT id FROM participation WHERE status = 'cancelled') \
            AND NOT EXISTS (SELECT 1 FROM {schema}.ledger back WHERE back.kind = 'reversed' \
                            AND back.participation_id = gain.participation_id))"
    );
    while began.elapsed() < REWARDING {
        let waiting = sqlx::query_scalar(AssertSqlSafe(unsettled.clone()));
        let waiting: i64 = waiting.fetch_one(&mut *mysql).await.unwrap();
        if waiting == 0 {
            return Some(healed.elapsed().as_secs_f64());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    None
}
