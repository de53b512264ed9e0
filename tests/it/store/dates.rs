//! The time at which units became available in a campaign: never before the end of the transactions that locked its
//! row.

use firstcome::domain::{Campaign, State, Timestamp};
use firstcome::parts::store::CampaignChange;
use sea_orm::{ConnectionTrait, Database, DbBackend, Statement, TransactionTrait};

use crate::support::{TestStore, campaign_of, create, mysql, until, waits_for_a_lock};

/// Another transaction locks the campaign's row when it is changed.
async fn is_dated_when_it_got_its_row(
    test: &TestStore,
    campaign: &Campaign,
    change: impl Future<Output = bool> + Send + 'static,
) {
    let db = Database::connect(&test.url).await.unwrap();
    let holding = db.begin().await.unwrap();
    let id = campaign.id;
    let hold = format!("SELECT id FROM campaign WHERE id = {id} FOR UPDATE");
    holding.execute_unprepared(&hold).await.unwrap();
    let change = tokio::spawn(change);
    let is_held = async || waits_for_a_lock(test, "campaign").await;
    until("the change waits", is_held).await;
    let held_until = test.store.time().await.unwrap();
    holding.rollback().await.unwrap();
    assert!(change.await.unwrap());
    let loosened_at = format!("SELECT loosened_at FROM campaign WHERE id = {id}");
    let row = db.query_one_raw(Statement::from_string(DbBackend::MySql, loosened_at));
    let row = row.await.unwrap().unwrap();
    let loosened_at: Timestamp = row.try_get_by_index(0).unwrap();
    assert!(loosened_at >= held_until, "{loosened_at} {held_until}");
}

#[tokio::test]
async fn a_change_that_waited_for_its_campaigns_row_has_the_time_after_the_wait() {
    let test = mysql().await;
    let campaign = create(&test.store, campaign_of(Some(5))).await;
    let (id, version) = (campaign.id, campaign.version);
    let more = CampaignChange {
        total_stock: Some(Some(6)),
        ..CampaignChange::default()
    };
    let store = test.store.clone();
    let change = async move {
        store
            .change_campaign(id, version, &more, None)
            .await
            .unwrap()
    };
    is_dated_when_it_got_its_row(&test, &campaign, change).await;
}

#[tokio::test]
async fn a_campaign_opened_on_schedule_has_the_time_after_the_wait_for_its_row() {
    let test = mysql().await;
    let mut new = campaign_of(Some(5));
    new.state = State::Scheduled;
    let campaign = create(&test.store, new).await;
    let (store, id, version) = (test.store.clone(), campaign.id, campaign.version);
    let opening = async move { store.move_by_clock(id, version).await.unwrap() };
    is_dated_when_it_got_its_row(&test, &campaign, opening).await;
}
