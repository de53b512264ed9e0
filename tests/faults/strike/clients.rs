//! Misbehaving clients: slow ones, silent ones, and ones that disconnect.

use std::time::{Duration, Instant};

use rand::RngExt;
use rand::rngs::StdRng;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::{random, struck};
use crate::client::http;
use crate::ledger::{Outcome, ParticipationRequest, Path, Phase};
use crate::replica::Replica;
use crate::schedule::Strike;
use crate::world::World;

/// Connections of each kind.
const OF_EACH_KIND: usize = 25;
/// Users of clients that disconnect: their participations may or may not be committed.
const LEAVING_USERS: i64 = 500_000;

fn place(replica: &Replica) -> Option<String> {
    let base = replica.base()?;
    base.strip_prefix("http://").map(str::to_owned)
}

fn request(campaign: i64, user: i64) -> String {
    let body = format!(r#"{{"userId":{user}}}"#);
    format!(
        "POST /api/campaigns/{campaign}/participation HTTP/1.1\r\nhost: localhost\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Silent connections, connections with an incomplete request, and connections that send a byte now and then. Returns
/// the largest number of open ones.
pub async fn slow(world: &World, strike: Strike, lasts: Duration) -> u64 {
    let began = Instant::now();
    let mut silent = Vec::new();
    let mut trickling = Vec::new();
    let request = request(world.endless().id, LEAVING_USERS - 1);
    for replica in struck(world, strike) {
        let Some(place) = place(&replica) else {
            continue;
        };
        for nth in 0..OF_EACH_KIND * 3 {
            let Ok(mut stream) = TcpStream::connect(&place).await else {
                continue;
            };
            match nth % 3 {
                0 => silent.push(stream),
                1 => {
                    let half = request.len() / 2;
                    if stream.write_all(&request.as_bytes()[..half]).await.is_ok() {
                        silent.push(stream);
                    }
                }
                _ => trickling.push(stream),
            }
        }
    }
    let open = (silent.len() + trickling.len()) as u64;
    let mut bytes = request.bytes();
    while began.elapsed() < lasts {
        if let Some(byte) = bytes.next() {
            for stream in &mut trickling {
                stream.write_all(&[byte]).await.ok();
            }
        }
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    open
}

/// Clients that close in the middle of their request, or before its response. Returns their number.
pub async fn leaving(world: &World, strike: Strike, lasts: Duration) -> u64 {
    let began = Instant::now();
    let mut random = random(strike);
    let mut left = 0;
    let mut user = LEAVING_USERS + i64::try_from(strike.pick).unwrap() * 1_000;
    while began.elapsed() < lasts {
        for replica in struck(world, strike) {
            user += 1;
            let offer = world.offers[random.random_range(0..4)];
            let sent = Instant::now();
            let text = request(offer.id, user);
            left += u64::from(leave(&replica, &text, &mut random).await.is_some());
            // It may be committed all the same: without it, a history has participations that nobody asked for.
            let request = ParticipationRequest {
                campaign: offer.id,
                user,
                quantity: 1,
                key: None,
                path: Path::Grouped,
            };
            let outcome = Outcome::Lost("the client left".to_owned());
            world
                .ledger
                .write(Phase::Traffic, replica.nth, (request, sent), outcome);
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(10..50))).await;
    }
    left
}

async fn leave(replica: &Replica, request: &str, random: &mut StdRng) -> Option<()> {
    let mut stream = TcpStream::connect(place(replica)?).await.ok()?;
    let said = if random.random_ratio(1, 3) {
        random.random_range(1..request.len())
    } else {
        request.len()
    };
    stream.write_all(&request.as_bytes()[..said]).await.ok()?;
    if random.random_ratio(1, 2) {
        tokio::time::sleep(Duration::from_millis(random.random_range(0..12))).await;
    }
    if random.random_ratio(1, 2) {
        // A reset instead of an orderly end.
        stream.set_zero_linger().ok();
    }
    Some(())
}

/// The difference between the clock of a replica's machine and the database's, in milliseconds, as the replica
/// reports it. The replica uses the database's clock.
pub async fn clock_shift_ms(replica: &Replica) -> Option<i64> {
    let health = http()
        .get(format!("{}/readyz?verbose", replica.base()?))
        .send()
        .await
        .ok()?;
    let health: serde_json::Value = health.json().await.ok()?;
    let ahead = health["clock"]["aheadSeconds"].as_f64()?;
    let shift = i64::try_from(Duration::from_secs_f64(ahead.abs()).as_millis()).ok()?;
    Some(if ahead < 0.0 { -shift } else { shift })
}
