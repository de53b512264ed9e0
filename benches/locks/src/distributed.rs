//! A distributed lock: `SET NX PX` in Redis, then read, modify and write in MySQL, then a script that releases the lock
//! if it is still one's own. A lock may expire while its holder is slow, so the write is fenced: each holder has a
//! higher token than the ones before, and a lower one than the row's writes nothing.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Client, Script};
use sea_orm::sqlx::{self, Connection as _};
use tokio::time::Instant;

use crate::stock::{Connection, Stock, sell};
use crate::{Decide, Decision, Failure};

const LOCK: &str = "experiment:{stock}:lock";
const TOKEN: &str = "experiment:{stock}:token";
const TERM_MS: u64 = 10_000;
const RELEASE: &str =
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0";
/// Between two attempts to get the lock, spread evenly.
const PAUSE_MAX: Duration = Duration::from_millis(4);
/// How long a request waits for the lock.
const WAIT_MAX: Duration = Duration::from_secs(60);

struct Lock {
    stock: Connection,
    redis: MultiplexedConnection,
    release: Script,
    /// Different for each connection; no two holders have the same name.
    nth: u64,
}

pub async fn connections(
    stock: &Stock,
    redis: &Client,
    count: u64,
) -> Result<Vec<impl Decide>, Failure> {
    let mut first = redis.get_multiplexed_async_connection().await?;
    let mut forget = redis::cmd("DEL");
    forget.arg(LOCK).arg(TOKEN);
    () = forget.query_async(&mut first).await?;
    let mut all = Vec::new();
    for nth in 0..count {
        all.push(Lock {
            stock: stock.connection().await?,
            redis: redis.get_multiplexed_async_connection().await?,
            release: Script::new(RELEASE),
            nth,
        });
    }
    Ok(all)
}

impl Lock {
    /// Waits for the lock: its token.
    async fn acquire(&mut self, holder: &str) -> Result<u64, Failure> {
        let began = Instant::now();
        let mut random = self.nth.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        while began.elapsed() < WAIT_MAX {
            let mut set = redis::cmd("SET");
            set.arg(LOCK).arg(holder).arg("NX").arg("PX").arg(TERM_MS);
            let is_mine: Option<String> = set.query_async(&mut self.redis).await?;
            if is_mine.is_some() {
                let mut count = redis::cmd("INCR");
                return Ok(count.arg(TOKEN).query_async(&mut self.redis).await?);
            }
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let pause = PAUSE_MAX.mul_f64(f64::from(u16::try_from(random % 1_000)?) / 1e3);
            tokio::time::sleep(pause).await;
        }
        Err("the lock was not free in time".into())
    }

    /// Reads, modifies and writes, in one transaction. None: the lock has expired meanwhile, and nothing is written.
    async fn write(&mut self, user: u64, token: u64) -> Result<Option<Decision>, Failure> {
        let read = "SELECT units FROM experiment_stock WHERE id = 1";
        let units: i64 = sqlx::query_scalar(read).fetch_one(&mut *self.stock).await?;
        if units == 0 {
            return Ok(Some(Decision::SoldOut));
        }
        let mut tx = self.stock.begin().await?;
        sell(&mut tx, user).await?;
        let write = "UPDATE experiment_stock SET units = ?, token = ? WHERE id = 1 AND token < ?";
        let written = sqlx::query(write)
            .bind(units - 1)
            .bind(token)
            .bind(token)
            .execute(&mut *tx)
            .await?;
        if written.rows_affected() == 0 {
            tx.rollback().await?;
            return Ok(None);
        }
        tx.commit().await?;
        Ok(Some(Decision::Accepted))
    }
}

impl Decide for Lock {
    async fn decide(&mut self, user: u64) -> Result<Decision, Failure> {
        let holder = format!("{}:{user}", self.nth);
        loop {
            let token = self.acquire(&holder).await?;
            let written = self.write(user, token).await;
            let mut release = self.release.key(LOCK);
            let mut redis = self.redis.clone();
            () = release
                .arg(&holder)
                .invoke_async::<i64>(&mut redis)
                .await
                .map(|_| ())?;
            if let Some(decision) = written? {
                return Ok(decision);
            }
        }
    }
}
