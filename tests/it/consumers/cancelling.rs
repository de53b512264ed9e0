//! Participations that are cancelled after they earned coupons: there are never more used coupons than units.

use futures_util::future::join_all;
use reqwest::Response;
use sea_orm::{ConnectionTrait, Database};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::http::{coupon_of, rewards, use_it};
use super::scene::Scene;
use crate::service::process::{ADMIN_TOKEN, Service, body, command};
use crate::support::until;

fn couponing(stock: u64) -> Value {
    json!({
        "name": "coupons", "kind": "coupon", "totalStock": stock, "cancellable": true,
        "reward": { "coupon": { "discountAmount": 500 } }
    })
}

async fn cancel(service: &Service, coupon: &Value, by: &str) -> (u16, Value) {
    let id = coupon["participationId"].as_str().unwrap();
    let path = format!("/api/participations/{id}/cancel");
    let asked = service.post(&path).header("Authorization", by).send();
    said(asked.await.unwrap()).await
}

async fn said(answer: Response) -> (u16, Value) {
    let status = answer.status().as_u16();
    let body = body(answer).await;
    let word = if status == 200 { "status" } else { "code" };
    (status, body[word].clone())
}

/// With a used coupon a unit is final: no cancellation returns it.
#[tokio::test(flavor = "multi_thread")]
async fn a_participation_whose_coupon_was_used_is_not_cancelled() {
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, &[]).await;
    let campaign = service.create(couponing(1)).await;
    let coupon = coupon_of(&service, campaign, 7).await;
    assert_eq!(use_it(&service, &coupon, "7", json!(2_000)).await.0, 200);
    for by in ["7", &format!("Bearer {ADMIN_TOKEN}")] {
        let answer = cancel(&service, &coupon, by).await;
        assert_eq!(answer, (409, json!("ALREADY_USED")), "{by}");
    }
    let next = body(service.take_part(campaign, 8).await).await;
    assert_eq!(next["code"], "SOLD_OUT");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coupon_is_unusable_after_its_cancellation_was_answered() {
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, &[]).await;
    let campaign = service.create(couponing(1)).await;
    for user in 1..=15 {
        let coupon = coupon_of(&service, campaign, user).await;
        let by = user.to_string();
        let answer = cancel(&service, &coupon, &by).await;
        assert_eq!(answer, (200, json!("cancelled")));
        let (status, told) = use_it(&service, &coupon, &by, json!(2_000)).await;
        let code = told["code"].as_str().unwrap_or_default();
        let is_refused = [(409, "COUPON_REVOKED"), (503, "COUPON_SUSPENDED")];
        assert!(is_refused.contains(&(status, code)), "{status} {told}");
        until("the coupon is revoked", async || {
            rewards(&service, user).await["coupons"][0]["status"] == "revoked"
        })
        .await;
        // Safe to repeat.
        let again = cancel(&service, &coupon, &by).await;
        assert_eq!(again, (200, json!("cancelled")));
    }
}

