//! No lease outlives its time, whatever happened to the clock of the server.

use std::time::{Duration, Instant};

use crate::judge::Breach;
use crate::sale::parts::GATE_LEASE;
use crate::world::World;

/// The interval of sweeps in this suite, and some time for the sweep itself.
const SWEEPS: Duration = Duration::from_secs(4);

/// After the last commit every lease ends within a lease, and a second one if the clock of the server was set
/// meanwhile.
pub async fn left(world: &World) -> Option<Breach> {
    let began = Instant::now();
    let limit = 2 * GATE_LEASE + SWEEPS;
    loop {
        let leases = world.leases().await;
        if leases == 0 {
            return None;
        }
        if began.elapsed() > limit {
            let what = format!("{leases} leases {limit:?} after the last request");
            return Some(Breach::new("I7", what));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
