//! The clients of the campaigns that administrators change. Some participations are cancelled soon, by their users or by
//! an administrator.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reqwest::Client;
use tokio::task::JoinHandle;

use crate::buyer::{Buyer, By, Order, any_path, ask_until_known};
use crate::client::{MANAGED_USERS, http, sends_keys};
use crate::ledger::{Change, ParticipationRequest, Phase};
use crate::site::{Managed, ManagedOffer, Site};

/// Concurrent clients.
const CLIENTS: u64 = 5;

/// Starts the clients.
pub fn start(
    site: &Arc<dyn Site>,
    stop: &Arc<AtomicBool>,
    abandon: &Arc<AtomicBool>,
) -> Vec<JoinHandle<()>> {
    let client = |nth: u64| {
        let one = OneClient {
            site: Arc::clone(site),
            http: http(),
            random: StdRng::seed_from_u64(site.seed() * 1_000 + 800 + nth),
            abandon: Arc::clone(abandon),
            nth,
            sent: 0,
        };
        tokio::spawn(one.run(Arc::clone(stop)))
    };
    (0..CLIENTS).map(client).collect()
}

struct OneClient {
    site: Arc<dyn Site>,
    http: Client,
    random: StdRng,
    abandon: Arc<AtomicBool>,
    nth: u64,
    sent: u64,
}

impl OneClient {
    async fn run(mut self, stop: Arc<AtomicBool>) {
        let offers = self.site.managed_offers();
        while !stop.load(Ordering::SeqCst) {
            let offer = offers[self.random.random_range(0..offers.len())];
            if let Some(order) = self.take_part(offer).await
                && matches!(offer.managed, Managed::Stock | Managed::Points)
                && self.random.random_ratio(1, 3)
            {
                self.cancel(order).await;
            }
            let pause = self.random.random_range(40..160);
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    }

    /// A request with a key is repeated at any replica until the outcome is known.
    async fn take_part(&mut self, offer: ManagedOffer) -> Option<Order> {
        self.sent += 1;
        let user = self.random.random_range(MANAGED_USERS);
        let request = ParticipationRequest {
            campaign: offer.id,
            user,
            quantity: 1,
            key: sends_keys(user).then(|| format!("managed-{}-{}", self.nth, self.sent)),
            path: any_path(&mut self.random),
        };
        let (site, random) = (&*self.site, &mut self.random);
        ask_until_known(site, &self.http, &request, random, &self.abandon).await
    }

    /// By the user, by an administrator, or by both at once through different replicas.
    async fn cancel(&mut self, order: Order) {
        let (changes, by) = match self.random.random_range(0..3) {
            0 => (1, By::User),
            1 => (1, By::Administrator),
            _ => (2, By::Either),
        };
        let buyer = Buyer {
            site: &*self.site,
            http: &self.http,
            phase: Phase::Traffic,
            abandon: &self.abandon,
            by,
        };
        let changes = vec![Change::Cancel; changes];
        buyer.ask_at_once(order, changes, &mut self.random).await;
    }
}
