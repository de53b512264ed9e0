//! Simulated participants, on a running service: they take units as real ones do, and report their results.

use serde_json::{Value, json};
use tempfile::TempDir;

use super::process::{ADMIN_TOKEN, Service, body};
use super::real::parts;
use crate::support::until;

const ON: (&str, &str) = ("FIRSTCOME_TEST_ENDPOINTS", "true");

async fn embedded(folder: &TempDir) -> Service {
    // There is capacity on any slow machine.
    let patient = ("FIRSTCOME_WRITER_WAIT_MAX", "60s".to_owned());
    Service::start(folder, &[(ON.0, ON.1.to_owned()), patient]).await
}

async fn start(service: &Service, route: &str, what: &Value) -> (u16, Value) {
    let request = service.admin(&format!("/test/{route}")).json(what);
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    let location = answer.headers().get("location").cloned();
    let said = body(answer).await;
    if status == 202 {
        let expected = format!("/api/admin/test/load/{}", said["jobId"].as_str().unwrap());
        assert_eq!(location.unwrap(), expected.as_str());
    }
    (status, said)
}

async fn job(service: &Service, id: &Value) -> Value {
    let path = format!("/api/admin/test/load/{}", id.as_str().unwrap());
    let answer = service.get(&path).bearer_auth(ADMIN_TOKEN).send().await;
    body(answer.unwrap()).await
}

/// Waits for the end of a job, and returns its result.
async fn ended(service: &Service, id: &Value) -> Value {
    let mut last = Value::Null;
    until("the job has ended", async || {
        last = job(service, id).await;
        last["status"] != "STARTED"
    })
    .await;
    last
}

async fn campaign(service: &Service, stock: u64) -> i64 {
    let campaign = json!({ "name": "simulated", "kind": "general", "totalStock": stock });
    service.create(campaign).await
}

async fn sold(service: &Service, campaign: i64) -> (u64, u64) {
    let path = format!("/api/campaigns/{campaign}/status");
    let status = body(service.get(&path).send().await.unwrap()).await;
    let of = |field: &str| status[field].as_u64().unwrap();
    (of("successCount"), of("currentStock"))
}

