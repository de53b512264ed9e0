//! Experiments beside the service: who gets a unit is decided by a row lock in MySQL, by a distributed lock in Redis, or
//! by the service. Each way sells the same units to the same number of users, with the same number of requests at a
//! time, on the same MySQL and Redis with the same durability. A decision is final when it is committed.
//!
//! `locks UNITS USERS CONCURRENCY SERVICE CAMPAIGN…` with `DATABASE_URL` and `REDIS_URL`. SERVICE is its address, and
//! there is a campaign with these units for each round. Prints a table: the median of the rounds.

mod distributed;
mod figures;
mod row;
mod service;
mod stock;

use std::error::Error;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;

use self::figures::{Figures, Round, table};
use self::stock::Stock;

/// A request or a connection that failed.
pub type Failure = Box<dyn Error + Send + Sync>;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The user gets a unit.
    Accepted,
    /// No unit is left.
    SoldOut,
}

/// A connection of one way to decide.
pub trait Decide: Send + 'static {
    /// Decides about a user, who asks once.
    fn decide(&mut self, user: u64) -> impl Future<Output = Result<Decision, Failure>> + Send;
}

#[derive(Clone, Copy)]
struct Load {
    units: u64,
    users: u64,
    concurrency: u64,
}

/// Lets all users ask, as many at a time as there are connections.
async fn measure<D: Decide>(connections: Vec<D>, load: Load) -> Result<Round, Failure> {
    let next = Arc::new(AtomicU64::new(1));
    let began = Instant::now();
    let mut workers = tokio::task::JoinSet::new();
    for mut connection in connections {
        let next = Arc::clone(&next);
        workers.spawn(async move {
            let mut round = Round::default();
            loop {
                let user = next.fetch_add(1, Ordering::Relaxed);
                if user > load.users {
                    return Ok::<_, Failure>(round);
                }
                let sent = Instant::now();
                let decision = connection.decide(user).await?;
                round.note(decision, sent.elapsed(), began.elapsed());
            }
        });
    }
    let mut whole = Round::default();
    while let Some(round) = workers.join_next().await {
        whole.add(round??);
    }
    Ok(whole)
}

async fn run(
    load: Load,
    service: std::net::SocketAddr,
    campaigns: &[i64],
) -> Result<String, Failure> {
    let database = environment("DATABASE_URL")?;
    let redis = redis::Client::open(environment("REDIS_URL")?)?;
    let stock = Stock::open(&database, load.concurrency).await?;
    let (mut rows, mut locks, mut own) = (Vec::new(), Vec::new(), Vec::new());
    for campaign in campaigns {
        stock.fill(load.units).await?;
        let connections = row::connections(&stock, load.concurrency).await?;
        let round = measure(connections, load).await?;
        rows.push(round.checked(stock.sold().await?, load.units)?);

        stock.fill(load.units).await?;
        let connections = distributed::connections(&stock, &redis, load.concurrency).await?;
        let round = measure(connections, load).await?;
        locks.push(round.checked(stock.sold().await?, load.units)?);

        let connections = service::connections(service, *campaign, load.concurrency).await?;
        let round = measure(connections, load).await?;
        own.push(round.checked(stock.sold_by_service(*campaign).await?, load.units)?);
    }
    stock.forget().await?;
    let ways = [
        ("row lock (MySQL)", Figures::of(&rows)),
        ("distributed lock (Redis)", Figures::of(&locks)),
        ("service (Lua, group commit)", Figures::of(&own)),
    ];
    Ok(table(&ways))
}

fn environment(name: &str) -> Result<String, Failure> {
    let mut variables = std::env::vars();
    let found = variables.find_map(|(known, value)| (known == name).then_some(value));
    found.ok_or_else(|| format!("{name} is not set").into())
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [units, users, concurrency, service, campaigns @ ..] = &arguments[..] else {
        return Err("locks UNITS USERS CONCURRENCY SERVICE CAMPAIGN…".into());
    };
    let load = Load {
        units: units.parse()?,
        users: users.parse()?,
        concurrency: concurrency.parse()?,
    };
    let campaigns: Result<Vec<i64>, _> = campaigns.iter().map(|id| id.parse()).collect();
    let runtime = tokio::runtime::Runtime::new()?;
    let table = runtime.block_on(run(load, service.parse()?, &campaigns?))?;
    writeln!(std::io::stdout(), "{table}")?;
    Ok(())
}
