//! The order of arrival and of processing, on both databases.

use firstcome::domain::{CampaignId, KeyChoice, Participation, RequestedChange, Status};
use firstcome::operate::statistics::{AggregateError, Cursor, ViolationKind};
use firstcome::parts::store::{ChangeRequest, NewParticipation};

use super::scene::{Replica, at, commit, committed, settings};
use crate::groups::Groups;
use crate::support::{campaign_of, create, stores};

/// The ranks from 1 on are processed in the order of these ticks.
const TICKS: [u64; 8] = [10, 20, 90, 40, 30, 95, 94, 100];
/// Participations that were processed before an earlier arrival, with that arrival.
const EARLY: [(u64, u64); 3] = [(4, 3), (5, 3), (7, 6)];

#[tokio::test]
async fn violations_are_counted_and_listed_with_any_page_size() {
    for test in stores().await {
        let campaign = create(&test.store, campaign_of(None)).await;
        // A batch is appended to the stream in its order.
        let mut processed: Vec<(u64, u64)> = TICKS.into_iter().zip(1..).collect();
        processed.sort_unstable();
        let batch: Vec<NewParticipation> = processed
            .into_iter()
            .map(|(_, rank)| committed(&campaign, rank, 1, at("2026-11-18T10:00:00Z")))
            .collect();
        commit(&test.store, &campaign, &batch).await;
        let replica = Replica::of(&test.store, settings("UTC"));
        let aggregator = &replica.aggregator;
        let analysis = aggregator.order_analysis(campaign.id, Cursor::default(), 4);
        let analysis = analysis.await.unwrap();
        assert_eq!(
            (analysis.ranks, analysis.changes, analysis.participations),
            (Some((1, 8)), 8, 8)
        );
        assert_eq!(
            (analysis.arrival_violations, analysis.change_violations),
            (3, 0)
        );
        assert_eq!((analysis.purged, analysis.next), (0, None));
        let shown: Vec<_> = analysis
            .arrivals
            .iter()
            .map(|(change, place)| (change.rank, *place))
            .collect();
        assert_eq!(shown, [(1, 1), (2, 2), (3, 5), (4, 4)]);

        for limit in [1, 2, 3, 100] {
            let (mut cursor, mut found) = (Some(Cursor::default()), Vec::new());
            while let Some(from) = cursor {
                let page = aggregator.order_violations(campaign.id, from, limit);
                let page = page.await.unwrap();
                assert!(page.items.len() <= limit);
                found.extend(page.items.iter().map(|item| {
                    assert_eq!(item.kind, ViolationKind::Arrival);
                    (item.change.rank, item.after.rank)
                }));
                // As a client returns it.
                cursor = page.next.map(|next| next.to_string().parse().unwrap());
            }
            assert_eq!(found, EARLY, "pages of {limit}");
        }
    }
}

#[tokio::test]
async fn later_changes_of_a_participation_are_checked_for_order_alone() {
    for test in stores().await {
        let mut new = campaign_of(None);
        new.cancellable = true;
        let campaign = create(&test.store, new).await;
        // An event with a clock that is ahead; later events still follow it.
        let one = committed(&campaign, 1, 1, at("2055-11-18T10:00:00Z"));
        let Participation { id, .. } = one.participation;
        commit(&test.store, &campaign, &[one]).await;
        let requested = ChangeRequest {
            id,
            requested: RequestedChange::Cancel {
                suspended_until: None,
            },
            traceparent: None,
            by: None,
        };
        let changed = test
            .store
            .change_participations(campaign.id, &[requested], KeyChoice::Participation)
            .await
            .unwrap();
        assert_eq!(changed.changed[0].status, Status::Cancelled);
        let replica = Replica::of(&test.store, settings("UTC"));
        let analysis = replica
            .aggregator
            .order_analysis(campaign.id, Cursor::default(), 4);
        let analysis = analysis.await.unwrap();
        assert_eq!((analysis.changes, analysis.participations), (2, 1));
        assert_eq!(analysis.change_violations, 0);
    }
}

#[tokio::test]
async fn an_empty_or_unknown_campaign_has_no_order() {
    for test in stores().await {
        let campaign = create(&test.store, campaign_of(None)).await;
        let replica = Replica::of(&test.store, settings("UTC"));
        let ask = async |id| {
            let analysis = replica.aggregator.order_analysis(id, Cursor::default(), 4);
            analysis.await
        };
        let analysis = ask(campaign.id).await.unwrap();
        assert_eq!(
            (analysis.ranks, analysis.changes, analysis.next),
            (None, 0, None)
        );
        let unknown = ask(CampaignId(999_999)).await;
        assert!(matches!(unknown, Err(AggregateError::UnknownCampaign)));
    }
}
