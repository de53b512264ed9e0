//! The service without configuration, as after cloning the repository.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::process::{ADMIN_TOKEN, Service, body, command};
use super::sale::rush;

#[tokio::test(flavor = "multi_thread")]
async fn exactly_the_stock_is_sold_and_survives_a_restart() {
    let folder = TempDir::new().unwrap();
    let mut service = Service::start(&folder, &[]).await;
    let sale = rush(&service, 1_000, 2_000, 1_000).await;
    sale.is_exact(1_000);
    assert!(service.stop().await.success());

    let service = Service::start(&folder, &[]).await;
    let path = format!("/api/campaigns/{}/status", sale.campaign);
    let status = body(service.get(&path).send().await.unwrap()).await;
    assert_eq!(
        (
            status["successCount"].as_u64(),
            status["currentStock"].as_u64()
        ),
        (Some(1_000), Some(0))
    );
    let late = service.take_part(sale.campaign, 1_000_000).await;
    assert_eq!(body(late).await["code"], "SOLD_OUT");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_start_creates_a_campaign() {
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, &[]).await;
    let campaigns = body(service.get("/api/campaigns").send().await.unwrap()).await;
    let campaign = campaigns["items"][0]["id"].as_i64().unwrap();
    assert_eq!(service.take_part(campaign, 42).await.status(), 201);
    for page in [
        "/swagger-ui",
        "/dashboard",
        "/asyncapi.json",
        "/openapi.json",
        "/metrics",
        "/livez",
        "/readyz?verbose",
    ] {
        assert_eq!(
            service.get(page).send().await.unwrap().status(),
            200,
            "{page}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_gets_the_first_answer_again() {
    let folder = TempDir::new().unwrap();
    let mut service = Service::start(&folder, &[]).await;
    let campaign = service
        .create(json!({ "name": "keys", "kind": "general", "totalStock": 5, "perUserLimit": 3 }))
        .await;
    let path = format!("/api/campaigns/{campaign}/participation");
    let send = |service: &Service, quantity: u32| {
        let body = json!({ "userId": 7, "quantity": quantity });
        service
            .post(&path)
            .header("Idempotency-Key", "k-1")
            .json(&body)
            .send()
    };
    let first = send(&service, 1).await.unwrap();
    assert_eq!(first.status(), 201);
    let first = first.text().await.unwrap();
    assert_eq!(
        send(&service, 1).await.unwrap().text().await.unwrap(),
        first
    );
    service.kill();
    let service = Service::start(&folder, &[]).await;
    assert_eq!(
        send(&service, 1).await.unwrap().text().await.unwrap(),
        first,
        "after a crash"
    );
    let other = send(&service, 2).await.unwrap();
    assert_eq!(other.status(), 422);
    assert_eq!(body(other).await["code"], "IDEMPOTENCY_KEY_REUSED");
}

/// A response without the values that differ in each: status, code, and the names of its headers.
async fn outline(request: reqwest::RequestBuilder) -> (u16, Value, Vec<String>) {
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    let headers = answer.headers().keys().map(ToString::to_string);
    let headers = headers.collect::<BTreeSet<_>>().into_iter().collect();
    (status, body(answer).await["code"].clone(), headers)
}

/// Participations bypass the router, except the synchronous ones.
#[tokio::test(flavor = "multi_thread")]
async fn a_participation_gets_the_same_answer_with_and_without_the_router() {
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, &[]).await;
    let campaign = json!({ "name": "c", "kind": "general", "totalStock": 4, "perUserLimit": 1 });
    let id = service.create(campaign).await.to_string();
    let both = ["participation", "participation-sync"];
    let both = both.map(|way| format!("/api/campaigns/{id}/{way}"));
    let requests: [fn(reqwest::RequestBuilder) -> reqwest::RequestBuilder; 9] = [
        |request| request.json(&json!({})),
        |request| request.header("idempotency-key", "a b").body("no JSON"),
        |request| request.header("content-type", "text/plain").body("{}"),
        |request| request.header("content-type", "application/json").body("{"),
        |request| request.json(&json!({ "userId": 0, "more": 1 })),
        |request| request.json(&json!({ "userId": 1, "quantity": 2 })),
        |request| {
            request
                .bearer_auth("nobody's")
                .json(&json!({ "userId": 1 }))
        },
        |request| {
            request
                .header("idempotency-key", "k")
                .json(&json!({ "userId": 1 }))
        },
        |request| request.json(&json!({ "userId": 1 })),
    ];
    for (nth, request) in requests.into_iter().enumerate() {
        if nth == 7 {
            // The first participation, so that both ways give the first response again.
            assert_eq!(outline(request(service.post(&both[0]))).await.0, 201);
        }
        let [past, through] = [&both[0], &both[1]].map(|path| request(service.post(path)));
        let (past, through) = (outline(past).await, outline(through).await);
        assert_eq!(past, through, "request {nth}");
        assert!((nth == 7) == (past.0 == 201), "request {nth}: {past:?}");
    }
    let metrics = service.get("/metrics").send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    for (way, class, count) in [
        ("participation", "2xx", 2),
        ("participation", "4xx", 8),
        ("participation-sync", "2xx", 1),
        ("participation-sync", "4xx", 8),
    ] {
        let line = format!(
            "http_requests_total{{route=\"/api/campaigns/{{id}}/{way}\",method=\"POST\",status=\"{class}\"}} {count}"
        );
        assert!(metrics.contains(&line), "{line}\n{metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_opens_and_closes_by_the_clock() {
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, &[]).await;
    let at = |seconds| {
        (firstcome::runtime::clock::Clock::System.now() + chrono::TimeDelta::seconds(seconds))
            .to_rfc3339()
    };
    let campaign = json!({ "name": "timed", "kind": "time_deal", "totalStock": 5, "opensAt": at(5), "closesAt": at(10) });
    let id = service.create(campaign).await;
    let early = body(service.take_part(id, 1).await).await;
    assert_eq!(early["code"], "NOT_OPEN_YET");
    assert!(early["opensAt"].is_string());
    crate::support::until("it opens", || async {
        service.take_part(id, 1).await.status() == 201
    })
    .await;
    crate::support::until("it closes", || async {
        body(service.take_part(id, 2).await).await["code"] == "ENDED"
    })
    .await;
    let read = body(
        service
            .get(&format!("/api/campaigns/{id}"))
            .send()
            .await
            .unwrap(),
    )
    .await;
    assert_eq!(
        read["state"], "closed",
        "whether or not anybody wrote it down yet"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_without_the_reward_of_its_kind_is_rejected() {
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, &[]).await;
    let coupon = json!({ "coupon": { "discountAmount": 1 } });
    let end = "2100-01-01T00:00:00Z";
    for (kind, lacking, field) in [
        ("coupon", json!({}), "reward"),
        ("coupon", json!({ "reward": null }), "reward"),
        ("coupon", json!({ "reward": { "points": 1 } }), "reward"),
        ("points", json!({}), "reward"),
        ("points", json!({ "reward": coupon }), "reward"),
        ("time_deal", json!({}), "closesAt"),
        ("time_deal", json!({ "opensAt": end }), "closesAt"),
    ] {
        let mut asked = json!({ "name": "n", "kind": kind });
        asked
            .as_object_mut()
            .unwrap()
            .extend(lacking.as_object().unwrap().clone());
        let answer = service.admin("/campaigns").json(&asked).send();
        let answer = answer.await.unwrap();
        assert_eq!(answer.status(), 422, "{asked}");
        assert_eq!(body(answer).await["errors"][0]["field"], field, "{asked}");
    }
    // The reward of the kind cannot be removed later; other fields can be changed.
    for (kind, has, taken, field) in [
        (
            "coupon",
            json!({ "reward": coupon }),
            json!({ "reward": null }),
            "reward",
        ),
        (
            "points",
            json!({ "reward": { "points": 1 } }),
            json!({ "reward": coupon }),
            "reward",
        ),
        (
            "time_deal",
            json!({ "closesAt": end }),
            json!({ "closesAt": null }),
            "closesAt",
        ),
    ] {
        let mut asked = json!({ "name": "n", "kind": kind });
        asked
            .as_object_mut()
            .unwrap()
            .extend(has.as_object().unwrap().clone());
        let id = service.create(asked).await;
        let change = |fields: &Value| {
            let url = format!("{}/api/admin/campaigns/{id}", service.base);
            let patch = service.client.patch(url).bearer_auth(ADMIN_TOKEN);
            patch.json(fields).send()
        };
        let answer = change(&taken).await.unwrap();
        assert_eq!(answer.status(), 422, "{kind}");
        assert_eq!(body(answer).await["errors"][0]["field"], field, "{kind}");
        let answer = change(&json!({ "totalStock": 7 })).await.unwrap();
        assert_eq!(answer.status(), 200, "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_with_more_coupons_than_one_transaction_issues_is_rejected() {
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, &[]).await;
    let many = json!({
        "name": "n", "kind": "coupon", "perUserLimit": 20_000, "maxQuantity": 10_001,
        "reward": { "coupon": { "discountAmount": 1 } }
    });
    let many = service
        .admin("/campaigns")
        .json(&many)
        .send()
        .await
        .unwrap();
    assert_eq!(many.status(), 422, "coupons of one participation");
    assert!(many.text().await.unwrap().contains("maxQuantity"));
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_is_rejected_with_the_name_of_its_field() {
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, &[]).await;
    let fine = json!({ "name": "n", "kind": "general", "totalStock": 5 });
    let wrong = [
        ("totalStock", json!(-1)),
        ("state", json!(null)),
        ("perUserLimit", json!(0)),
        ("maxQuantity", json!(9)),
        ("closesAt", json!("2020-01-01T00:00:00Z")),
        ("opensAt", json!("2026-02-30T00:00:00Z")),
        ("nonsense", json!(1)),
        ("kind", json!("lottery")),
    ];
    for (field, value) in wrong {
        let mut campaign = fine.clone();
        campaign[field] = value;
        let answer = service
            .admin("/campaigns")
            .json(&campaign)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 422, "{field}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        assert!(answer.text().await.unwrap().contains(field), "{field}");
    }
    let id = service.create(fine).await;
    let path = format!("/api/campaigns/{id}/participation");
    let nothing = service
        .post(&path)
        .json(&json!({ "userId": 1, "quantity": 0 }))
        .send()
        .await
        .unwrap();
    assert_eq!(nothing.status(), 422);
    let much = service
        .post(&path)
        .json(&json!({ "userId": 1, "quantity": 2 }))
        .send()
        .await
        .unwrap();
    assert_eq!(much.status(), 409);
    let much = body(much).await;
    assert_eq!(much["code"], "LIMIT_EXCEEDED");
    assert!(much.to_string().contains("quantity"));
    assert_eq!(service.take_part(999_999, 1).await.status(), 404);
    let huge = service
        .post(&path)
        .body(vec![b' '; 1_000_000])
        .header("content-type", "application/json");
    let huge = huge.send().await.unwrap();
    assert_eq!(huge.status(), 413);
    assert_eq!(huge.headers()["connection"], "close");
    let unsigned = service
        .post("/api/admin/campaigns")
        .json(&json!({}))
        .send()
        .await
        .unwrap();
    assert_eq!(unsigned.status(), 401);
}

#[test]
fn all_errors_at_start_are_reported_together() {
    let folder = TempDir::new().unwrap();
    let output = command(
        &folder,
        &[("FIRSTCOME_HTTP_LISTEN", "0.0.0.0:1".to_owned())],
    )
    .env("FIRSTCOME_KAFKA_PARTITIONS", "0")
    .output()
    .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("http.listen") && said.contains("kafka.partitions"),
        "{said}"
    );
}

#[test]
fn an_unreachable_part_is_named_at_start() {
    let folder = TempDir::new().unwrap();
    let missing = [
        (
            "FIRSTCOME_DATABASE_URL",
            "mysql://root@127.0.0.1:1/x",
            "127.0.0.1:1",
        ),
        ("FIRSTCOME_REDIS_URL", "redis://127.0.0.1:1", "127.0.0.1:1"),
        ("FIRSTCOME_KAFKA_BROKERS", "127.0.0.1:1", "127.0.0.1:1"),
    ];
    for (variable, value, place) in missing {
        let output = command(&folder, &[(variable, value.to_owned())])
            .output()
            .unwrap();
        assert!(!output.status.success(), "{variable}");
        let said = String::from_utf8(output.stderr).unwrap();
        let last = said.lines().last().unwrap();
        assert!(
            last.starts_with("firstcome: ") && last.contains(place) && last.contains(variable),
            "{said}"
        );
    }
}
