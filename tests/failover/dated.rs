//! Campaigns and reservations whose times a step of the clock passes, or does not pass: by the database's clock a
//! reservation expires, a campaign closes, and another one opens. The requests are those of an ordinary client.

use std::time::{Duration, Instant};

use sea_orm::sqlx::{self, AssertSqlSafe};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::client::http;
use crate::judge::Breach;
use crate::ledger::{Change, ChangeAnswer, ChangeOutcome, ChangeRequest, Outcome, Phase};
use crate::replica::ADMIN_TOKEN;
use crate::world::World;

/// How far in the future the times are. A step is well below or well above this.
pub const AHEAD: Duration = Duration::from_secs(1_800);
/// Longest wait until a time that has passed has its effect: schedules check at least every ten seconds.
const EFFECT_MAX: Duration = Duration::from_secs(15);
/// How often that is checked, and the pause before a request is repeated.
const PAUSE: Duration = Duration::from_millis(100);

/// Campaigns and reservations created before the step.
pub struct Dated {
    /// Its reservations end in [`AHEAD`].
    paid: i64,
    /// Open, and closes in [`AHEAD`].
    closing: i64,
    /// Opens in [`AHEAD`].
    opening: i64,
    /// A reservation by each replica, and when it was requested.
    reservations: [(Reservation, Instant); 2],
}

#[derive(Clone, Copy, Debug)]
struct Reservation {
    participation: Uuid,
    user: i64,
}

/// Whether the database's clock has passed the times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    Passed,
    Ahead,
}

impl Dated {
    /// Creates the campaigns and the reservations.
    pub async fn create(world: &World) -> Self {
        let now = world.servers.old().unix_seconds().await;
        let then = now + i64::try_from(AHEAD.as_secs()).unwrap();
        let then = chrono::DateTime::from_timestamp(then, 0).unwrap();
        let paid = json!({ "name": "paid", "kind": "general", "price": 500, "holdSeconds": AHEAD.as_secs() });
        let paid = create(world, paid).await;
        let reservations = [reserve(world, paid, 0).await, reserve(world, paid, 1).await];
        Self {
            paid,
            closing: create(
                world,
                json!({ "name": "closing", "kind": "general", "closesAt": then }),
            )
            .await,
            opening: create(
                world,
                json!({ "name": "opening", "kind": "general", "opensAt": then }),
            )
            .await,
            reservations,
        }
    }

    /// Differences from the state that the database's clock requires.
    pub async fn check(&self, world: &World, times: Times) -> Vec<Breach> {
        let wanted = match times {
            Times::Passed => "closed open expired expired",
            Times::Ahead => "open scheduled reserved reserved",
        };
        let began = Instant::now();
        let mut found = self.stored(world).await;
        while found != wanted && began.elapsed() < EFFECT_MAX {
            tokio::time::sleep(PAUSE).await;
            found = self.stored(world).await;
        }
        let mut breaches = Vec::new();
        if found != wanted {
            let what = format!("the dated campaigns and reservations are {found}, not {wanted}");
            breaches.push(Breach::new("clock", what));
        }
        breaches.extend(self.answers(world, times).await);
        breaches
    }

    /// The states of the campaigns that close and open, and those of the reservations.
    async fn stored(&self, world: &World) -> String {
        let Self {
            paid,
            closing,
            opening,
            ..
        } = self;
        let words = format!(
            "SELECT CONCAT_WS(' ', (SELECT state FROM campaign WHERE id = {closing}), \
             (SELECT state FROM campaign WHERE id = {opening}), \
             (SELECT GROUP_CONCAT(status ORDER BY `rank` SEPARATOR ' ') FROM participation \
              WHERE campaign_id = {paid}))"
        );
        let mut mysql = world.session().await;
        let words = sqlx::query_scalar(AssertSqlSafe(words));
        words.fetch_one(&mut mysql).await.unwrap()
    }

