//! The clients: some hundred users who participate in all campaigns through both replicas. As correct clients
//! do, they repeat requests with a key until the outcome is known, and pay for reservations.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reqwest::Client;

use crate::administrator;
use crate::buyer::{Buyer, By, any_path, ask_until_known};
use crate::client::{http, send, sends_keys};
use crate::holders;
use crate::ledger::{Outcome, ParticipationRequest, Phase};
use crate::letters;
use crate::lines;
use crate::managed;
use crate::orders::{Errand, plan};
use crate::site::Site;
use crate::world::World;

/// Concurrent clients.
const CLIENTS: u64 = 14;
/// Their users; two clients may act for the same user at the same time.
const USERS: i64 = 400;

/// Traffic that continues until it is stopped.
pub struct Traffic {
    stop: Arc<AtomicBool>,
    abandon: Arc<AtomicBool>,
    clients: Vec<tokio::task::JoinHandle<()>>,
}

impl Traffic {
    pub fn start(world: &Arc<World>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let abandon = Arc::new(AtomicBool::new(false));
        let mut clients: Vec<_> = (0..CLIENTS)
            .map(|nth| {
                let one = OneClient {
                    world: Arc::clone(world),
                    http: http(),
                    random: StdRng::seed_from_u64(world.schedule.seed * 1_000 + nth),
                    stop: Arc::clone(&stop),
                    abandon: Arc::clone(&abandon),
                    nth,
                    sent: 0,
                    errands: Vec::new(),
                };
                tokio::spawn(one.run())
            })
            .collect();
        clients.extend(holders::start(world, &stop, &abandon));
        clients.extend(lines::start(world, &stop, &abandon));
        let site: Arc<dyn Site> = Arc::<World>::clone(world);
        clients.extend(managed::start(&site, &stop, &abandon));
        clients.extend(administrator::start(&site, &stop, &abandon));
        clients.push(letters::start(world, &stop));
        Self {
            stop,
            abandon,
            clients,
        }
    }

    /// No new requests; undecided ones are retried.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }

    /// Ends the retries of undecided requests.
    pub fn abandon(&self) {
        self.abandon.store(true, Ordering::SeqCst);
    }

    /// Whether no request is undecided.
    pub fn is_settled(&self) -> bool {
        let mut clients = self.clients.iter();
        clients.all(tokio::task::JoinHandle::is_finished)
    }

    /// Waits until all clients have ended.
    pub async fn ended(self) {
        for client in self.clients {
            client.await.unwrap();
        }
    }
}

struct OneClient {
    world: Arc<World>,
    http: Client,
    random: StdRng,
    stop: Arc<AtomicBool>,
    abandon: Arc<AtomicBool>,
    nth: u64,
    sent: u64,
    /// The planned actions on reservations. Those left when the traffic stops are dropped.
    errands: Vec<Errand>,
}

impl OneClient {
    async fn run(mut self) {
        while !self.stop.load(Ordering::SeqCst) {
            if let Some(errand) = self.due() {
                let buyer = Buyer {
                    site: &*self.world,
                    http: &self.http,
                    phase: Phase::Traffic,
                    abandon: &self.abandon,
                    by: By::User,
                };
                let (order, changes) = (errand.order, errand.changes);
                buyer.ask_at_once(order, changes, &mut self.random).await;
                continue;
            }
            let request = self.wish();
            self.take_part(request).await;
            let pause = self.random.random_range(60..220);
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    }

    /// The action that has been due for the longest time.
    fn due(&mut self) -> Option<Errand> {
        let first = (0..self.errands.len()).min_by_key(|nth| self.errands[*nth].due)?;
        (self.errands[first].due <= Instant::now()).then(|| self.errands.swap_remove(first))
    }

    fn wish(&mut self) -> ParticipationRequest {
        self.sent += 1;
        let random = &mut self.random;
        let offer = self.world.offers[match random.random_range(0..23) {
            0..5 => 0,
            5..9 => 1,
            9..16 => 2,
            16..18 => 3,
            18..20 => 4,
            _ => 5,
        }];
        let user = random.random_range(1..=USERS);
        ParticipationRequest {
            campaign: offer.id,
            user,
            quantity: random.random_range(1..=offer.max_quantity),
            key: sends_keys(user).then(|| format!("client-{}-{}", self.nth, self.sent)),
            path: any_path(random),
        }
    }

    /// Plans what to do with a reservation.
    async fn take_part(&mut self, request: ParticipationRequest) {
        let (world, random) = (&*self.world, &mut self.random);
        let order = ask_until_known(world, &self.http, &request, random, &self.abandon).await;
        if let Some(order) = order
            && world.offer(request.campaign).is_paid
        {
            let name = format!("{}-{}", self.nth, self.sent);
            self.errands.extend(plan(order, &name, random));
        }
    }
}

/// Sends one request to one replica.
pub async fn ask(
    world: &World,
    http: &Client,
    replica: usize,
    request: &ParticipationRequest,
) -> Outcome {
    send(world.replicas[replica].base(), http, request).await
}
