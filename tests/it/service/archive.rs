//! Archived campaigns: not listed, accessible by id, and never changed.

use serde_json::{Value, json};
use tempfile::TempDir;

use super::process::{ADMIN_TOKEN, Service, body};
use super::real::parts;
use crate::csv::below;

async fn read(service: &Service, path: &str) -> (u16, Value) {
    let answer = service.get(path).bearer_auth(ADMIN_TOKEN).send().await;
    let answer = answer.unwrap();
    (answer.status().as_u16(), body(answer).await)
}

async fn ask(service: &Service, campaign: i64, action: &str) -> (u16, Value) {
    let answer = service.admin(&format!("/campaigns/{campaign}/{action}"));
    let answer = answer.send().await.unwrap();
    (answer.status().as_u16(), body(answer).await)
}

async fn listed(service: &Service, path: &str) -> Vec<Value> {
    let (_, list) = read(service, path).await;
    let items = list["items"].as_array().unwrap().iter();
    items.map(|campaign| campaign["id"].clone()).collect()
}

/// An archived campaign with a confirmed participation and one that waits for its payment.
async fn archived(service: &Service) -> (i64, Vec<String>) {
    let campaign = service
        .create(json!({ "name": "old", "price": 5, "totalStock": 9 }))
        .await;
    let mut made = Vec::new();
    for user in 1..=2 {
        let order = body(service.take_part(campaign, user).await).await;
        made.push(order["participationId"].as_str().unwrap().to_owned());
    }
    let pay = service.post(&format!("/api/participations/{}/confirm", made[0]));
    let pay = pay.header("authorization", "1").json(&json!({}));
    assert_eq!(pay.send().await.unwrap().status(), 200);
    let (status, problem) = ask(service, campaign, "archive").await;
    assert_eq!(
        (status, &problem["code"]),
        (409, &json!("WRONG_STATE")),
        "open"
    );
    assert_eq!(ask(service, campaign, "close").await.0, 200);
    let (status, view) = ask(service, campaign, "archive").await;
    assert_eq!((status, &view["state"]), (200, &json!("archived")));
    (campaign, made)
}

async fn is_found_and_not_listed(service: &Service) {
    let (campaign, made) = archived(service).await;
    assert!(
        !listed(service, "/api/campaigns")
            .await
            .contains(&json!(campaign))
    );
    assert!(
        listed(service, "/api/campaigns?state=archived")
            .await
            .is_empty()
    );
    for path in [
        "/api/admin/campaigns",
        "/api/admin/campaigns?state=archived",
    ] {
        assert!(listed(service, path).await.contains(&json!(campaign)));
    }
    for path in [
        format!("/api/campaigns/{campaign}"),
        format!("/api/admin/campaigns/{campaign}"),
    ] {
        let (status, view) = read(service, &path).await;
        assert_eq!((status, &view["state"]), (200, &json!("archived")));
    }
    let status = format!("/api/campaigns/{campaign}/status");
    assert_eq!(read(service, &status).await.1["successCount"], 2);
    let one = format!("/api/participations/{}", made[0]);
    assert_eq!(read(service, &one).await.0, 200);
    let file = format!("/api/admin/campaigns/{campaign}/participations.csv");
    let file = service.get(&file).bearer_auth(ADMIN_TOKEN).send().await;
    let file = file.unwrap().text().await.unwrap();
    let lines = below(&[(0, "participationId")], file.as_bytes());
    let ids: Vec<&String> = lines.iter().map(|line| &line[0]).collect();
    assert_eq!(ids, made.iter().collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archived_campaign_is_found_and_not_listed() {
    let folder = TempDir::new().unwrap();
    is_found_and_not_listed(&Service::start(&folder, &[]).await).await;
    let parts = parts().await;
    is_found_and_not_listed(&Service::start(&folder, parts.settings()).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_admins_find_a_draft() {
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, &[]).await;
    let draft = service
        .create(json!({ "name": "draft", "state": "draft" }))
        .await;
    let public = format!("/api/campaigns/{draft}");
    assert_eq!(read(&service, &public).await.0, 404);
    let admin = format!("/api/admin/campaigns/{draft}");
    assert_eq!(read(&service, &admin).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_an_archived_campaign_can_be_changed() {
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, &[]).await;
    let (campaign, made) = archived(&service).await;
    let path = format!("/api/admin/campaigns/{campaign}");
    let before = read(&service, &path).await.1;
    let log = format!("/api/admin/audit?campaignId={campaign}");
    let told = listed(&service, &log).await.len();
    for change in [
        json!({}),
        json!({ "name": "new" }),
        json!({ "totalStock": 100 }),
        json!({ "closesAt": "2099-01-01T00:00:00Z" }),
    ] {
        let url = format!("{}{path}", service.base);
        let request = service.client.patch(url).bearer_auth(ADMIN_TOKEN);
        let answer = request.json(&change).send().await.unwrap();
        assert_eq!(answer.status(), 409, "{change}");
        let problem = body(answer).await;
        assert_eq!(
            (&problem["code"], &problem["state"]),
            (&json!("WRONG_STATE"), &json!("archived"))
        );
    }
    for action in ["open", "pause", "close", "rebuild-gate"] {
        let (status, problem) = ask(&service, campaign, action).await;
        assert_eq!(
            (status, &problem["code"]),
            (409, &json!("WRONG_STATE")),
            "{action}"
        );
    }
    assert_eq!(
        ask(&service, campaign, "archive").await.0,
        200,
        "it is so already"
    );
    let late = body(service.take_part(campaign, 3).await).await;
    assert_eq!(late["code"], "ENDED");
    assert_eq!(read(&service, &path).await.1, before);
    assert_eq!(listed(&service, &log).await.len(), told);

    // Earlier participations continue as usual.
    let pay = service.post(&format!("/api/participations/{}/confirm", made[1]));
    let pay = pay.header("authorization", "2").json(&json!({}));
    assert_eq!(pay.send().await.unwrap().status(), 200);
}
