//! Parameters, paths and bodies that cannot be read.

use super::*;

#[tokio::test]
async fn unreadable_parameters_are_named() {
    let harness = harness(&Settings::default());
    for (path, field) in [
        ("/api/echo/x", "id"),
        ("/api/echo/99999999999999999999", "id"),
        ("/api/echo/1?limit=0", "limit"),
        ("/api/echo/1?limit=101", "limit"),
        ("/api/echo/1?limit=ten", "limit"),
        ("/api/echo/1?limit=-1", "limit"),
    ] {
        let response = harness.get(path).await;
        let body = problem(response, 422, "INVALID").await;
        assert_eq!(body["errors"][0]["field"], field, "{path}: {body}");
    }
}

/// The fields of a problem, each with its fault.
fn faults(problem: &Value) -> Vec<(&str, &str)> {
    let errors = problem["errors"].as_array().unwrap().iter();
    let text = |value: &Value| -> &'static str { value.as_str().unwrap().to_owned().leak() };
    errors
        .map(|error| (text(&error["field"]), text(&error["problem"])))
        .collect()
}

const SEARCH: &str = "/api/search/0193a5d2-7a00-7000-8000-000000000001";

#[tokio::test]
async fn all_wrong_parameters_are_named_with_their_allowed_values() {
    let harness = harness(&Settings::default());
    let path = "/api/search/x?state=maybe&force=yes&from=today&date=2030-02-30&page=2&page=3";
    let response = harness.get(path).await;
    let body = problem(response, 422, "INVALID").await;
    assert_eq!(
        faults(&body),
        [
            ("id", "must be a UUID"),
            ("state", "must be one of yes, not_yet"),
            ("force", "must be true or false"),
            (
                "from",
                "must be a time in RFC 3339, such as 2030-01-31T09:00:00Z"
            ),
            ("date", "must be a date, such as 2030-01-31"),
            ("page", "is not a parameter of this operation"),
        ]
    );
    for word in ["optional", "naive", "parse", "type", "string"] {
        assert!(
            !body.to_string().replace("\"type\":", "").contains(word),
            "{word}: {body}"
        );
    }
}

#[tokio::test]
async fn a_required_parameter_appears_once_and_within_its_bounds() {
    let harness = harness(&Settings::default());
    for (query, expected) in [
        ("", ("date", "is missing")),
        ("?date=", ("date", "must be a date, such as 2030-01-31")),
        (
            "?date=2030-01-31&date=2030-01-31",
            ("date", "is given more than once"),
        ),
        (
            "?date=2030-01-31&from=1969-12-31T00:00:00Z",
            ("from", "must be between the years 1970 and 9999"),
        ),
        (
            "?date=2030-01-31&%64ate=2030-01-31",
            ("date", "is given more than once"),
        ),
    ] {
        let response = harness.get(&format!("{SEARCH}{query}")).await;
        let body = problem(response, 422, "INVALID").await;
        assert_eq!(faults(&body), [expected], "{query}");
    }
    let response = harness.get("/api/echo/1?limit=101").await;
    let body = problem(response, 422, "INVALID").await;
    assert_eq!(faults(&body), [("limit", "must be between 1 and 100")]);
    for right in [
        format!("{SEARCH}?date=2030-01-31"),
        format!(
            "{SEARCH}?state=not_yet&force=false&from=2030-01-31T09%3A00%3A00%2B09:00&date=2030-01-31"
        ),
        "/livez?anything=1".to_owned(),
    ] {
        harness.get(&right).await.assert_status_is_ok();
    }
}

#[tokio::test]
async fn missing_permissions_are_reported_before_other_errors() {
    let harness = harness(&with_token());
    for path in ["/api/admin/x?page=2", "/api/admin/01"] {
        let get = |value: &'static str| {
            let request = harness.client.get(path).header("authorization", value);
            request.send()
        };
        problem(get("Bearer no").await, 401, "UNAUTHENTICATED").await;
        problem(get("7").await, 403, "FORBIDDEN").await;
        let admin = get("Bearer s3cret").await;
        if path.contains("page") {
            let body = problem(admin, 422, "INVALID").await;
            let unknown = ("page", "is not a parameter of this operation");
            assert_eq!(faults(&body), [("id", "must be an integer"), unknown]);
        } else {
            problem(admin, 404, "NOT_FOUND").await;
        }
    }
}

