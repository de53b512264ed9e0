//! A payment that two transactions record at the same time.

use std::time::Duration;

use firstcome::domain::{ParticipationId, Status};
use firstcome::runtime::supervisor::Supervisor;
use firstcome::sale::changes::{ChangeError, Payment};
use futures_util::future::join_all;
use sea_orm::{ConnectionTrait, Database, TransactionTrait};

use super::{changes_on, paid, thirty_reserved};
use crate::support::{mysql, until, waits_for_a_lock};

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_recorded_elsewhere_meanwhile_fails_only_its_own_change() {
    let test = mysql().await;
    let store = &test.store;
    let campaign = paid(store).await;
    let orders = thirty_reserved(store, &campaign).await;
    let supervisor = Supervisor::new(Duration::from_secs(5));
    let changes = changes_on(store, &supervisor);
    let db = Database::connect(&test.url).await.unwrap();
    let holding = db.begin().await.unwrap();
    let first = "SELECT id FROM participation WHERE `rank` = 1 FOR UPDATE";
    holding.execute_unprepared(first).await.unwrap();
    let other = ParticipationId::generate().0.simple();
    let recording = db.begin().await.unwrap();
    let record = format!(
        "INSERT INTO payment (reference, payable_id, amount, created_at) \
         VALUES ('pi_twice', x'{other}', 1, UTC_TIMESTAMP(6))"
    );
    recording.execute_unprepared(&record).await.unwrap();
    let twice = Payment {
        reference: Some("pi_twice".to_owned()),
        amount: None,
    };
    // While the first one waits, the others are collected for the next transaction.
    let cancel = |nth: usize| changes.cancel(orders[nth].clone(), None, None);
    let gathered = async {
        until("the first waits", async || {
            waits_for_a_lock(&test, "participation").await
        })
        .await;
        let paying = changes.confirm(orders[6].clone(), twice, None, None);
        let others = (1..30).filter(|nth| *nth != 6).map(cancel);
        let go_on = async {
            holding.rollback().await.unwrap();
            until("the payment waits", async || {
                waits_for_a_lock(&test, "payment").await
            })
            .await;
            recording.commit().await.unwrap();
        };
        let (paid, others, ()) = tokio::join!(paying, join_all(others), go_on);
        (paid, others)
    };
    let (first, (paid, others)) = tokio::join!(cancel(0), gathered);
    for told in others.iter().chain([&first]) {
        assert!(
            told.as_ref()
                .is_ok_and(|told| told.status == Status::Cancelled),
            "{told:?}"
        );
    }
    assert!(matches!(paid, Err(ChangeError::ReferenceUsed)), "{paid:?}");
    let left = store.participation(orders[6].id).await.unwrap().unwrap();
    assert_eq!(left.status, Status::Reserved);
}
