//! Fuzz targets for what arrives over a connection: bytes, URLs, headers and bodies.

use std::net::IpAddr;
use std::sync::LazyLock;

use poem::Request;
use poem::http::{HeaderMap, HeaderValue, Method, Uri, header};
use serde_json::Value;

use super::admin::campaign_requests::{Change, Draft};
use super::cookies;
use super::document::Document;
use super::faults::FAULTS_MAX;
use super::fields::{RequestObject, read_document};
use super::participations::ParticipationRequest;
use super::problem::Problem;
use super::request_context::traceparent as traceparent_of;
use super::routes::{Fault, Routes};
use crate::access::limits::{Networks, UNKNOWN_ADDRESS};
use crate::runtime::telemetry::Telemetry;

pub use bounded_http::fuzz::{connection, host};

/// A body has one meaning for every reader, or is rejected, and never with the text of a library.
pub fn json(bytes: &[u8]) {
    let usual: Result<Value, _> = serde_json::from_slice(bytes);
    let Ok(document) = Document::parse(bytes) else {
        assert!(usual.is_err(), "serde_json accepts it");
        return;
    };
    assert_eq!(usual.ok().as_ref(), Some(&document.value));
    let is_repeated = !document.repeated.paths.is_empty();
    for is_refused in [
        is_refused::<ParticipationRequest>(bytes),
        is_refused::<Draft>(bytes),
        is_refused::<Change>(bytes),
    ] {
        assert!(is_refused || !is_repeated, "a repeated key is accepted");
    }
}

fn is_refused<T: RequestObject>(bytes: &[u8]) -> bool {
    let document = Document::parse(bytes).ok();
    let read = document.map(read_document::<T>);
    match read {
        Some(Err(problem)) => {
            explains(&problem);
            true
        }
        Some(Ok(_)) => false,
        None => true,
    }
}

fn explains(problem: &Problem) {
    let count = problem.errors.len();
    assert!((1..=FAULTS_MAX).contains(&count), "{problem:?}");
    for fault in &problem.errors {
        assert!(fault.field.chars().count() <= 65, "{fault:?}");
        for word in ["optional_", "naive", "serde", "failed to", "expected"] {
            assert!(!fault.problem.contains(word), "{fault:?}");
        }
    }
}

static ROUTES: LazyLock<Routes> =
    LazyLock::new(|| Routes::new(&super::openapi_document(), &[], &Telemetry::new().http));

/// A URL is acceptable, has faults that are named, or has no route.
pub fn address(bytes: &[u8]) {
    let Ok(uri) = Uri::try_from(bytes) else {
        return;
    };
    for method in [Method::GET, Method::POST, Method::PATCH, Method::DELETE] {
        let found = ROUTES.find(uri.path());
        let checked = found
            .route
            .map_or(Ok(()), |route| route.check(&method, &uri));
        match checked {
            Err(Fault::ForAll(problem) | Fault::ForAuthenticated(problem)) => {
                if problem.code != "NOT_FOUND" {
                    explains(&problem);
                }
            }
            Ok(()) => {
                let id = uri.path().strip_prefix("/api/campaigns/");
                let id = id.and_then(|rest| rest.strip_suffix("/stock"));
                if method == Method::GET
                    && let Some(id) = id.filter(|id| !id.is_empty() && !id.contains('/'))
                {
                    let number: Option<i64> = id.parse().ok();
                    assert_eq!(number.map(|number| number.to_string()).as_deref(), Some(id));
                    let query = uri.query().unwrap_or_default();
                    let parameters = url::form_urlencoded::parse(query.as_bytes());
                    assert_eq!(parameters.count(), 0, "{uri}");
                }
            }
        }
    }
}

/// The client behind a proxy is the one named last, or unknown. It is never the proxy, which has no limits.
pub fn forwarded(bytes: &[u8]) {
    let proxies: Networks = "10.0.0.0/8".parse().unwrap_or_default();
    let proxy = IpAddr::from([10, 0, 0, 1]);
    let lines = || bytes.split(|byte| *byte == b'\n');
    let origin = proxies.origin(proxy, lines());
    let text = String::from_utf8_lossy(bytes);
    assert!(origin != proxy || text.contains("10.0.0.1"), "{origin}");
    assert!(!proxies.include(UNKNOWN_ADDRESS));
    // The address that the proxy appends counts.
    let named = IpAddr::from([192, 0, 2, 7]);
    for hop in [
        "192.0.2.7",
        " 192.0.2.7:80 ",
        "10.0.0.2",
        "[2001:db8::1]:80",
    ] {
        let by_proxy = lines().chain([hop.as_bytes()]);
        let origin_by_proxy = proxies.origin(proxy, by_proxy);
        match hop {
            "10.0.0.2" => assert_eq!(origin_by_proxy, origin, "one proxy behind another"),
            "[2001:db8::1]:80" => assert!(origin_by_proxy.is_ipv6()),
            _ => assert_eq!(origin_by_proxy, named, "{hop}"),
        }
    }
}

/// A cookie is one of those in the headers, or none.
pub fn cookie(bytes: &[u8]) {
    let values = bytes.split(|byte| *byte == b'\n');
    let values = values.filter_map(|value| HeaderValue::from_bytes(value).ok());
    let headers: HeaderMap = values.map(|value| (header::COOKIE, value)).collect();
    if let Ok(Some(value)) = cookies::cookie(&headers, "firstcome-session") {
        let pair = format!("firstcome-session={value}");
        let mut lines = headers.values().map(HeaderValue::as_bytes);
        let is_in = |line: &[u8]| line.windows(pair.len()).any(|part| part == pair.as_bytes());
        assert!(lines.any(is_in), "{pair}");
        if let Some(token) = crate::access::accounts::SessionToken::parse(value) {
            let _csrf = token.csrf();
        }
    }
}

/// The trace context of an event has the form of a `traceparent`.
pub fn traceparent(bytes: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(bytes) else {
        return;
    };
    let request = Request::builder().header("traceparent", value).finish();
    if let Some(text) = traceparent_of(&request) {
        assert_eq!(text.len(), 55, "{text:?}");
        let hex = |byte: u8| byte.is_ascii_hexdigit() || byte == b'-';
        assert!(text.bytes().all(hex), "{text:?}");
    }
}
