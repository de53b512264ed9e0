//! The CSV file over HTTP, on a running service: as fast as the client reads, complete or visibly cut off.

use std::collections::BTreeSet;

use reqwest::Response;
use sea_orm::{ConnectionTrait, Database, DatabaseConnection};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::process::{ADMIN_TOKEN, Service, body};
use super::real::parts;
use crate::csv::below;
use crate::support::until;

async fn export(service: &Service, campaign: i64, query: &str) -> Response {
    let path = format!("/api/admin/campaigns/{campaign}/participations.csv{query}");
    let answer = service.get(&path).bearer_auth(ADMIN_TOKEN).send().await;
    answer.unwrap()
}

fn column(text: &str, nth: usize) -> Vec<String> {
    let lines = below(&[(0, "participationId")], text.as_bytes());
    lines
        .into_iter()
        .map(|mut line| line.swap_remove(nth))
        .collect()
}

async fn database(folder: &TempDir) -> DatabaseConnection {
    let file = folder.path().join("data/firstcome.db");
    let db = Database::connect(format!("sqlite://{}", file.display()));
    db.await.unwrap()
}

/// Creates this number of participations at once, in the embedded database.
async fn fill(folder: &TempDir, campaign: i64, count: u32) {
    let rows = format!(
        "INSERT INTO participation (id, campaign_id, user_id, quantity, `rank`, ordinal, status, remaining, \
         version, created_at, updated_at) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n \
         WHERE i < {count}) SELECT randomblob(16), {campaign}, i, 1, i, 1, 'confirmed', NULL, 1, \
         '2026-01-01 00:00:00', '2026-01-01 00:00:00' FROM n"
    );
    let db = database(folder).await;
    db.execute_unprepared(&rows).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn on_the_real_parts_an_export_under_traffic_has_every_accepted_participation() {
    let parts = parts().await;
    let folder = TempDir::new().unwrap();
    let mut settings = parts.settings.clone();
    settings.push(("FIRSTCOME_EXPORT_PIECE_ROWS", "7".to_owned()));
    // All concurrent requests have capacity, even on a slow machine.
    settings.push(("FIRSTCOME_WRITER_WAIT_MAX", "60s".to_owned()));
    let service = Service::start(&folder, &settings).await;
    let campaign = service
        .create(json!({ "name": "file", "kind": "general" }))
        .await;
    let take_part = async |users: std::ops::RangeInclusive<i64>| {
        let answers = users.map(|user| service.take_part(campaign, user));
        let mut ids = BTreeSet::new();
        for answer in futures_util::future::join_all(answers).await {
            assert_eq!(answer.status(), 201);
            let id = body(answer).await["participationId"].clone();
            ids.insert(id.as_str().unwrap().to_owned());
        }
        ids
    };
    let before = take_part(1..=150).await;
    let (file, meanwhile) = tokio::join!(
        async {
            let answer = export(&service, campaign, "").await;
            assert_eq!(answer.status(), 200);
            answer.text().await.unwrap()
        },
        take_part(151..=300)
    );
    let listed = column(&file, 0);
    let once: BTreeSet<String> = listed.iter().cloned().collect();
    assert_eq!(once.len(), listed.len(), "each once");
    assert!(before.is_subset(&once));
    let all: BTreeSet<String> = before.union(&meanwhile).cloned().collect();
    assert!(once.is_subset(&all));
    let ranks: Vec<u64> = column(&file, 3)
        .iter()
        .map(|rank| rank.parse().unwrap())
        .collect();
    assert!(ranks.is_sorted());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_headers_of_the_file_name_its_type_and_campaign() {
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, &[]).await;
    let campaign = service
        .create(json!({ "name": "file", "kind": "general" }))
        .await;
    let empty = export(&service, campaign, "").await;
    let header = |name: &str| empty.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(
        header("content-type"),
        "text/csv; charset=utf-8; header=present"
    );
    let name = format!("attachment; filename=\"campaign-{campaign}-participations.csv\"");
    assert_eq!(header("content-disposition"), name);
    let text = empty.text().await.unwrap();
    assert_eq!(
        text,
        "participationId,campaignId,userId,rank,quantity,status,remaining,amount,paymentReference,\
         createdAt,expiresAt,rewardedAt\r\n"
    );
    assert_eq!(service.take_part(campaign, 3).await.status(), 201);
    let confirmed = export(&service, campaign, "?status=confirmed").await;
    assert_eq!(column(&confirmed.text().await.unwrap(), 2), ["3"]);
    let cancelled = export(&service, campaign, "?status=cancelled").await;
    assert_eq!(
        column(&cancelled.text().await.unwrap(), 2),
        [] as [String; 0]
    );
    assert_eq!(
        export(&service, campaign, "?status=sold").await.status(),
        422
    );
    let nobody = export(&service, campaign + 1, "").await;
    assert_eq!(nobody.status(), 404);
    assert_eq!(body(nobody).await["code"], "NOT_FOUND");
    let path = format!("/api/admin/campaigns/{campaign}/participations.csv");
    let stranger = service.get(&path).send().await.unwrap();
    assert_eq!(stranger.status(), 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_file_is_not_taken_for_complete() {
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, &[]).await;
    let campaign = service
        .create(json!({ "name": "broken", "kind": "general" }))
        .await;
    fill(&folder, campaign, 5_000).await;
    let whole = export(&service, campaign, "").await.text().await.unwrap();
    assert_eq!(column(&whole, 0).len(), 5_000);
    let spoilt = "UPDATE participation SET status = 'nonsense' WHERE `rank` = 4000";
    let db = database(&folder).await;
    db.execute_unprepared(spoilt).await.unwrap();
    let broken = export(&service, campaign, "").await;
    assert_eq!(broken.status(), 200, "by then it had begun");
    broken
        .bytes()
        .await
        .expect_err("the transfer must not end as if it were whole");
}

/// Requests the file on a connection with the smallest buffers, and reads the head of the response.
async fn ask_slowly(service: &Service, campaign: i64) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let address = service.base.strip_prefix("http://").unwrap();
    let mut stream = socket.connect(address.parse().unwrap()).await.unwrap();
    let ask = format!(
        "GET /api/admin/campaigns/{campaign}/participations.csv HTTP/1.1\r\nhost: localhost\r\n\
         authorization: Bearer {ADMIN_TOKEN}\r\n\r\n"
    );
    stream.write_all(ask.as_bytes()).await.unwrap();
    let mut head = [0; 12];
    stream.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    stream
}

async fn rows_read(service: &Service) -> u64 {
    let metrics = service.metrics().await;
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix("firstcome_export_rows_total "));
    line.unwrap().parse().unwrap()
}

