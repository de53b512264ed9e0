//! Two replicas under requests open and close a campaign to within 100 ms of its times, by the database's clock.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use firstcome::domain::{CampaignId, Timestamp, to_stored_precision};
use firstcome::parts::store::{RankPage, Store};
use futures_util::future::{join, join_all};
use serde_json::json;
use tempfile::TempDir;

use super::process::Service;
use super::real::parts;

/// How late an opening or closing may be.
const LATE_MAX: TimeDelta = TimeDelta::milliseconds(100);
/// Tried campaigns: a busy machine may delay the requests of some.
const CAMPAIGNS_MAX: usize = 10;
/// Concurrent requests at each replica.
const CLIENTS: i64 = 4;
/// Users of one client.
const USERS: i64 = 1_000_000;

/// Participates as new users, one after the other, until this time.
async fn ask_until(service: &Service, store: &Store, campaign: i64, first: i64, end: Timestamp) {
    for user in first..first + USERS {
        let status = service.take_part(campaign, user).await.status();
        assert!(status == 201 || status == 409 || status == 503, "{status}");
        if user % 8 == 0 && store.time().await.unwrap() > end {
            return;
        }
    }
}

/// The first and the last participation at each replica, by the number of the replica.
async fn spans(store: &Store, campaign: i64) -> BTreeMap<i64, (Timestamp, Timestamp)> {
    let campaign = CampaignId(campaign);
    let mut page = RankPage {
        campaign,
        status: None,
        after: 0,
        last: store.last_rank(campaign).await.unwrap(),
        rows_max: 1_000,
    };
    let mut spans: BTreeMap<i64, (Timestamp, Timestamp)> = BTreeMap::new();
    while page.after < page.last {
        let ranked = store.participations_by_rank(&page).await.unwrap();
        page.after = ranked.upto;
        for row in ranked.rows {
            let at = row.participation.created_at;
            let replica = row.participation.user_id.0 / (USERS * CLIENTS);
            let span = spans.entry(replica).or_insert((at, at));
            *span = (span.0.min(at), span.1.max(at));
        }
    }
    spans
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_open_and_close_within_100_ms() {
    let parts = parts().await;
    let folders = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let services = [
        Service::start(&folders[0], parts.settings()).await,
        Service::start(&folders[1], parts.settings()).await,
    ];
    let store = &parts.test.store;
    let mut late = Vec::new();
    for _ in 0..CAMPAIGNS_MAX {
        let now = to_stored_precision(store.time().await.unwrap());
        let opens_at = now + TimeDelta::milliseconds(3_000);
        let closes_at = opens_at + TimeDelta::milliseconds(800);
        let new = json!({
            "name": "on time", "kind": "general", "opensAt": opens_at, "closesAt": closes_at,
        });
        let campaign = services[0].create(new).await;
        let end = closes_at + TimeDelta::milliseconds(300);
        let asking = (0..2 * CLIENTS).map(|client| {
            let service = &services[usize::try_from(client / CLIENTS).unwrap()];
            let first = client * USERS + i64::from(client == 0);
            ask_until(service, store, campaign, first, end)
        });
        join_all(asking).await;
        let spans = spans(store, campaign).await;
        let mut worst = TimeDelta::zero();
        for replica in 0..2 {
            let Some((first, last)) = spans.get(&replica) else {
                worst = TimeDelta::MAX;
                continue;
            };
            // On any busy machine.
            assert!(*first >= opens_at, "{first} is before {opens_at}");
            assert!(*last < closes_at + LATE_MAX, "{last} is after {closes_at}");
            worst = worst.max(*first - opens_at).max(closes_at - *last);
        }
        if worst <= LATE_MAX {
            return;
        }
        late.push(worst);
    }
    panic!("no campaign opened and closed on time at both replicas: {late:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_tell_opening_and_closing_once() {
    let parts = parts().await;
    let folders = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let (one, two) = join(
        Service::start(&folders[0], parts.settings()),
        Service::start(&folders[1], parts.settings()),
    )
    .await;
    let now = to_stored_precision(parts.test.store.time().await.unwrap());
    let new = json!({
        "name": "once", "kind": "general",
        "opensAt": now + TimeDelta::seconds(3), "closesAt": now + TimeDelta::seconds(6),
    });
    let campaign = one.create(new).await;
    let records = parts.campaign_records(3).await;
    let words: Vec<&str> = records.iter().map(|record| &*record.ce_type).collect();
    let expected = ["created", "opened", "closed"].map(|word| format!("firstcome.campaign.{word}"));
    assert_eq!(words, expected);
    assert!(
        records
            .iter()
            .all(|record| record.key == campaign.to_string())
    );
    drop(two);
}
