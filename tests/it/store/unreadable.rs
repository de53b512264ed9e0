//! Rows that this release cannot read are skipped; the other rows of their page are returned.

use firstcome::domain::{DeadLetterId, DeadLetterSource, UserId};
use firstcome::parts::store::DeadLetterFilter;
use sea_orm::{ConnectionTrait, Database};

use super::new_participation;
use crate::groups::Groups;
use crate::support::{campaign_of, create, sqlite, stores};

#[tokio::test]
async fn an_unreadable_participation_is_left_out_of_its_users_list_and_the_pages_are_whole() {
    for test in stores().await {
        let store = &test.store;
        let mut made = Vec::new();
        for _ in 0..5 {
            let campaign = create(store, campaign_of(None)).await;
            let one = [new_participation(&campaign, 1, 1, 1)];
            let epoch = campaign.gate_epoch;
            let committed = store.commit_participations(&campaign, epoch, &one).await;
            committed.unwrap();
            made.push(one[0].participation.id);
        }
        let db = Database::connect(&test.url).await.unwrap();
        let id = made[3].0.simple();
        let spoil = format!("UPDATE participation SET status = 'later' WHERE id = x'{id}'");
        db.execute_unprepared(&spoil).await.unwrap();
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = store.participations_of(UserId(1), after, 2).await.unwrap();
            after = page.last().map(|one| one.id);
            seen.extend(page.iter().map(|one| one.id));
            if page.len() < 2 {
                break;
            }
        }
        assert_eq!(seen, [made[4], made[2], made[1], made[0]]);
        assert_eq!(store.unreadable_rows(), 1);
    }
}

#[tokio::test]
async fn an_unreadable_dead_letter_is_left_out_of_the_list_and_the_pages_are_whole() {
    // MySQL stores only valid times in the column.
    let test = sqlite().await;
    let db = Database::connect(&test.url).await.unwrap();
    for nth in 1..=5 {
        let parked_at = if nth == 2 {
            "one fine day"
        } else {
            "2026-01-01 00:00:00+00:00"
        };
        let dead = format!(
            "INSERT INTO outbox_parked (event_id, campaign_id, sequence, topic, message_key, key_hash, state, \
             attempts, error_class, error, parked_at) VALUES (x'{nth:032x}', 1, {nth}, 'participation', 'k', 0, \
             'dead', 1, 'c', 'e', '{parked_at}')"
        );
        db.execute_unprepared(&dead).await.unwrap();
    }
    let mut filter = DeadLetterFilter::default();
    let mut seen = Vec::new();
    loop {
        let page = test.store.dead_letters(&filter, 2).await.unwrap();
        let source = DeadLetterSource::Relay;
        filter.after = page.last().map(|one| DeadLetterId {
            event: one.event_id,
            source,
        });
        seen.extend(page.iter().map(|one| one.event_id.0.as_u128()));
        if page.len() < 2 {
            break;
        }
    }
    assert_eq!(seen, [1, 3, 4, 5]);
    assert_eq!(test.store.unreadable_rows(), 1);
}
