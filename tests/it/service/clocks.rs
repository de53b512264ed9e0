//! Replicas whose machines' clocks are nine hours off, beside a correct one: they use the database's clock, and
//! report the wrong machine clock.

use chrono::TimeDelta;
use firstcome::domain::Timestamp;
use firstcome::runtime::clock::Clock;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::process::{Service, body};
use super::real::{Parts, parts};
use crate::support::until;

const NINE_HOURS: i64 = 9 * 60 * 60;
/// Largest difference between two readings of one clock on a busy machine.
const CLOSE: TimeDelta = TimeDelta::seconds(20);

/// A replica whose machine's clock is ahead by this number of seconds.
async fn replica(parts: &Parts, folder: &TempDir, ahead: i64) -> Service {
    let mut settings = parts.settings.clone();
    let millis = ahead * 1_000;
    settings.push(("FAILPOINTS", format!("clock.system=return({millis})")));
    Service::start(folder, &settings).await
}

fn at(minutes: i64) -> Timestamp {
    Clock::System.now() + TimeDelta::minutes(minutes)
}

async fn read(service: &Service, path: &str) -> Value {
    body(service.get(path).send().await.unwrap()).await
}

fn time(value: &Value) -> Timestamp {
    value.as_str().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_with_a_wrong_clock_uses_the_databases_clock() {
    for ahead in [NINE_HOURS, -NINE_HOURS] {
        let (parts, folder) = (parts().await, TempDir::new().unwrap());
        let service = replica(&parts, &folder, ahead).await;
        let open = json!({ "name": "open", "opensAt": at(-60), "closesAt": at(60) });
        let open = service.create(open).await;
        let later = json!({ "name": "later", "opensAt": at(60), "closesAt": at(120) });
        let later = service.create(later).await;

        let accepted = service.take_part(open, 1).await;
        assert_eq!(accepted.status(), 201, "{ahead}");
        let refused = service.take_part(later, 1).await;
        assert_eq!(refused.status(), 409);
        assert_eq!(body(refused).await["code"], "NOT_OPEN_YET", "{ahead}");

        for (campaign, state) in [(open, "open"), (later, "scheduled")] {
            let path = format!("/api/campaigns/{campaign}");
            assert_eq!(read(&service, &path).await["state"], state, "{ahead}");
            let status = read(&service, &format!("{path}/status")).await;
            assert_eq!(status["state"], state);
            assert_eq!(status["available"], state == "open");
        }
        let now = time(&read(&service, "/api/time").await["now"]);
        assert!((now - at(0)).abs() < CLOSE, "{ahead}: {now}");
        let user = service
            .get("/api/users/1/participations")
            .header("Authorization", "1");
        let made = body(user.send().await.unwrap()).await;
        let made = &made["items"][0];
        assert!((time(&made["createdAt"]) - at(0)).abs() < CLOSE, "{made}");
        // Queries for the participations of a day use their ids.
        let id: uuid::Uuid = made["participationId"].as_str().unwrap().parse().unwrap();
        let (seconds, _) = id.get_timestamp().unwrap().to_unix();
        let seconds = i64::try_from(seconds).unwrap();
        assert!((seconds - at(0).timestamp()).abs() < CLOSE.num_seconds());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_clock_is_reported_by_readiness_a_metric_and_one_log_line() {
    let (parts, folder) = (parts().await, TempDir::new().unwrap());
    let wrong = replica(&parts, &folder, -NINE_HOURS).await;
    until("the replica says so", async || {
        read(&wrong, "/readyz?verbose").await["clock"]["status"] == "off"
    })
    .await;
    let told = read(&wrong, "/readyz?verbose").await;
    assert_eq!(told["status"], "ready");
    let ahead = told["clock"]["aheadSeconds"].as_f64().unwrap();
    assert!((ahead + 32_400.0).abs() < 20.0, "{told}");

    let right = Service::start(&folder, parts.settings()).await;
    until("the other knows that it is right", async || {
        read(&right, "/readyz?verbose").await["clock"]["status"] == "in_step"
    })
    .await;
    assert_eq!(read(&right, "/readyz").await.get("clock"), None);

    let metrics = wrong.get("/metrics").send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    let seconds = metrics
        .lines()
        .find_map(|line| line.strip_prefix("firstcome_clock_ahead_seconds "));
    let seconds: f64 = seconds.unwrap().parse().unwrap();
    assert!((seconds + 32_400.0).abs() < 20.0, "{seconds}");
    // By now it has been read several times.
    let lines = |service: &Service| {
        let log = service.log();
        let of_clocks = log.lines().filter(|line| line.contains("clock differs"));
        of_clocks.count()
    };
    assert_eq!((lines(&wrong), lines(&right)), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_day_that_is_aggregated_is_yesterday_by_the_databases_clock() {
    let (parts, folder) = (parts().await, TempDir::new().unwrap());
    // So far off that it has another date at any hour.
    let wrong = replica(&parts, &folder, 30 * 60 * 60).await;
    let yesterday = (Clock::System.now() - TimeDelta::days(1)).date_naive();
    let begun = wrong.admin("/batch/aggregate").send().await.unwrap();
    let begun = body(begun).await;
    assert_eq!(begun["date"], yesterday.to_string(), "{begun}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_five_seconds_of_a_status_are_those_of_all_replicas() {
    let (parts, folder) = (parts().await, TempDir::new().unwrap());
    let one = Service::start(&folder, parts.settings()).await;
    let two = Service::start(&folder, parts.settings()).await;
    let mut user = 0;
    until("both show the answers of both", async || {
        let campaign = one.create(json!({ "name": "shared" })).await;
        for service in [&one, &two] {
            user += 1;
            assert_eq!(service.take_part(campaign, user).await.status(), 201);
        }
        let path = format!("/api/campaigns/{campaign}/status");
        let answered = std::time::Instant::now();
        while answered.elapsed() < std::time::Duration::from_secs(4) {
            let mut processed = Vec::new();
            for service in [&one, &two] {
                let recent = read(service, &path).await["lastFiveSeconds"].clone();
                assert_eq!(recent["scope"], "installation");
                processed.push(recent["processed"].as_u64().unwrap());
            }
            // Each of them has answered one request: neither has that many of its own.
            if processed == [2, 2] {
                return true;
            }
        }
        false
    })
    .await;
}
