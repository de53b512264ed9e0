//! Panics, time, concurrency, request ids and metrics.

use std::time::Duration;

use super::*;

#[tokio::test]
async fn a_panic_is_answered_without_its_message() {
    let harness = harness(&Settings::default());
    let response = harness.get("/api/panic").await;
    let body = problem(response, 500, "INTERNAL").await;
    assert!(!body.to_string().contains("hunter2"));
}

#[tokio::test(start_paused = true)]
async fn a_response_that_takes_too_long_is_replaced_by_503_timeout() {
    let harness = harness(&Settings::default());
    let response = harness.get("/api/hang").await;
    response.assert_header("retry-after", "1");
    problem(response, 503, "TIMEOUT").await;
    let text = harness.telemetry.encode().unwrap();
    let counted = r#"http_requests_total{route="/api/hang",method="GET",status="5xx"} 1"#;
    assert!(text.contains(counted), "{text}");
}

#[tokio::test(start_paused = true)]
async fn requests_above_the_bound_get_503_with_retry_after() {
    let harness = harness(&Settings {
        http: HttpConfig {
            concurrent_requests_max: 1,
            request_timeout: Duration::from_secs(60),
            ..HttpConfig::default()
        },
        ..Settings::default()
    });
    let first = harness.client.get("/api/hang").send();
    let second = async {
        harness.entered.notified().await;
        let busy = harness.get("/api/echo/1").await;
        let seconds: u32 = busy.0.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=3).contains(&seconds));
        problem(busy, 503, "BUSY").await;
        // Probes are still answered.
        harness.get("/livez").await.assert_status_is_ok();
    };
    tokio::select! {
        biased;
        _ = first => panic!("the first request does not end"),
        () = second => {}
    }
}

#[tokio::test]
async fn without_capacity_a_participation_is_rejected_unread_and_others_continue() {
    let mut settings = with_token();
    settings.http.concurrent_requests_max = 1;
    let harness = harness_with(&settings, Box::new(|campaign| campaign.0 != 7));
    for path in ["participation", "participation-sync"] {
        let full = harness
            .client
            .post(format!("/api/campaigns/7/{path}"))
            .body("x".repeat(1_000))
            .send()
            .await;
        assert!(full.0.header("retry-after").is_some());
        problem(full, 503, "BUSY").await;
    }
    let accepted = harness.client.post("/api/campaigns/8/participation");
    accepted.send().await.assert_status_is_ok();
    let named = harness.client.post("/api/campaigns/x/participation");
    problem(named.send().await, 422, "INVALID").await;
    // These have no route here.
    for path in ["/api/campaigns/7", "/api/campaigns/7/participation/9"] {
        let unknown = harness.client.post(path).send().await;
        problem(unknown, 404, "NOT_FOUND").await;
    }
}

#[tokio::test]
async fn a_valid_request_id_is_kept_and_others_are_replaced() {
    let harness = harness(&Settings::default());
    let with = |id: &'static str| {
        harness
            .client
            .get("/api/echo/1")
            .header("x-request-id", id)
            .send()
    };
    with("a-1.b_2")
        .await
        .assert_header("x-request-id", "a-1.b_2");
    let long = "x".repeat(REQUEST_ID_BYTES_MAX + 1);
    for id in ["two words", "<script>", "", long.leak()] {
        let response = with(id).await;
        let made = response.0.header("x-request-id").unwrap();
        assert_ne!(made, id);
        assert_eq!(made.len(), 32);
    }
}

#[tokio::test]
async fn requests_are_counted_by_template() {
    let harness = harness(&Settings::default());
    for path in ["/api/echo/1", "/api/echo/2", "/api/echo/x", "/nowhere/1"] {
        harness.get(path).await;
    }
    let text = harness.telemetry.encode().unwrap();
    for counted in [
        r#"http_requests_total{route="/api/echo/{id}",method="GET",status="2xx"} 2"#,
        r#"http_requests_total{route="/api/echo/{id}",method="GET",status="4xx"} 1"#,
        r#"http_requests_total{route="unmatched",method="other",status="4xx"} 1"#,
        "http_requests_in_flight 0",
    ] {
        assert!(text.contains(counted), "{counted}\n{text}");
    }
    assert!(!text.contains("/nowhere"));
}

#[tokio::test]
async fn the_response_to_head_has_no_body() {
    let harness = harness(&Settings::default());
    let response = harness.client.head("/api/echo/1").send().await;
    response.assert_status_is_ok();
    response.assert_text("").await;
    let response = harness.client.head("/nowhere").send().await;
    response.assert_status(StatusCode::NOT_FOUND);
    response.assert_text("").await;
}
