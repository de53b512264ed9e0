//! A Redis whose clock can be set.

use std::time::{Duration, Instant};

use firstcome::domain::{CampaignId, ParticipationId, State, UserId};
use firstcome::parts::gate::{Entrant, Gate, Key, Mark, RedisConfig, ScriptGate, Settings};

use crate::sale::clock;
use crate::sale::round::is_in_docker;
use crate::server::Server;

pub struct ClockServer {
    pub server: Server,
}

impl ClockServer {
    pub async fn up(stem: &str) -> Self {
        let files = clock::files();
        let files = files.path().to_str().unwrap();
        let options = ["--files", files, "maxmemory-policy=noeviction"];
        Self {
            server: Server::up("redis", stem, &options).await,
        }
    }

    pub async fn begin(&self) {
        self.set(0).await;
        self.server.run(&["FLUSHALL"]).await;
    }

    /// Sets the clock to the true time plus this offset.
    pub async fn set(&self, offset_seconds: i64) {
        clock::set(&self.server.part, offset_seconds).await;
        let (found, _): (i64, i64) = self.server.ask(&["TIME"]).await;
        clock::assert_is(offset_seconds, found);
    }
}

const LEASE: Duration = Duration::from_secs(4);

/// The owner of a lease commits by its own clock, which was not set.
#[tokio::test(flavor = "multi_thread")]
async fn no_lease_ends_early_when_the_clock_is_set_forward() {
    if is_in_docker().await {
        eprintln!("skipped: the clock of a container cannot be set; use native parts");
        return;
    }
    let clock = ClockServer::up("redis-forward").await;
    clock.begin().await;
    let config = RedisConfig {
        url: Some(format!("redis://{}", clock.server.address).into()),
        ..RedisConfig::default()
    };
    let gate = ScriptGate::redis(&config, "forward").await.unwrap();
    let settings = Settings {
        epoch: 1,
        version: 1,
        state: State::Open,
        opens_at: None,
        closes_at: None,
        total_stock: Some(1),
        per_user_limit: 1,
        max_quantity: 1,
    };
    let id = CampaignId(1);
    let rebuilt = gate.rebuild(id, 1, &settings, &[], Mark::default()).await;
    assert!(rebuilt.unwrap());
    let entrant = Entrant {
        participation: ParticipationId::generate(),
        user: UserId(1),
        quantity: 1,
        key: Key::None,
    };
    let admitted_at = Instant::now();
    gate.admit(id, &[entrant], LEASE).await.unwrap();
    assert_eq!(gate.expired(id, 9).await.unwrap(), []);
    clock.set(3_600).await;
    while gate.expired(id, 9).await.unwrap().is_empty() {
        assert!(admitted_at.elapsed() < 5 * LEASE);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let after = admitted_at.elapsed();
    assert!(after >= LEASE, "the lease ended after {after:?}");
}