    /// Each replica must answer as the window says. The gate opens a campaign by Redis's clock, which was not set.
    async fn answers(&self, world: &World, times: Times) -> Vec<Breach> {
        let (closing, opening): (&[&str], &[&str]) = match times {
            Times::Passed => (&["ended"], &["yes", "not_open_yet"]),
            Times::Ahead => (&["yes"], &["not_open_yet"]),
        };
        let mut breaches = Vec::new();
        for nth in 0..world.sale.replicas.len() {
            for (campaign, wanted) in [(self.closing, closing), (self.opening, opening)] {
                let found = participate(world, campaign, nth).await.word();
                if !wanted.contains(&&*found) {
                    let what = format!(
                        "replica {nth} answered {found} in campaign {campaign} while the times are {times:?}"
                    );
                    breaches.push(Breach::new("clock", what));
                }
            }
        }
        breaches
    }

    /// Pays each reservation at the replica that did not make it. A reservation that has expired stays so.
    pub async fn pay(&self, world: &World) -> Vec<ChangeAnswer> {
        let mut answers = Vec::new();
        for (nth, (reservation, asked_at)) in self.reservations.iter().enumerate() {
            answers.push(pay(world, 1 - nth, *reservation, *asked_at).await);
        }
        answers
    }
}

/// Creates a campaign. Returns its id.
async fn create(world: &World, campaign: Value) -> i64 {
    let base = world.sale.replicas[0].base().unwrap();
    // An administrator waits for longer than a client.
    let made = reqwest::Client::new()
        .post(format!("{base}/api/admin/campaigns"))
        .timeout(2 * EFFECT_MAX)
        .bearer_auth(ADMIN_TOKEN)
        .json(&campaign);
    let made = made.send().await.unwrap();
    let status = made.status();
    let made: Value = made.json().await.unwrap();
    assert_eq!(status, 201, "{made}");
    made["id"].as_i64().unwrap()
}

async fn reserve(world: &World, campaign: i64, nth: usize) -> (Reservation, Instant) {
    let asked_at = Instant::now();
    let outcome = participate(world, campaign, nth).await;
    let Outcome::Yes(yes) = outcome else {
        panic!("no reservation: {outcome:?}");
    };
    let reservation = Reservation {
        participation: yes.participation,
        user: yes.user,
    };
    (reservation, asked_at)
}

/// A new user requests a unit of one replica until there is a definite outcome. Not in the ledger: its judge takes the
/// windows to be by the clients' clock.
async fn participate(world: &World, campaign: i64, nth: usize) -> Outcome {
    let (http, began) = (http(), Instant::now());
    loop {
        let request = world.sale.fresh.wish(campaign);
        let outcome = crate::client::send(world.sale.replicas[nth].base(), &http, &request).await;
        if outcome.is_definite() || began.elapsed() > EFFECT_MAX {
            return outcome;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Pays at one replica until there is a definite outcome.
async fn pay(world: &World, nth: usize, one: Reservation, asked_at: Instant) -> ChangeAnswer {
    let (http, began) = (http(), Instant::now());
    let base = world.sale.replicas[nth].base().unwrap();
    let reference = format!("payment-{}", one.user);
    let request = ChangeRequest {
        participation: one.participation,
        user: one.user,
        waited: asked_at.elapsed(),
        change: Change::Confirm {
            reference: reference.clone(),
        },
    };
    loop {
        let call = http
            .post(format!(
                "{base}/api/participations/{}/confirm",
                one.participation
            ))
            .header("Authorization", one.user.to_string())
            .json(&json!({ "paymentReference": reference }));
        let answered = async {
            let answer = call.send().await?;
            let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
            let body = answer.text().await?;
            let has_retry_after = headers.contains_key("retry-after");
            Ok::<_, reqwest::Error>(request.read(status, has_retry_after, &body))
        };
        let outcome = answered.await;
        let outcome = outcome.unwrap_or_else(|error| ChangeOutcome::Lost(format!("{error:?}")));
        if outcome.is_definite() || began.elapsed() > EFFECT_MAX {
            return ChangeAnswer {
                at: world.sale.began.elapsed(),
                phase: Phase::Healing,
                replica: nth,
                request,
                age: asked_at.elapsed(),
                outcome,
            };
        }
        tokio::time::sleep(PAUSE).await;
    }
}
