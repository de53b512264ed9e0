//! The files of the dashboard, and the requests that it makes. `dashboard/test` tests it in a browser.

use std::time::Duration;

use futures_util::future::join_all;
use reqwest::Response;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::process::{ADMIN_TOKEN, Service, body};
use crate::support::{stores, until};

fn header<'a>(answer: &'a Response, name: &str) -> &'a str {
    let value = answer.headers().get(name);
    value.map_or("", |value| value.to_str().unwrap())
}

/// The addresses of the files that the page names.
fn files_of(page: &str) -> Vec<String> {
    let parts = page.split('"');
    let files = parts.filter(|part| part.starts_with("/dashboard/assets/"));
    files.map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_and_its_files_are_sent_once_and_safely() {
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, &[]).await;
    let answer = service.get("/dashboard").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let policy = header(&answer, "content-security-policy");
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"));
    assert_eq!(header(&answer, "x-content-type-options"), "nosniff");
    assert_eq!(header(&answer, "cache-control"), "no-cache");
    let tag = header(&answer, "etag").to_owned();
    let page = answer.text().await.unwrap();
    assert!(page.contains("&quot;embedded&quot;:[&quot;store&quot;"));
    assert!(page.contains("&quot;payments&quot;:&quot;simulated&quot;"));
    assert!(
        !page.contains(ADMIN_TOKEN),
        "it takes no token to read this"
    );
    let again = service.get("/dashboard").header("if-none-match", &tag);
    assert_eq!(again.send().await.unwrap().status(), 304);

    let files = files_of(&page);
    assert_eq!(files.len(), 3, "{page}");
    for file in files {
        let plain = service.get(&file).send().await.unwrap();
        assert_eq!(
            (plain.status().as_u16(), header(&plain, "content-encoding")),
            (200, "")
        );
        assert!(
            header(&plain, "cache-control").contains("immutable"),
            "{file}"
        );
        assert_eq!(header(&plain, "x-content-type-options"), "nosniff");
        assert_eq!(header(&plain, "vary"), "Accept-Encoding");
        let tag = header(&plain, "etag").to_owned();
        let plain = plain.bytes().await.unwrap();
        let packed = service.get(&file).header("accept-encoding", "gzip").send();
        let packed = packed.await.unwrap();
        assert_eq!(header(&packed, "content-encoding"), "gzip");
        assert_ne!(
            header(&packed, "etag"),
            tag,
            "another form of it has another tag"
        );
        assert!(packed.bytes().await.unwrap().len() < plain.len());
        let known = service.get(&file).header("if-none-match", tag).send();
        assert_eq!(known.await.unwrap().status(), 304);
    }
    let unknown = service
        .get("/dashboard/assets/app-0.js")
        .send()
        .await
        .unwrap();
    assert_eq!(unknown.status(), 404);
    assert_eq!(body(unknown).await["code"], "NOT_FOUND");
}

async fn system(service: &Service) -> Value {
    let answer = service.get("/api/admin/system").bearer_auth(ADMIN_TOKEN);
    body(answer.send().await.unwrap()).await
}

/// The number of reads of something, from the metrics.
async fn reads(service: &Service, of: &str) -> u64 {
    let text = service.metrics().await;
    let name = format!("firstcome_{of}_reads_total ");
    let line = text.lines().find_map(|line| line.strip_prefix(&name));
    line.unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_installation_is_described_to_admins() {
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, &[]).await;
    until("the relay has its buckets", async || {
        system(&service).await["replicas"][0]["buckets"] == json!((0..64).collect::<Vec<u16>>())
    })
    .await;
    let seen = system(&service).await;
    assert_eq!(seen["replicas"].as_array().map(Vec::len), Some(1));
    assert_eq!(seen["replicas"][0]["here"], json!(true));
    let names = |list: &Value| -> Vec<String> {
        let items = list.as_array().unwrap().iter();
        items
            .map(|one| one["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let breakers = names(&seen["breakers"]);
    assert_eq!(
        breakers,
        ["gate", "broker", "participation", "campaign", "order"]
    );
    assert_eq!(
        names(&seen["parts"]),
        ["store", "gate", "broker", "rewards"]
    );
    assert_eq!(seen["outbox"]["dead"], json!(0));
    let stranger = service.get("/api/admin/system").send().await.unwrap();
    assert_eq!(stranger.status(), 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_live_views_cause_one_read_per_second() {
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, &[]).await;
    let before = reads(&service, "system").await;
    let began = std::time::Instant::now();
    for _ in 0..4 {
        let seen = join_all((0..50).map(|_| system(&service))).await;
        assert!(seen.iter().all(|one| one["at"].is_string()));
    }
    // A read is reused for a second.
    let most = began.elapsed().as_secs() + 2;
    let made = reads(&service, "system").await - before;
    assert!(
        (1..=most).contains(&made),
        "{made} readings, at most {most}"
    );
}

/// Reads this number of statuses from a stream.
async fn listen(mut stream: Response, statuses: usize) -> usize {
    let mut heard = 0;
    while heard < statuses {
        let piece = stream.chunk().await.unwrap().unwrap();
        heard += String::from_utf8_lossy(&piece)
            .matches("event: status")
            .count();
    }
    heard
}

#[tokio::test(flavor = "multi_thread")]
async fn all_streams_of_a_campaign_share_one_read_per_second() {
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, &[]).await;
    let campaign = service.create(json!({ "name": "watched" })).await;
    let path = format!("/api/campaigns/{campaign}/stream");
    let before = reads(&service, "status").await;
    let began = std::time::Instant::now();
    let streams = join_all((0..40).map(|_| service.get(&path).send())).await;
    let streams = streams.into_iter().map(|stream| listen(stream.unwrap(), 4));
    let heard = join_all(streams).await;
    assert!(heard.iter().all(|heard| *heard >= 4));
    // One for each started second.
    let most = began.elapsed().as_secs() + 2;
    let made = reads(&service, "status").await - before;
    assert!(
        (3..=most).contains(&made),
        "{made} readings, at most {most}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn relays_are_named_with_their_buckets() {
    for test in stores().await {
        let store = &test.store;
        let day = Duration::from_secs(86_400);
        let (first, _) = store.hold_buckets("a", day).await.unwrap();
        assert_eq!(first.len(), 64);
        let (_, _) = store.hold_buckets("b", day).await.unwrap();
        let upper: Vec<u16> = (32..64).collect();
        assert_eq!(store.release_buckets("a", &upper).await.unwrap(), 32);
        store.hold_buckets("b", day).await.unwrap();
        let gone = Duration::ZERO;
        store.hold_buckets("c", gone).await.unwrap();
        let seats = store.relay_leases().await.unwrap();
        let named: Vec<(&str, &[u16])> = seats
            .iter()
            .map(|seat| (seat.owner.as_str(), seat.buckets.as_slice()))
            .collect();
        let lower: Vec<u16> = (0..32).collect();
        assert_eq!(
            named,
            [("a", lower.as_slice()), ("b", upper.as_slice())],
            "{}",
            test.url
        );
        assert!(seats.iter().all(|seat| seat.lease_left > day / 2));
    }
}
