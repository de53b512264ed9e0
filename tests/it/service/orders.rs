//! Reservations: held, paid, cancelled and expired, also concurrently.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use firstcome::domain::{CampaignId, ParticipationId, Status};
use futures_util::StreamExt;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reqwest::Response;
use sea_orm::{ConnectionTrait, Database};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::process::{ADMIN_TOKEN, Service, body, command};
use super::real::{Parts, parts};
use crate::support::until;

async fn order(service: &Service, campaign: i64, user: i64, quantity: u32) -> Response {
    service
        .post(&format!("/api/campaigns/{campaign}/participation"))
        .json(&json!({ "userId": user, "quantity": quantity }))
        .send()
        .await
        .unwrap()
}

pub async fn reserve(service: &Service, campaign: i64, user: i64, quantity: u32) -> String {
    let answer = order(service, campaign, user, quantity).await;
    assert_eq!(answer.status(), 201, "{}", answer.text().await.unwrap());
    let reserved = body(answer).await;
    assert_eq!(reserved["status"], "reserved");
    assert!(reserved["expiresAt"].is_string());
    reserved["participationId"].as_str().unwrap().to_owned()
}

/// With many concurrent requests some get 503, and while their first attempt holds a lease the last ones find no
/// units. All attempts with a key make one order.
async fn reserve_in_the_end(service: &Service, campaign: i64, user: i64) -> Value {
    let path = format!("/api/campaigns/{campaign}/participation");
    loop {
        let asked = service.post(&path).json(&json!({ "userId": user }));
        let answer = asked.header("Idempotency-Key", format!("order-{user}"));
        let answer = answer.send().await.unwrap();
        let status = answer.status();
        let text = body(answer).await;
        if status.is_success() {
            return text;
        }
        assert!(status == 503 || text["code"] == "SOLD_OUT", "{text}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub async fn change(service: &Service, id: &str, what: &str, user: i64, asked: Value) -> Response {
    service
        .post(&format!("/api/participations/{id}/{what}"))
        .header("Authorization", user.to_string())
        .json(&asked)
        .send()
        .await
        .unwrap()
}

/// Status and code, or status of the participation.
pub async fn said(answer: Response) -> (u16, String) {
    let status = answer.status().as_u16();
    let text = body(answer).await;
    let word = if status == 200 { "status" } else { "code" };
    (status, text[word].as_str().unwrap().to_owned())
}

async fn stock(service: &Service, campaign: i64) -> u64 {
    let answer = service.get(&format!("/api/campaigns/{campaign}/stock"));
    let stock = body(answer.send().await.unwrap()).await;
    stock["currentStock"].as_u64().unwrap()
}

pub fn sale(stock: u64) -> Value {
    json!({
        "name": "orders", "kind": "general", "totalStock": stock, "price": 500,
        "perUserLimit": 5, "maxQuantity": 3, "holdSeconds": 60
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_held_paid_and_published() {
    let parts = parts().await;
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, parts.settings()).await;
    let campaign = service.create(sale(4)).await;
    let id = reserve(&service, campaign, 7, 3).await;
    // All or nothing: a request for two units fails if one is left.
    let more = order(&service, campaign, 8, 2).await;
    assert_eq!(said(more).await, (409, "SOLD_OUT".to_owned()));
    let paid = json!({ "paymentReference": "pi_1", "amount": 1_500 });
    let first = body(change(&service, &id, "confirm", 7, paid.clone()).await).await;
    assert_eq!(
        (&first["status"], &first["amount"]),
        (&json!("confirmed"), &json!(1_500))
    );
    assert_eq!(first["paymentReference"], "pi_1");
    assert_eq!(first.get("expiresAt"), None);
    let again = body(change(&service, &id, "confirm", 7, paid).await).await;
    assert_eq!(again, first);
    let records = parts.records(2).await;
    let told: Vec<&str> = records.iter().map(|one| one.ce_type.as_str()).collect();
    assert_eq!(
        told,
        [
            "firstcome.participation.reserved",
            "firstcome.participation.confirmed"
        ]
    );
    parts.is_sound(&folder);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_order_gets_the_same_answer_with_the_same_expiry() {
    let parts = parts().await;
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, parts.settings()).await;
    let campaign = service.create(sale(4)).await;
    let first = reserve_in_the_end(&service, campaign, 7).await;
    let again = reserve_in_the_end(&service, campaign, 7).await;
    assert_eq!(first["participationId"], again["participationId"]);
    assert_eq!(first["expiresAt"], again["expiresAt"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn impossible_payments_and_cancellations_are_refused_with_a_reason() {
    let parts = parts().await;
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, parts.settings()).await;
    let campaign = service.create(sale(50)).await;
    let id = reserve(&service, campaign, 7, 1).await;
    let nobody = uuid::Uuid::now_v7().to_string();
    let pay = |reference: &str| json!({ "paymentReference": reference });
    for (id, what, user, asked, wanted) in [
        (&id, "confirm", 8, json!({}), (404, "NOT_FOUND")),
        (&id, "cancel", 8, json!({}), (404, "NOT_FOUND")),
        (&nobody, "confirm", 7, json!({}), (404, "NOT_FOUND")),
        (&id, "confirm", 7, json!({ "amount": -1 }), (422, "INVALID")),
        (&id, "confirm", 7, json!({ "amount": 0 }), (422, "INVALID")),
        (
            &id,
            "confirm",
            7,
            json!({ "amount": 1e300 }),
            (422, "INVALID"),
        ),
        (
            &id,
            "confirm",
            7,
            json!({ "amount": 499 }),
            (422, "INVALID"),
        ),
        (&id, "confirm", 7, json!({ "price": 500 }), (422, "INVALID")),
        (&id, "confirm", 7, pay(""), (422, "INVALID")),
        (&id, "confirm", 7, pay("ü"), (422, "INVALID")),
        (&id, "confirm", 7, pay("one "), (422, "INVALID")),
        (
            &id,
            "confirm",
            7,
            pay("declined"),
            (402, "PAYMENT_DECLINED"),
        ),
        (
            &id,
            "confirm",
            7,
            pay("unavailable"),
            (503, "PAYMENT_UNAVAILABLE"),
        ),
        (&id, "confirm", 7, pay("one"), (200, "confirmed")),
        (&id, "confirm", 7, pay("one"), (200, "confirmed")),
        (&id, "confirm", 7, json!({}), (200, "confirmed")),
        (&id, "confirm", 7, pay("two"), (409, "ALREADY_PAID")),
        (&id, "cancel", 7, json!({}), (409, "NOT_CANCELLABLE")),
    ] {
        let answer = said(change(&service, id, what, user, asked.clone()).await).await;
        let wanted = (wanted.0, wanted.1.to_owned());
        assert_eq!(answer, wanted, "{what} by {user} with {asked}");
    }
    let unnamed = service.post(&format!("/api/participations/{id}/cancel"));
    assert_eq!(unnamed.send().await.unwrap().status(), 401);
    assert_eq!(stock(&service, campaign).await, 49);

    parts.is_sound(&folder);
}

#[tokio::test(flavor = "multi_thread")]
async fn free_participations_are_cancelled_if_the_campaign_is_cancellable() {
    let parts = parts().await;
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, parts.settings()).await;
    let free = json!({ "name": "free", "kind": "general", "cancellable": true });
    let free = service.create(free).await;
    let given = body(service.take_part(free, 7).await).await;
    let given = given["participationId"].as_str().unwrap();
    for (what, wanted) in [
        ("confirm", (409, "NOT_PAYABLE")),
        ("cancel", (200, "cancelled")),
        ("cancel", (200, "cancelled")),
        ("confirm", (409, "NOT_PAYABLE")),
    ] {
        let answer = said(change(&service, given, what, 7, json!({})).await).await;
        assert_eq!(answer, (wanted.0, wanted.1.to_owned()), "{what}");
    }
    // A user who cancelled may participate again; an admin may cancel for a user.
    let again = body(service.take_part(free, 7).await).await;
    let again = again["participationId"].as_str().unwrap();
    let cancel = service.post(&format!("/api/participations/{again}/cancel"));
    let cancelled = cancel.bearer_auth(ADMIN_TOKEN).send().await.unwrap();
    assert_eq!(said(cancelled).await, (200, "cancelled".to_owned()));
    parts.is_sound(&folder);
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelled_and_expired_units_are_sold_again_on_both_replicas() {
    let parts = parts().await;
    let (folder, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let one = Service::start(&folder, parts.settings()).await;
    let two = Service::start(&other, parts.settings()).await;
    let mut short = sale(2);
    short["holdSeconds"] = json!(2);
    let campaign = one.create(short).await;
    let cancelled = reserve(&one, campaign, 1, 1).await;
    let expired = reserve(&two, campaign, 2, 1).await;
    for service in [&one, &two] {
        let refused = order(service, campaign, 3, 1).await;
        assert_eq!(said(refused).await, (409, "SOLD_OUT".to_owned()));
    }
    change(&one, &cancelled, "cancel", 1, json!({})).await;
    until("the other replica sells it", async || {
        order(&two, campaign, 3, 1).await.status() == 201
    })
    .await;
    until("what nobody paid for is sold", async || {
        order(&one, campaign, 4, 1).await.status() == 201
    })
    .await;
    let late = change(&one, &expired, "confirm", 2, json!({})).await;
    assert_eq!(said(late).await, (409, "EXPIRED".to_owned()));
    let late = change(&one, &expired, "cancel", 2, json!({})).await;
    assert_eq!(said(late).await, (409, "EXPIRED".to_owned()));
    parts.is_sound(&folder);
}

#[tokio::test(flavor = "multi_thread")]
async fn paid_participations_earn_until_they_are_cancelled() {
    let mut parts = parts().await;
    let consumers = ("FIRSTCOME_CONSUMERS_ENABLED", "points,coupons".to_owned());
    parts.settings.push(consumers);
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, parts.settings()).await;
    let mut earning = sale(10);
    earning["reward"] = json!({ "points": 100 });
    earning["cancellable"] = json!(true);
    let campaign = service.create(earning).await;
    let id = reserve(&service, campaign, 7, 2).await;
    let points = async || {
        let asked = service
            .get("/api/users/7/rewards")
            .header("Authorization", "7");
        let rewards = body(asked.send().await.unwrap()).await;
        (
            rewards["points"].as_i64().unwrap(),
            rewards["ledger"]["items"].as_array().unwrap().len(),
        )
    };
    assert_eq!(points().await, (0, 0));
    let confirmed = change(&service, &id, "confirm", 7, json!({})).await;
    assert_eq!(confirmed.status(), 200);
    until("it has earned", async || points().await == (200, 1)).await;
    let cancelled = change(&service, &id, "cancel", 7, json!({})).await;
    assert_eq!(said(cancelled).await, (200, "cancelled".to_owned()));
    until("it is taken back", async || points().await == (0, 2)).await;
    parts.is_sound(&folder);
    let verify = || {
        let mut verify = command(&folder, parts.settings());
        let said = verify.args(["verify", "--rewards", "--json"]).output();
        let said = said.unwrap();
        let found: Value = serde_json::from_slice(&said.stdout).unwrap();
        (said.status.success(), found["rewards"].clone())
    };
    until("it is marked", async || {
        verify() == (true, json!({ "granted": 1, "unmarked": 0, "breaches": [] }))
    })
    .await;
    let db = Database::connect(&parts.test.url).await.unwrap();
    let plant = "UPDATE rewarded_tally SET count = count + 1";
    db.execute_unprepared(plant).await.unwrap();
    let (is_clean, found) = verify();
    let breach = found["breaches"][0].as_str().unwrap();
    assert!(!is_clean && breach.starts_with("I6"), "{found}");
}

const ORDERS: i64 = 1_000;
const HOLD: i64 = 4;

/// One order is paid and cancelled at about the same time, at different replicas, around its expiry. Returns
/// both responses.
async fn race(services: [&Service; 2], campaign: i64, user: i64, seed: u64) -> [(u16, String); 3] {
    let mut random = StdRng::seed_from_u64(seed ^ user.unsigned_abs());
    let [payer, quitter] = if random.random() {
        services
    } else {
        [services[1], services[0]]
    };
    let answer = reserve_in_the_end(payer, campaign, user).await;
    let id = answer["participationId"].as_str().unwrap().to_owned();
    // A late payment may have found an expired reservation.
    let ends = answer["expiresAt"].as_str();
    let ends = ends.map_or_else(Utc::now, |at| at.parse::<DateTime<Utc>>().unwrap());
    let left = (ends - Utc::now()).num_milliseconds().max(0) + 400;
    let millis = match random.random_range(0..3) {
        0 => random.random_range(0..left),
        _ => left - random.random_range(0..left.min(900)),
    };
    let wait = Duration::from_millis(millis.unsigned_abs());
    let apart = Duration::from_millis(random.random_range(0..20));
    let paid = async {
        tokio::time::sleep(wait).await;
        let asked = json!({ "paymentReference": format!("pi-{user}") });
        said(change(payer, &id, "confirm", user, asked).await).await
    };
    let given_back = async {
        tokio::time::sleep(wait + apart).await;
        said(change(quitter, &id, "cancel", user, json!({})).await).await
    };
    let (paid, given_back) = tokio::join!(paid, given_back);
    [(0, id), paid, given_back]
}

/// The final status of each order, which must match the accepted response.
async fn ends(parts: &Parts, answers: &[[(u16, String); 3]]) -> BTreeMap<&'static str, u64> {
    let store = &parts.test.store;
    let mut ends: BTreeMap<&str, u64> = BTreeMap::new();
    for [(_, id), paid, given_back] in answers {
        let id = ParticipationId(id.parse().unwrap());
        let mut ended = Status::Reserved;
        until("it is paid for, cancelled or expired", async || {
            ended = store.participation(id).await.unwrap().unwrap().status;
            ended != Status::Reserved
        })
        .await;
        *ends.entry(ended.as_str()).or_default() += 1;
        for (told, wanted) in [(paid, Status::Confirmed), (given_back, Status::Cancelled)] {
            // A 503 leaves the outcome open.
            let is_right = told.0 == 503 || (told.0 == 200) == (ended == wanted);
            assert!(is_right, "{id}: {paid:?}, {given_back:?}, {ended:?}");
        }
    }
    eprintln!("ends: {ends:?}");
    ends
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_payment_cancellation_and_expiry_wins() {
    let seed: u64 = rand::random();
    eprintln!("seed {seed}");
    let parts = parts().await;
    let (folder, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let one = Service::start(&folder, parts.settings()).await;
    let two = Service::start(&other, parts.settings()).await;
    let mut short = sale(u64::try_from(ORDERS).unwrap());
    short["holdSeconds"] = json!(HOLD);
    let campaign = one.create(short).await;
    let answers: Vec<_> = futures_util::stream::iter(1..=ORDERS)
        .map(|user| race([&one, &two], campaign, user, seed))
        .buffer_unordered(400)
        .collect()
        .await;
    let ends = ends(&parts, &answers).await;
    assert_eq!(ends.len(), 3, "all three happened: {ends:?}");
    let kept = ends["confirmed"];
    let store = &parts.test.store;
    let counters = store
        .counters_of(CampaignId(campaign))
        .await
        .unwrap()
        .unwrap();
    let returned = u64::try_from(ORDERS).unwrap() - kept;
    assert_eq!(
        (counters.committed_units, counters.returns),
        (kept, returned)
    );

    // Nothing is lost: all returned units were sold again, and no more.
    let path = format!("{}/api/admin/campaigns/{campaign}", one.base);
    let longer = one.client.patch(path).bearer_auth(ADMIN_TOKEN);
    let longer = longer.json(&json!({ "holdSeconds": 600 })).send().await;
    assert_eq!(longer.unwrap().status(), 200);
    let (mut user, mut sold) = (ORDERS, 0);
    while sold < returned {
        user += 1;
        reserve_in_the_end(&one, campaign, user).await;
        sold += 1;
    }
    let refused = order(&two, campaign, user + 1, 1).await;
    assert_eq!(said(refused).await, (409, "SOLD_OUT".to_owned()));
    until("everything is published", async || {
        store.outbox_counts(None).await.unwrap().pending == 0
    })
    .await;
    parts.is_sound(&folder);
}
