//! Orders that cannot be finished now.

use sea_orm::{ConnectionTrait, Database, DbBackend, Statement};
use tempfile::TempDir;

use super::{embedded, placed, sale, statuses};
use crate::support::until;

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_cannot_be_finished_is_postponed() {
    let folder = TempDir::new().unwrap();
    let service = embedded(&folder).await;
    let one = service.create(sale(3, None)).await;
    let file = folder.path().join("data/firstcome.db");
    let db = Database::connect(format!("sqlite://{}", file.display()));
    let db = db.await.unwrap();
    let refuse = "CREATE TRIGGER refused BEFORE DELETE ON order_due BEGIN SELECT RAISE(ABORT, 'refused'); END";
    db.execute_unprepared(refuse).await.unwrap();
    let due_at = async || -> Option<String> {
        let sql = "SELECT CAST(due_at AS TEXT) FROM order_due";
        let row = db.query_one_raw(Statement::from_string(DbBackend::Sqlite, sql));
        let row = row.await.unwrap()?;
        Some(row.try_get_by_index(0).unwrap())
    };
    // The request does not wait for it.
    let confirmed = placed(&service, 7, &[(one, 1)]).await;
    assert_eq!(confirmed["status"], "confirmed");
    assert_eq!(statuses(&service, &confirmed, 7).await, ["confirmed"]);
    let first = due_at().await;
    assert!(first.is_some());
    until("the sweep has postponed it", async || {
        due_at().await > first
    })
    .await;
    db.execute_unprepared("DROP TRIGGER refused").await.unwrap();
    until("it is finished", async || due_at().await.is_none()).await;
}
