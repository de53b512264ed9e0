//! The errors of a member that cannot commit, as MySQL reports them.

use firstcome::parts::store::StoreError;
use sea_orm::{ConnectionTrait, Database};

use crate::sale::parts::real;

/// The error after the server has reported this code.
async fn reported(code: u16) -> StoreError {
    let db = Database::connect(real("FIRSTCOME_DATABASE_URL"));
    let signal = format!("SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = {code}");
    let refused = db.await.unwrap().execute_unprepared(&signal).await;
    refused.unwrap_err().into()
}

#[tokio::test]
async fn a_commit_that_the_group_may_have_is_unknown_and_one_that_it_refused_is_rolled_back() {
    let (hook_failed, held, held_by_a_failed_member, stopping) = (3100, 3781, 3783, 3799);
    for code in [hook_failed, held, held_by_a_failed_member, stopping] {
        let error = reported(code).await;
        assert!(
            matches!(error, StoreError::Unavailable(_)),
            "{code}: {error:?}"
        );
        assert!(!error.is_rolled_back(), "{code}");
    }
    let (conflict, read_only) = (reported(3101).await, reported(1290).await);
    assert!(matches!(conflict, StoreError::Contended(_)), "{conflict:?}");
    assert!(
        matches!(read_only, StoreError::WriteRefused(_)),
        "{read_only:?}"
    );
    assert!(conflict.is_rolled_back() && read_only.is_rolled_back());
}
