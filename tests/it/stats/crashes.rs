//! Aborts the process at every gap between two writes of a run, and restarts it: the day is aggregated
//! completely.

use firstcome::runtime::failpoint::AGGREGATION_POINTS;
use serde_json::json;
use tempfile::TempDir;

use super::http::{ask, date, sold_out};
use crate::service::process::Service;
use crate::support::until;

#[tokio::test(flavor = "multi_thread")]
async fn a_run_killed_at_any_point_is_abandoned_and_the_next_run_completes_its_day() {
    for point in AGGREGATION_POINTS {
        let folder = TempDir::new().unwrap();
        let mut settings = vec![
            ("FIRSTCOME_AGGREGATION_ENABLED", "false".to_owned()),
            ("FIRSTCOME_AGGREGATION_LEASE", "3s".to_owned()),
            ("FAILPOINTS", format!("{point}=return")),
        ];
        let mut service = Service::start(&folder, &settings).await;
        sold_out(&service).await;
        let path = format!("/stats/raw?date={}", date(0));
        until("the refusals are written", async || {
            ask(&service, &path).await.1["summary"]["failCount"] == json!(2)
        })
        .await;
        let begin = format!("/batch/aggregate?date={}", date(0));
        // It may die before it has answered.
        drop(service.admin(&begin).send().await);
        until("it has died", async || service.has_died()).await;

        settings.pop();
        let service = Service::start(&folder, &settings).await;
        until("the turn has run out", async || {
            service.admin(&begin).send().await.unwrap().status() == 202
        })
        .await;
        until("the day is done", async || {
            ask(&service, "/batch/history").await.1["items"][0]["status"] == json!("COMPLETED")
        })
        .await;
        let history = ask(&service, "/batch/history").await.1;
        assert_eq!(history["items"][1]["error"], json!("ABANDONED"), "{point}");
        let raw = ask(&service, &path).await.1;
        let daily = ask(&service, &path.replace("raw", "daily")).await.1;
        assert_eq!(daily["campaigns"], raw["campaigns"], "{point}");
        assert_eq!(raw["summary"]["totalCount"], json!(5));
    }
}
