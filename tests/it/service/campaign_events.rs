//! A process is killed between the change of a campaign and the publication of its event: both survive.

use firstcome::runtime::failpoint::CAMPAIGN_POINTS;
use serde_json::json;
use tempfile::TempDir;

use super::process::{ADMIN_TOKEN, Service, body};
use super::real::parts;
use crate::support::until;

async fn campaigns(service: &Service) -> usize {
    let list = service.get("/api/admin/campaigns").bearer_auth(ADMIN_TOKEN);
    let list = body(list.send().await.unwrap()).await;
    list["items"].as_array().unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_killed_at_any_point_has_its_event_or_did_not_happen() {
    for point in CAMPAIGN_POINTS {
        let parts = parts().await;
        let folder = TempDir::new().unwrap();
        let mut settings = parts.settings.clone();
        settings.push(("FAILPOINTS", format!("{point}=return")));
        let mut service = Service::start(&folder, &settings).await;
        let new = json!({ "name": "killed", "kind": "general", "totalStock": 1 });
        let request = service.admin("/campaigns").json(&new);
        assert!(request.send().await.is_err(), "{point}");
        until("it has died", async || service.has_died()).await;

        let service = Service::start(&folder, parts.settings()).await;
        let survived = usize::from(point == "campaign.committed");
        assert_eq!(campaigns(&service).await, survived, "{point}");
        service.create(new).await;
        let wanted = 2 * (survived + 1);
        let records = parts.campaign_records(wanted).await;
        assert_eq!(records.len(), wanted, "{point}: {records:?}");
        let created = records
            .iter()
            .filter(|record| record.ce_type.ends_with(".created"));
        assert_eq!(created.count(), survived + 1, "{point}");
        parts.is_sound(&folder);
    }
}
