//! Redis has two primaries, and each replica reaches another one.

use serde_json::json;
use tempfile::TempDir;

use super::{LEASE, Scene, TAKE_UNITS, proxy_of};
use crate::proxy::Mode;
use crate::service::process::{ADMIN_TOKEN, Service, body};
use crate::service::real::parts;
use crate::support::until;

/// Instead of a primary, each replica has a prefix of its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_in_progress_at_another_primary_is_not_rejected() {
    let mut parts = parts().await;
    for (name, value) in [
        ("FIRSTCOME_GATE_LEASE", LEASE),
        ("FIRSTCOME_GATE_SWEEP_INTERVAL", "60s"),
        ("FIRSTCOME_DATABASE_SESSION_TIMEOUT", "30s"),
    ] {
        parts.settings.push((name, value.to_owned()));
    }
    let (mysql, through) = proxy_of(&mut parts, "FIRSTCOME_DATABASE_URL").await;
    let folder = TempDir::new().unwrap();
    let first = Service::start(&folder, &through).await;
    let other_prefix = format!("{}-other", parts.prefix);
    let mut settings = parts.settings.clone();
    settings.push(("FIRSTCOME_REDIS_PREFIX", other_prefix));
    let other = Service::start(&folder, &settings).await;
    let one_unit =
        json!({ "name": "one key", "kind": "general", "totalStock": 1, "cancellable": true });
    let campaign = first.create(one_unit).await;
    let scene = Scene::of(parts, mysql, (first, other), campaign, folder).await;
    // The other gate is built, then the first one, which gets the unit back.
    let taken = body(scene.other.take_part(campaign, 8).await).await;
    let refused = scene.first.take_part(campaign, 9).await;
    assert_eq!(body(refused).await["code"], "SOLD_OUT");
    let id = taken["participationId"].as_str().unwrap();
    let cancel = scene
        .first
        .post(&format!("/api/participations/{id}/cancel"))
        .bearer_auth(ADMIN_TOKEN);
    assert_eq!(cancel.send().await.unwrap().status(), 200);
    let returned = async || scene.state().await.remaining == Some(1);
    until("the first gate has the unit", returned).await;

    let begun = scene.begin(Mode::Hold(TAKE_UNITS), 1).await;
    let answer = scene.ask(&scene.other, 1, 1).await.unwrap();
    let status = answer.status().as_u16();
    assert!([201, 503].contains(&status), "{}", body(answer).await);
    scene.mysql.set(Mode::Pass);
    let ended = begun.await.unwrap().status().as_u16();
    assert!([201, 503].contains(&ended), "{ended}");
    until("both give the same response", async || {
        let answers = [&scene.first, &scene.other].map(|replica| scene.ask(replica, 1, 1));
        let mut ids = Vec::new();
        for answer in answers {
            let answer = answer.await.unwrap();
            if answer.status() != 201 {
                return false;
            }
            ids.push(body(answer).await["participationId"].clone());
        }
        ids[0] == ids[1]
    })
    .await;
}
