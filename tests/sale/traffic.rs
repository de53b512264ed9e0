//! The clients: some hundred users who participate through both replicas. As correct clients do, they repeat requests
//! with a key until the outcome is known. Administrators change campaigns meanwhile, whose clients also cancel.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reqwest::Client;
use tokio::task::JoinHandle;

use super::campaigns::Sale;
use crate::buyer::any_path;
use crate::client::{http, send, sends_keys};
use crate::ledger::{Outcome, ParticipationRequest, Phase};
use crate::site::Site;
use crate::{administrator, managed};

/// Concurrent clients.
const CLIENTS: u64 = 12;
/// Their users; two clients may act for the same user at the same time.
const USERS: i64 = 400;

/// Who requests units of the campaign without end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crowd {
    /// The users of all campaigns: before long each of them has participated.
    Limited,
    /// A new user each time, more often: it accepts as long as the service does.
    Growing,
}

/// Traffic that continues until it is stopped.
pub struct Traffic {
    stop: Arc<AtomicBool>,
    abandon: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
}

impl Traffic {
    pub fn start(sale: &Arc<Sale>, crowd: Crowd) -> Self {
        let (stop, abandon) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicBool::new(false)),
        );
        let clients = (0..CLIENTS).map(|nth| {
            let one = OneClient {
                sale: Arc::clone(sale),
                crowd,
                http: http(),
                random: StdRng::seed_from_u64(sale.seed * 1_000 + nth),
                stop: Arc::clone(&stop),
                abandon: Arc::clone(&abandon),
                nth,
                sent: 0,
            };
            tokio::spawn(one.run())
        });
        let mut clients: Vec<JoinHandle<()>> = clients.collect();
        if !sale.managed.is_empty() {
            let site: Arc<dyn Site> = Arc::<Sale>::clone(sale);
            clients.extend(managed::start(&site, &stop, &abandon));
            clients.extend(administrator::start(&site, &stop, &abandon));
        }
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
        self.clients.iter().all(JoinHandle::is_finished)
    }

    /// Waits until all clients have ended.
    pub async fn ended(self) {
        for client in self.clients {
            client.await.unwrap();
        }
    }
}

struct OneClient {
    sale: Arc<Sale>,
    crowd: Crowd,
    http: Client,
    random: StdRng,
    stop: Arc<AtomicBool>,
    abandon: Arc<AtomicBool>,
    nth: u64,
    sent: u64,
}

impl OneClient {
    async fn run(mut self) {
        while !self.stop.load(Ordering::SeqCst) {
            let request = self.wish();
            self.ask_until_known(request).await;
            let pause = self.random.random_range(40..260);
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    }

    fn wish(&mut self) -> ParticipationRequest {
        self.sent += 1;
        let random = &mut self.random;
        let mut nth = match random.random_range(0..12) {
            0..4 => 0,
            4..7 => 1,
            7..10 => 2,
            _ => 3,
        };
        let mut user = random.random_range(1..=USERS);
        if self.crowd == Crowd::Growing && random.random_ratio(1, 3) {
            nth = 3;
        }
        let offer = self.sale.offers[nth];
        if self.crowd == Crowd::Growing && offer.total.is_none() {
            user = self.sale.fresh.user();
        }
        ParticipationRequest {
            campaign: offer.id,
            user,
            quantity: random.random_range(1..=offer.max_quantity),
            key: sends_keys(user).then(|| format!("client-{}-{}", self.nth, self.sent)),
            path: any_path(random),
        }
    }

    /// A request with a key is retried at any replica until the outcome is known.
    async fn ask_until_known(&mut self, request: ParticipationRequest) {
        loop {
            let replica = self.random.random_range(0..self.sale.replicas.len());
            let outcome = ask(&self.sale, &self.http, Phase::Traffic, replica, &request).await;
            let is_over = outcome.is_definite() || request.key.is_none();
            if is_over || self.abandon.load(Ordering::SeqCst) {
                return;
            }
            let pause = self.random.random_range(100..400);
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    }
}

/// Sends one request to one replica, and records the response.
pub async fn ask(
    sale: &Sale,
    http: &Client,
    phase: Phase,
    replica: usize,
    request: &ParticipationRequest,
) -> Outcome {
    let sent = Instant::now();
    let outcome = send(sale.replicas[replica].base(), http, request).await;
    if matches!(outcome, Outcome::Yes(_)) {
        sale.yeses.fetch_add(1, Ordering::SeqCst);
    }
    let record = (request.clone(), sent);
    sale.ledger.write(phase, replica, record, outcome.clone());
    outcome
}