/// Concurrent, each at another replica: the number of used coupons equals the number of units.
#[tokio::test(flavor = "multi_thread")]
async fn either_the_use_of_a_coupon_or_its_cancellation_succeeds() {
    const UNITS: u64 = 24;
    let scene = Scene::new().await;
    let mut settings = scene.settings();
    settings.push(("FIRSTCOME_CONSUMERS_ENABLED", "coupons".to_owned()));
    let (folder, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let one = Service::start(&folder, &settings).await;
    let two = Service::start(&other, &settings).await;
    let campaign = one.create(couponing(UNITS)).await;
    let (mut user, mut cancelled) = (0, 0);
    let spent = || scene.number("SELECT COUNT(*) FROM coupon WHERE status = 'used'");
    while u64::try_from(spent().await).unwrap() < UNITS {
        let left = UNITS - u64::try_from(spent().await).unwrap();
        let users = user + 1..=user + i64::try_from(left).unwrap();
        user += i64::try_from(left).unwrap();
        let raced = users.map(async |user| {
            let by = user.to_string();
            // Returned units are available a moment later.
            let coupon = coupon_of_patient(&one, campaign, user).await;
            let (using, cancelling) = if user % 3 == 0 {
                tokio::join!(
                    use_it(&one, &coupon, &by, json!(2_000)),
                    cancel(&two, &coupon, &by)
                )
            } else {
                let (cancelling, using) = tokio::join!(
                    cancel(&two, &coupon, &by),
                    use_it(&one, &coupon, &by, json!(2_000))
                );
                (using, cancelling)
            };
            let both = (using.0, cancelling.0);
            let is_sound = matches!(both, (200, 409) | (409 | 503, 200));
            assert!(is_sound, "{using:?} and {cancelling:?}");
            u64::from(cancelling.0 == 200)
        });
        cancelled += join_all(raced).await.into_iter().sum::<u64>();
    }
    assert_eq!(u64::try_from(spent().await).unwrap(), UNITS);
    let next = body(one.take_part(campaign, user + 1).await).await;
    assert_eq!(next["code"], "SOLD_OUT");
    let revoked = "SELECT COUNT(*) FROM coupon WHERE status = 'revoked'";
    scene
        .reaches(revoked, i64::try_from(cancelled).unwrap())
        .await;
    scene.reaches("SELECT COUNT(*) FROM revocation", 0).await;
    let verified = command(&folder, &settings)
        .args(["verify", "--rewards"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&verified.stdout);
    assert!(verified.status.success(), "{text}");
}

async fn coupon_of_patient(service: &Service, campaign: i64, user: i64) -> Value {
    until("a unit is there", async || {
        let answer = body(service.take_part(campaign, user).await).await;
        answer["code"] == "ALREADY_PARTICIPATED" || answer["status"] == "confirmed"
    })
    .await;
    until("the coupon is there", async || {
        rewards(service, user).await["coupons"][0].is_object()
    })
    .await;
    rewards(service, user).await["coupons"][0].clone()
}

/// The consumer is behind: it issues the coupon after the cancellation of its participation.
#[tokio::test(flavor = "multi_thread")]
async fn a_coupon_that_is_issued_late_is_revoked_with_its_participation() {
    let scene = Scene::new().await;
    let folder = TempDir::new().unwrap();
    let settings = scene.settings();
    let service = Service::start(&folder, &settings).await;
    let campaign = service.create(couponing(1)).await;
    let made = body(service.take_part(campaign, 7).await).await;
    let answer = cancel(&service, &made, "7").await;
    assert_eq!(answer, (200, json!("cancelled")));
    assert_eq!(scene.number("SELECT COUNT(*) FROM revocation").await, 1);
    let mut consumer = Service::start_as("consume", &folder, &settings).await;
    let revoked = "SELECT COUNT(*) FROM coupon WHERE status = 'revoked'";
    scene.reaches(revoked, 1).await;
    scene.reaches("SELECT COUNT(*) FROM revocation", 0).await;
    assert!(consumer.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn participations_with_coupons_are_not_cancelled_while_their_use_is_unknown() {
    let scene = Scene::new().await;
    let folder = TempDir::new().unwrap();
    let settings = scene.settings();
    let mut without = settings.clone();
    without.retain(|(name, _)| *name != "FIRSTCOME_REWARDS_DATABASE_URL");
    let mut service = Service::start(&folder, &without).await;
    let campaign = service.create(couponing(1)).await;
    let made = body(service.take_part(campaign, 7).await).await;
    let answer = cancel(&service, &made, "7").await;
    assert_eq!(answer, (503, json!("REWARDS_UNAVAILABLE")));
    // The same if the reward was removed from the campaign since, which is possible for rewards other than
    // coupons.
    let other = json!({
        "name": "general", "kind": "general", "cancellable": true,
        "reward": { "coupon": { "discountAmount": 500 } }
    });
    let other = service.create(other).await;
    let of_other = body(service.take_part(other, 7).await).await;
    let url = format!("{}/api/admin/campaigns/{other}", service.base);
    let patch = service.client.patch(url).bearer_auth(ADMIN_TOKEN);
    let patched = patch.json(&json!({ "reward": null })).send().await.unwrap();
    assert_eq!(patched.status(), 200);
    let answer = cancel(&service, &of_other, "7").await;
    assert_eq!(answer, (503, json!("REWARDS_UNAVAILABLE")));
    // A participation without coupons is cancelled as usual.
    let plain = json!({ "name": "plain", "kind": "general", "cancellable": true });
    let plain = service.create(plain).await;
    let of_plain = body(service.take_part(plain, 7).await).await;
    let answer = cancel(&service, &of_plain, "7").await;
    assert_eq!(answer, (200, json!("cancelled")));
    assert!(service.stop().await.success());

    // A rewards database that fails.
    let service = Service::start(&folder, &settings).await;
    let db = Database::connect(&scene.rewards_url).await.unwrap();
    let rename = "RENAME TABLE revocation TO elsewhere";
    db.execute_unprepared(rename).await.unwrap();
    let answer = cancel(&service, &made, "7").await;
    assert_eq!(answer, (503, json!("REWARDS_UNAVAILABLE")));
    let next = body(service.take_part(campaign, 8).await).await;
    assert_eq!(next["code"], "SOLD_OUT");
    let rename = "RENAME TABLE elsewhere TO revocation";
    db.execute_unprepared(rename).await.unwrap();
    let answer = cancel(&service, &made, "7").await;
    assert_eq!(answer, (200, json!("cancelled")));
}

/// At every gap between two writes of a cancellation: afterwards either it is cancelled and its coupon revoked, or
/// neither.
#[cfg(feature = "failpoints")]
#[tokio::test(flavor = "multi_thread")]
async fn a_process_killed_during_a_cancellation_leaves_one_usable_coupon_per_unit() {
    for point in firstcome::runtime::failpoint::REVOCATION_POINTS {
        let scene = Scene::new().await;
        let folder = TempDir::new().unwrap();
        let mut settings = scene.settings();
        settings.push(("FIRSTCOME_CONSUMERS_ENABLED", "coupons".to_owned()));
        settings.push(("FIRSTCOME_REWARDS_SUSPEND_MAX", "1s".to_owned()));
        let mut first = Service::start(&folder, &settings).await;
        let campaign = first.create(couponing(1)).await;
        let coupon = coupon_of(&first, campaign, 7).await;
        first.kill();

        let mut dying = vec!["change.suspended", point];
        dying.dedup();
        if point == "change.committed" {
            dying.remove(0);
        }
        for point in dying {
            let mut settings = settings.clone();
            settings.push(("FAILPOINTS", format!("{point}=return")));
            let mut dies = Service::start(&folder, &settings).await;
            let path = format!(
                "/api/participations/{}/cancel",
                coupon["participationId"].as_str().unwrap()
            );
            if point.starts_with("change") {
                let asked = dies.post(&path).header("Authorization", "7").send();
                assert!(asked.await.is_err(), "{point}");
            }
            until(&format!("it dies at {point}"), async || dies.has_died()).await;
        }
        let last = Service::start(&folder, &settings).await;
        let is_cancelled = point == "change.committed";
        let wanted = if is_cancelled { "revoked" } else { "issued" };
        until(&format!("{point}: the coupon is {wanted}"), async || {
            rewards(&last, 7).await["coupons"][0]["status"] == wanted
        })
        .await;
        scene.reaches("SELECT COUNT(*) FROM revocation", 0).await;
        let (status, _) = use_it(&last, &coupon, "7", json!(2_000)).await;
        assert_eq!(status, if is_cancelled { 409 } else { 200 }, "{point}");
        if is_cancelled {
            // The process died before it notified the gate: the sweep finds that the gate lacks the unit.
            until("the unit can be had again", async || {
                last.take_part(campaign, 8).await.status() == 201
            })
            .await;
        } else {
            assert_eq!(last.take_part(campaign, 8).await.status(), 409, "{point}");
        }
    }
}
