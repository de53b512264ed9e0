//! Payments: the object of each payment, and when payments are refused.

use serde_json::{Value, json};
use tempfile::TempDir;

use super::orders::{change, reserve, said, sale};
use super::process::{ADMIN_TOKEN, Service, body};
use super::real::parts;

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_pays_for_only_one_participation() {
    let parts = parts().await;
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, parts.settings()).await;
    let (campaign, other) = (service.create(sale(4)).await, service.create(sale(4)).await);
    let first = reserve(&service, campaign, 7, 1).await;
    let paid = json!({ "paymentReference": "pi_1" });
    let answer = change(&service, &first, "confirm", 7, paid.clone()).await;
    assert_eq!(said(answer).await, (200, "confirmed".to_owned()));
    for (campaign, user) in [(campaign, 7), (campaign, 8), (other, 7)] {
        let second = reserve(&service, campaign, user, 1).await;
        let refused = change(&service, &second, "confirm", user, paid.clone()).await;
        assert_eq!(refused.status(), 409);
        let problem = body(refused).await;
        assert_eq!(problem["code"], "PAYMENT_REFERENCE_USED");
        assert_eq!(problem["errors"][0]["field"], "paymentReference");
        // It can still be paid by another payment, or without a reference of the payer.
        let answer = change(&service, &second, "confirm", user, json!({})).await;
        assert_eq!(said(answer).await, (200, "confirmed".to_owned()));
    }
    // The payment of the first one is not voided.
    let again = change(&service, &first, "confirm", 7, paid).await;
    assert_eq!(said(again).await, (200, "confirmed".to_owned()));
    parts.is_sound(&folder);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_concurrent_participations_with_the_same_payment_is_confirmed() {
    let parts = parts().await;
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, parts.settings()).await;
    let mut orders = Vec::new();
    for _ in 0..2 {
        let campaign = service.create(sale(8)).await;
        for user in 1..=4 {
            orders.push((user, reserve(&service, campaign, user, 1).await));
        }
    }
    let paid = json!({ "paymentReference": "pi_many" });
    let asked = orders.iter().map(async |(user, id)| {
        let answer = change(&service, id, "confirm", *user, paid.clone()).await;
        answer.status().as_u16()
    });
    let statuses = futures_util::future::join_all(asked).await;
    let confirmed = statuses.iter().filter(|status| **status == 200).count();
    assert_eq!(confirmed, 1, "{statuses:?}");
    // A participation without a definite response is refused when it is repeated.
    for ((user, id), status) in orders.iter().zip(&statuses) {
        if *status != 200 {
            let answer = change(&service, id, "confirm", *user, paid.clone()).await;
            assert_eq!(
                said(answer).await,
                (409, "PAYMENT_REFERENCE_USED".to_owned())
            );
        }
    }
    parts.is_sound(&folder);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_enabled_payment_provider_nothing_with_a_price_is_sold() {
    let mut parts = parts().await;
    let folder = TempDir::new().unwrap();
    // A campaign was on sale before the setting was removed.
    let mut service = Service::start(&folder, parts.settings()).await;
    let old = service.create(sale(4)).await;
    let free = json!({ "name": "free", "kind": "general", "totalStock": 4 });
    let gift = service.create(free).await;
    let id = reserve(&service, old, 7, 1).await;
    drop(service);
    let allow = "FIRSTCOME_PAYMENT_ALLOW_SIMULATED";
    parts.settings.push((allow, "false".to_owned()));
    service = Service::start(&folder, parts.settings()).await;
    let refused = change(&service, &id, "confirm", 7, json!({})).await;
    assert_eq!(said(refused).await, (409, "NO_PAYMENT_PROVIDER".to_owned()));
    unpayable_participations_take_no_unit(&service, old).await;
    assert_eq!(service.take_part(gift, 8).await.status(), 201);

    let made = service
        .admin("/campaigns")
        .json(&sale(4))
        .send()
        .await
        .unwrap();
    let problem = body(made).await;
    assert_eq!(problem["code"], "NO_PAYMENT_PROVIDER");
    assert_eq!(problem["errors"][0]["field"], "price");
    let mut draft = sale(4);
    draft["state"] = json!("draft");
    let draft = service.create(draft).await;
    let opened = service.admin(&format!("/campaigns/{draft}/open"));
    let opened = opened.send().await.unwrap();
    assert_eq!(said(opened).await, (409, "NO_PAYMENT_PROVIDER".to_owned()));
    let mut free = sale(4);
    free["price"] = Value::Null;
    let free = service.create(free).await;
    let priced = service
        .client
        .patch(format!("{}/api/admin/campaigns/{free}", service.base))
        .bearer_auth(ADMIN_TOKEN)
        .json(&json!({ "price": 500 }));
    let priced = priced.send().await.unwrap();
    assert_eq!(said(priced).await, (409, "NO_PAYMENT_PROVIDER".to_owned()));
    let page = service.get("/dashboard").send().await.unwrap();
    let page = page.text().await.unwrap();
    assert!(page.contains("&quot;payments&quot;:&quot;refused&quot;"));
}

/// Three of its units are left, before and after.
async fn unpayable_participations_take_no_unit(service: &Service, campaign: i64) {
    for path in ["participation", "participation-sync"] {
        for key in [None, Some("a-key")] {
            let path = format!("/api/campaigns/{campaign}/{path}");
            let mut asked = service.post(&path).json(&json!({ "userId": 8 }));
            if let Some(key) = key {
                asked = asked.header("Idempotency-Key", key);
            }
            let refused = asked.send().await.unwrap();
            let no = (409, "NO_PAYMENT_PROVIDER".to_owned());
            assert_eq!(said(refused).await, no, "{path} {key:?}");
        }
    }
    let stock = service.get(&format!("/api/campaigns/{campaign}/stock"));
    let stock = body(stock.send().await.unwrap()).await;
    assert_eq!(stock["currentStock"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_cannot_use_references_made_by_the_service() {
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, &[]).await;
    let campaign = service.create(sale(4)).await;
    let (own, other) = (
        reserve(&service, campaign, 7, 1).await,
        reserve(&service, campaign, 8, 1).await,
    );
    let named = json!({ "paymentReference": format!("simulated-{other}") });
    let refused = change(&service, &own, "confirm", 7, named).await;
    assert_eq!(refused.status(), 422);
    let problem = body(refused).await;
    assert_eq!(problem["errors"][0]["field"], "paymentReference");
    for (id, user) in [(own, 7), (other, 8)] {
        let answer = change(&service, &id, "confirm", user, json!({})).await;
        assert_eq!(said(answer).await, (200, "confirmed".to_owned()));
    }
}