#[tokio::test]
async fn an_id_has_exactly_one_url() {
    let harness = harness(&Settings::default());
    for path in [
        "/api/echo/+1",
        "/api/echo/0001",
        "/api/echo/%31",
        "/api/echo/-0",
        "/api/campaigns/+1/participation",
        "/api/campaigns/0001/participation",
        "/api/campaigns/%31/participation",
        "/api/campaigns//participation",
        "/api/search/0193a5d27a0070008000000000000001?date=2030-01-31",
        "/api/search/0193A5D2-7A00-7000-8000-000000000001?date=2030-01-31",
        "/api/search/%30193a5d2-7a00-7000-8000-000000000001?date=2030-01-31",
    ] {
        let is_participation = path.ends_with("/participation");
        let response = if is_participation {
            harness.client.post(path).send().await
        } else {
            harness.get(path).await
        };
        problem(response, 404, "NOT_FOUND").await;
    }
    harness.get("/api/echo/1").await.assert_status_is_ok();
}

#[tokio::test]
async fn a_duplicate_field_is_named() {
    let harness = harness(&Settings::default());
    for (body, expected) in [
        (
            r#"{"count":1,"count":2}"#,
            vec![("count", "is given more than once")],
        ),
        (
            r#"{"count":11,"more":{"a":[{"b":1,"b":1}]},"\u0063ount":11}"#,
            vec![
                ("more.a[0].b", "is given more than once"),
                ("count", "is given more than once"),
                ("count", "must be between 1 and 10"),
                ("more", "is not a field of this object"),
            ],
        ),
    ] {
        let response = harness.post("application/json", body).await;
        let answer = problem(response, 422, "INVALID").await;
        assert_eq!(faults(&answer), expected, "{body}");
    }
}

#[tokio::test]
async fn unreadable_bodies_are_problems() {
    let harness = harness(&with_token());
    let json = "application/json";
    let response = harness.post(json, "{\"count\":").await;
    problem(response, 400, "MALFORMED").await;
    let response = harness.post("text/plain", "{\"count\":1}").await;
    problem(response, 415, "UNSUPPORTED_MEDIA_TYPE").await;
    for (body, field) in [
        (r#"{"count":0}"#, "count"),
        (r#"{"count":"1"}"#, "count"),
        (r#"{"count":null}"#, "count"),
        (r#"{"count":1,"more":2}"#, "more"),
        ("[]", "body"),
        ("1", "body"),
    ] {
        let response = harness.post(json, body).await;
        let answer = problem(response, 422, "INVALID").await;
        assert_eq!(answer["errors"][0]["field"], field, "{body}: {answer}");
    }
    let utf8 = "application/json; charset=utf-8";
    let response = harness.post(utf8, "{\"count\":7}").await;
    response.assert_json(json!({"count": 7})).await;
    let response = harness.client.post("/api/echo/1").send().await;
    response.assert_json(json!({"count": 1})).await;
}

#[tokio::test]
async fn large_bodies_are_rejected_with_and_without_a_length() {
    let harness = harness(&with_token());
    let large = "x".repeat(65);
    let announced = harness
        .client
        .post("/api/echo/1")
        .content_type("application/json")
        .header("content-length", 65)
        .body(large.clone())
        .send()
        .await;
    problem(announced, 413, "TOO_LARGE").await;
    let chunks = large
        .into_bytes()
        .into_iter()
        .map(|byte| Ok::<_, std::io::Error>(vec![byte]));
    let chunked = Body::from_bytes_stream(futures_util::stream::iter(chunks));
    let chunked = harness.post("application/json", chunked).await;
    problem(chunked, 413, "TOO_LARGE").await;
}
