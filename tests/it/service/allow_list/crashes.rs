//! Aborts the process at every gap between two writes of an import: the previous list stays in effect, and the
//! next import succeeds.

use firstcome::runtime::failpoint::ALLOW_LIST_POINTS;
use tempfile::TempDir;

use super::{WAYS, ask, campaign, path, put};
use crate::service::process::{ADMIN_TOKEN, Service};
use crate::support::until;

#[tokio::test(flavor = "multi_thread")]
async fn an_import_killed_at_any_point_changes_nothing() {
    for point in ALLOW_LIST_POINTS {
        let folder = TempDir::new().unwrap();
        let service = Service::start(&folder, &[]).await;
        let campaign = campaign(&service).await;
        assert_eq!(put(&service, campaign, "1\n2\n").await.status(), 200);
        drop(service);

        let armed = [("FAILPOINTS", format!("{point}=return"))];
        let mut service = Service::start(&folder, &armed).await;
        let url = format!("{}{}", service.base, path(campaign));
        let request = service.client.put(url).bearer_auth(ADMIN_TOKEN);
        let request = request.header("content-type", "text/csv").body("3\n");
        assert!(request.send().await.is_err(), "{point}");
        until("it has died", async || service.has_died()).await;

        let service = Service::start(&folder, &[]).await;
        assert_eq!(ask(&service, campaign, 3, WAYS[0]).await.0, 403, "{point}");
        assert_eq!(ask(&service, campaign, 1, WAYS[0]).await.0, 201, "{point}");
        assert_eq!(
            put(&service, campaign, "3\n").await.status(),
            200,
            "{point}"
        );
        assert_eq!(ask(&service, campaign, 3, WAYS[0]).await.0, 201, "{point}");
        assert_eq!(ask(&service, campaign, 2, WAYS[0]).await.0, 403, "{point}");
    }
}
