//! A lowered limit per user: the user's units are counted, with any ordinals.

use firstcome::domain::{Campaign, KeyChoice, RequestedChange};
use firstcome::parts::store::{CampaignChange, ChangeRequest, NewParticipation, Store};

use super::new_participation;
use crate::groups::{BatchOutcome, Groups};
use crate::support::{campaign_of, create, stores};

/// The gate has lost its users: only the store counts their units.
#[tokio::test]
async fn a_holder_of_the_second_unit_gets_no_other_under_a_limit_of_one() {
    for test in stores().await {
        let store = &test.store;
        let mut new = campaign_of(None);
        (new.per_user_limit, new.cancellable) = (2, true);
        let campaign = create(store, new).await;
        let both = [
            new_participation(&campaign, 1, 1, 1),
            new_participation(&campaign, 1, 2, 1),
        ];
        assert!(matches!(
            commit(store, &campaign, &both).await,
            BatchOutcome::Committed {
                held_from: None,
                ..
            }
        ));
        let cancel = [ChangeRequest {
            id: both[0].participation.id,
            requested: RequestedChange::Cancel {
                suspended_until: None,
            },
            traceparent: None,
            by: None,
        }];
        let choice = KeyChoice::Participation;
        let cancelled = store
            .change_participations(campaign.id, &cancel, choice)
            .await;
        assert_eq!(cancelled.unwrap().changed.len(), 1);
        let lowered = CampaignChange {
            per_user_limit: Some(1),
            ..CampaignChange::default()
        };
        let now = store.campaign(campaign.id).await.unwrap().unwrap();
        let changed = store
            .change_campaign(now.id, now.version, &lowered, None)
            .await;
        assert!(changed.unwrap());
        let fresh = store.campaign(campaign.id).await.unwrap().unwrap();
        // One caller has read the campaign before, and one has read it since.
        for known in [&campaign, &fresh] {
            let again = [new_participation(known, 1, 3, 1)];
            assert_eq!(commit(store, known, &again).await, BatchOutcome::Conflict);
        }
        let other = [new_participation(&fresh, 2, 3, 1)];
        let committed = commit(store, &campaign, &other).await;
        assert!(matches!(
            committed,
            BatchOutcome::Committed {
                held_from: None,
                ..
            }
        ));
    }
}

async fn commit(store: &Store, campaign: &Campaign, batch: &[NewParticipation]) -> BatchOutcome {
    let committed = store.commit_participations(campaign, campaign.gate_epoch, batch);
    committed.await.unwrap()
}
