//! Leads the address of a replica's database to the primary of the group, as a router between them does: it asks the
//! members one after the other, and believes the first that reaches most members. Existing connections stay.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::group::View;
use crate::replica::Replica;

/// Time between two questions.
const INTERVAL: Duration = Duration::from_millis(200);

pub struct Router {
    /// The port of the primary to which new connections lead.
    target: watch::Receiver<u16>,
    following: JoinHandle<()>,
}

impl Router {
    /// Follows the primary. Routers ask the members in different orders.
    pub fn start(replica: Arc<Replica>, mut ports: Vec<u16>) -> Self {
        let (found, target) = watch::channel(ports[0]);
        let count = ports.len();
        ports.rotate_left(replica.nth % count);
        let following = tokio::spawn(async move {
            loop {
                if let Some(primary) = primary(&ports).await {
                    replica.mysql.redirect(([127, 0, 0, 1], primary).into());
                    found.send_replace(primary);
                }
                tokio::time::sleep(INTERVAL).await;
            }
        });
        Self { target, following }
    }

    /// Waits until new connections lead to this port; whether they do within this time.
    pub async fn leads_to(&self, port: u16, within: Duration) -> bool {
        let mut target = self.target.clone();
        let leads = target.wait_for(|found| *found == port);
        tokio::time::timeout(within, leads).await.is_ok()
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        self.following.abort();
    }
}

async fn primary(ports: &[u16]) -> Option<u16> {
    for port in ports {
        let view = View::of(*port).await;
        if let Some(primary) = view.and_then(|view| view.primary_port()) {
            return Some(primary);
        }
    }
    None
}