async fn sells_exactly_the_stock(service: &Service) {
    let of = campaign(service, 300).await;
    let bulk = json!({ "campaignId": of, "count": 1_000 });
    let (status, begun) = start(service, "participate-bulk", &bulk).await;
    assert_eq!(status, 202, "{begun}");
    assert_eq!(
        (&begun["kind"], &begun["status"]),
        (&json!("bulk"), &json!("STARTED"))
    );
    let first = begun["firstUserId"].as_i64().unwrap();
    assert!((9_000_000_000_000_000..9_007_199_254_740_991).contains(&first));
    let end = ended(service, &begun["jobId"]).await;
    assert_eq!(
        (&end["status"], &end["done"]),
        (&json!("COMPLETED"), &json!(1_000))
    );
    let outcomes = json!({ "ACCEPTED": 300, "SOLD_OUT": 700 });
    assert_eq!(end["result"]["outcomes"], outcomes);
    assert_eq!(end["result"]["failureRate"], 0.0);
    until("all is told", async || sold(service, of).await == (300, 0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bulk_beyond_the_stock_sells_exactly_the_stock() {
    let folder = TempDir::new().unwrap();
    sells_exactly_the_stock(&embedded(&folder).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bulk_beyond_the_stock_sells_exactly_the_stock_on_the_real_parts() {
    let parts = parts().await;
    let folder = TempDir::new().unwrap();
    let mut settings = parts.settings.clone();
    settings.push((ON.0, ON.1.to_owned()));
    let service = Service::start(&folder, &settings).await;
    sells_exactly_the_stock(&service).await;
    parts.until_sound(&folder).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_paths_are_measured_and_their_figures_agree() {
    let folder = TempDir::new().unwrap();
    let service = embedded(&folder).await;
    for route in ["load/async", "load/sync"] {
        let of = campaign(&service, 40).await;
        let load = json!({
            "campaignId": of, "requests": 60, "concurrency": 4, "quantity": 1, "firstUserId": 501
        });
        let (status, begun) = start(&service, route, &load).await;
        assert_eq!(status, 202, "{begun}");
        let end = ended(&service, &begun["jobId"]).await;
        assert_eq!(
            (&end["status"], &end["done"]),
            (&json!("COMPLETED"), &json!(60))
        );
        let result = &end["result"];
        let outcomes = json!({ "ACCEPTED": 40, "SOLD_OUT": 20 });
        assert_eq!(result["outcomes"], outcomes, "{route}");
        let took = |name: &str| result["latencyMs"][name].as_f64().unwrap();
        let rising = ["min", "p50", "p95", "p99", "max"].map(took);
        assert!(rising.is_sorted() && rising[0] > 0.0, "{result}");
        assert!(took("min") <= took("avg") && took("avg") <= took("max"));
        let rate = result["requestsPerSecond"].as_f64().unwrap();
        let ran = result["durationMs"].as_f64().unwrap() / 1e3;
        assert!((rate * ran - 60.0).abs() < 0.5, "{result}");
        // The participations belong to those users.
        let held = service.get("/api/users/501/participations");
        let held = held.bearer_auth(ADMIN_TOKEN).send().await.unwrap();
        assert_eq!(body(held).await["items"][0]["campaignId"], of, "{route}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_job_ends_and_keeps_the_units_it_took() {
    let folder = TempDir::new().unwrap();
    let service = embedded(&folder).await;
    let of = campaign(&service, 1_000_000).await;
    let load = json!({ "campaignId": of, "requests": 100_000, "concurrency": 2 });
    let (_, begun) = start(&service, "load/async", &load).await;
    let id = &begun["jobId"];
    until("some are answered", async || {
        job(&service, id).await["done"] != 0
    })
    .await;
    let cancel = format!("/test/load/{}/cancel", id.as_str().unwrap());
    let cancelled = service.admin(&cancel).send().await.unwrap();
    assert_eq!(cancelled.status(), 200);
    let cancelled = body(cancelled).await;
    assert_eq!(cancelled["status"], "CANCELLED");
    let done = cancelled["done"].as_u64().unwrap();
    assert!(done < 100_000);
    let again = body(service.admin(&cancel).send().await.unwrap()).await;
    assert_eq!(again, cancelled, "asked again, it says the same");
    until("what was said is so", async || {
        sold(&service, of).await.0 == done
    })
    .await;

    let few = json!({ "campaignId": of, "count": 1 });
    let (_, begun) = start(&service, "participate-bulk", &few).await;
    ended(&service, &begun["jobId"]).await;
    let cancel = format!("/test/load/{}/cancel", begun["jobId"].as_str().unwrap());
    let late = service.admin(&cancel).send().await.unwrap();
    assert_eq!(late.status(), 409);
    assert_eq!(body(late).await["code"], "WRONG_STATE");
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_bounded_in_number_and_end_with_the_service() {
    let folder = TempDir::new().unwrap();
    let settings = [
        (ON.0, ON.1.to_owned()),
        ("FIRSTCOME_TEST_JOBS_MAX", "1".to_owned()),
        ("FIRSTCOME_TEST_RESULTS_MAX", "1".to_owned()),
    ];
    let mut service = Service::start(&folder, &settings).await;
    let of = campaign(&service, 1_000_000).await;
    let few = json!({ "campaignId": of, "count": 1 });
    let mut ids = Vec::new();
    for _ in 0..2 {
        let (_, begun) = start(&service, "participate-bulk", &few).await;
        ended(&service, &begun["jobId"]).await;
        ids.push(begun["jobId"].clone());
    }
    assert_eq!(
        job(&service, &ids[0]).await["code"],
        "NOT_FOUND",
        "forgotten"
    );
    assert_eq!(job(&service, &ids[1]).await["status"], "COMPLETED");

    let long = json!({ "campaignId": of, "requests": 100_000, "concurrency": 2 });
    let (_, begun) = start(&service, "load/async", &long).await;
    let (status, refused) = start(&service, "load/async", &long).await;
    assert_eq!((status, &refused["code"]), (409, &json!("TOO_MANY_JOBS")));
    assert_eq!(refused["jobsMax"], 1);
    assert!(
        refused["detail"]
            .as_str()
            .unwrap()
            .contains("test.jobs_max")
    );
    let id = &begun["jobId"];
    until("it is under way", async || {
        job(&service, id).await["done"] != 0
    })
    .await;
    assert!(service.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn simulations_are_disabled_by_default() {
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, &[]).await;
    let fine = json!({ "campaignId": 1, "count": 1 });
    for what in [fine, json!({ "nonsense": 1 })] {
        for route in ["participate-bulk", "load/async", "load/sync"] {
            let (status, problem) = start(&service, route, &what).await;
            assert_eq!(
                (status, &problem["code"]),
                (404, &json!("NOT_FOUND")),
                "{route}"
            );
        }
    }
    let id = json!(uuid::Uuid::now_v7());
    assert_eq!(job(&service, &id).await["code"], "NOT_FOUND");
    let cancel = format!("/test/load/{}/cancel", id.as_str().unwrap());
    let cancel = service.admin(&cancel).send().await.unwrap();
    assert_eq!(cancel.status(), 404);
    let document = body(service.get("/openapi.json").send().await.unwrap()).await;
    for path in [
        "/participate-bulk",
        "/load/async",
        "/load/sync",
        "/load/{jobId}",
        "/load/{jobId}/cancel",
    ] {
        let path = format!("/api/admin/test{path}");
        assert!(document["paths"][&path].is_object(), "{path}");
    }
    let stranger = service
        .post("/api/admin/test/participate-bulk")
        .send()
        .await;
    assert_eq!(stranger.unwrap().status(), 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_limit_is_named() {
    let folder = TempDir::new().unwrap();
    let service = embedded(&folder).await;
    let of = campaign(&service, 1).await;
    let wrong = [
        (
            "participate-bulk",
            json!({ "campaignId": of, "count": 100_001 }),
            "count",
            "100000",
        ),
        (
            "participate-bulk",
            json!({ "campaignId": of, "count": 0 }),
            "count",
            "1",
        ),
        (
            "participate-bulk",
            json!({ "count": 1 }),
            "campaignId",
            "missing",
        ),
        (
            "load/async",
            json!({ "campaignId": of, "requests": 100_001, "concurrency": 1 }),
            "requests",
            "100000",
        ),
        (
            "load/sync",
            json!({ "campaignId": of, "requests": 1, "concurrency": 1_001 }),
            "concurrency",
            "1000",
        ),
        (
            "load/sync",
            json!({ "campaignId": of, "requests": 1 }),
            "concurrency",
            "missing",
        ),
        (
            "load/async",
            json!({ "campaignId": of, "requests": 1, "concurrency": 1, "quantity": 0 }),
            "quantity",
            "1",
        ),
        (
            "load/async",
            json!({ "campaignId": of, "requests": 1, "concurrency": 1, "firstUserId": 0 }),
            "firstUserId",
            "1",
        ),
    ];
    for (route, what, field, limit) in wrong {
        let (status, problem) = start(&service, route, &what).await;
        assert_eq!(status, 422, "{what}");
        let error = &problem["errors"][0];
        assert_eq!(error["field"], field, "{what}");
        assert!(
            error["problem"].as_str().unwrap().contains(limit),
            "{error}"
        );
    }
    let (status, problem) = start(
        &service,
        "participate-bulk",
        &json!({ "campaignId": of + 1, "count": 1 }),
    )
    .await;
    assert_eq!((status, &problem["code"]), (404, &json!("NOT_FOUND")));
}