const MANY: u32 = 200_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_slows_the_export_and_gets_all_of_it() {
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, &[]).await;
    let campaign = service
        .create(json!({ "name": "many", "kind": "general" }))
        .await;
    fill(&folder, campaign, MANY).await;
    let mut slow = ask_slowly(&service, campaign).await;
    // The export has stopped when nothing was read for two seconds. By then the system's buffers and a few pieces are full.
    let (mut before, mut same) = (0, 0);
    until("it reads no further", async || {
        let now = rows_read(&service).await;
        same = if now == before { same + 1 } else { 0 };
        before = now;
        now > 0 && same > 1
    })
    .await;
    assert!(
        before < u64::from(MANY) / 2,
        "{before} of {MANY} read ahead"
    );
    let mut rest = Vec::new();
    let mut ends = Vec::new();
    while !ends.ends_with(b"0\r\n\r\n") {
        rest.resize(64 * 1024, 0);
        let read = slow.read(&mut rest).await.unwrap();
        assert!(read > 0, "broke off");
        ends.extend_from_slice(&rest[..read]);
        let keep = ends.len().saturating_sub(16);
        ends.drain(..keep);
    }
    assert_eq!(rows_read(&service).await, u64::from(MANY));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_service_leaves_a_slow_reader_an_incomplete_file() {
    let folder = TempDir::new().unwrap();
    let mut service = Service::start(&folder, &[]).await;
    let campaign = service
        .create(json!({ "name": "many", "kind": "general" }))
        .await;
    fill(&folder, campaign, MANY).await;
    let mut slow = ask_slowly(&service, campaign).await;
    let address = service.base.strip_prefix("http://").unwrap().to_owned();
    let reading = async {
        until("it has been told to stop", async || {
            TcpStream::connect(&address).await.is_err()
        })
        .await;
        let (mut all, mut piece) = (Vec::new(), vec![0; 64 * 1024]);
        // A reset also ends it; only the last chunk must not arrive.
        while let Ok(read @ 1..) = slow.read(&mut piece).await {
            all.extend_from_slice(&piece[..read]);
        }
        all
    };
    let (stopped, all) = tokio::join!(service.stop(), reading);
    assert!(stopped.success());
    assert!(!all.is_empty() && !all.ends_with(b"0\r\n\r\n"));
}
