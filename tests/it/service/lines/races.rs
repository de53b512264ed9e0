//! Orders that race for the same campaigns in opposite directions, on real parts and two replicas.

use futures_util::StreamExt;
use serde_json::json;
use tempfile::TempDir;

use super::{change, place, sale, statuses, stock};
use crate::service::process::{Service, body};
use crate::service::real::parts;

const STOCK: u64 = 30;

#[tokio::test(flavor = "multi_thread")]
async fn orders_in_opposite_directions_sell_each_unit_once() {
    let parts = parts().await;
    let folders = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let replicas = [
        Service::start(&folders[0], parts.settings()).await,
        Service::start(&folders[1], parts.settings()).await,
    ];
    let mut campaigns = Vec::new();
    for _ in 0..3 {
        campaigns.push(replicas[0].create(sale(STOCK, Some(10))).await);
    }
    let answers: Vec<_> = futures_util::stream::iter(1..=90_i64)
        .map(|user| {
            let (campaigns, replicas) = (&campaigns, &replicas);
            async move {
                let mut wanted: Vec<(i64, u32)> = campaigns.iter().map(|one| (*one, 1)).collect();
                let turn = usize::try_from(user).unwrap();
                wanted.rotate_left(turn % 3);
                if turn % 2 == 0 {
                    wanted.reverse();
                }
                let answer = place(&replicas[turn % 2], user, &wanted).await;
                (user, answer.status().as_u16(), body(answer).await)
            }
        })
        .buffer_unordered(30)
        .collect()
        .await;
    let placed: Vec<_> = answers
        .iter()
        .filter(|(_, status, _)| *status == 201)
        .collect();
    for (_, status, answer) in &answers {
        assert!(*status == 201 || answer["code"] == "SOLD_OUT", "{answer}");
    }
    // Every order reserves the first campaign first: whoever gets it gets the others.
    assert_eq!(placed.len() as u64, STOCK);
    for campaign in &campaigns {
        assert_eq!(stock(&replicas[0], *campaign).await, 0);
    }
    // Paid by one half, cancelled by the other, each at both replicas at the same time.
    let ended = futures_util::future::join_all(placed.iter().map(|(user, _, order)| {
        let replicas = &replicas;
        async move {
            let (one, two) = tokio::join!(
                change(&replicas[0], order, "confirm", *user, json!({})),
                change(&replicas[1], order, "cancel", *user, json!({})),
            );
            (*user, order, one.status().as_u16(), two.status().as_u16())
        }
    }))
    .await;
    for (user, order, confirmed, cancelled) in ended {
        let expected = match (confirmed, cancelled) {
            (200, 409) => "confirmed",
            (409, 200) => "cancelled",
            other => panic!("{other:?}"),
        };
        assert_eq!(statuses(&replicas[0], order, user).await, [expected; 3]);
    }
    parts.until_sound(&folders[0]).await;
}
