//! A process on the schema of a newer release: during an upgrade, and after a rollback.

use firstcome::parts::store::StoreError;
use sea_orm::DbBackend;

use super::Empty;
use crate::store::new_participation;
use crate::support::{campaign_of, create, sell};

impl Empty {
    /// A newer release adds a column to each table.
    async fn add_everywhere(&self, column: &str) {
        let backend = self.db.get_database_backend();
        let all = [
            migration::statements(backend),
            migration::rewards::statements(backend),
        ];
        let created = all.concat();
        let created = created
            .iter()
            .filter_map(|text| text.strip_prefix("CREATE TABLE IF NOT EXISTS "));
        let add = created.map(|text| {
            let table = text.split_whitespace().next().unwrap();
            format!("ALTER TABLE {table} ADD COLUMN {column}")
        });
        self.run(&add.collect::<Vec<_>>()).await;
    }

    /// A newer release has applied this migration.
    async fn record(&self, list: &str, migration: &str) {
        let insert = format!("INSERT INTO {list} (version, applied_at) VALUES ('{migration}', 0)");
        self.run(&[insert]).await;
    }
}

#[tokio::test]
async fn a_process_uses_a_newer_schema_that_only_has_additions() {
    for backend in [DbBackend::Sqlite, DbBackend::MySql] {
        let database = Empty::on(backend).await;
        database.store().await.migrate().await.unwrap();
        database.rewards().await.migrate().await.unwrap();
        database
            .add_everywhere("note INTEGER NOT NULL DEFAULT 7")
            .await;
        database
            .record("seaql_migrations", "0002_note_additive")
            .await;
        database
            .record("rewards_migrations", "0002_note_additive")
            .await;
        let newer = database.look().await;
        let store = database.store().await;
        store.migrate().await.unwrap();
        database.rewards().await.migrate().await.unwrap();
        assert_eq!(database.look().await, newer);
        let campaign = create(&store, campaign_of(Some(1))).await;
        let sold = sell(
            &store,
            &campaign,
            vec![new_participation(&campaign, 1, 1, 1)],
        )
        .await;
        let found = store.participation(sold[0].participation.id).await;
        assert_eq!(found.unwrap().unwrap().rank, 1);
    }
}

#[tokio::test]
async fn a_process_does_not_start_on_a_newer_schema_with_other_changes() {
    for backend in [DbBackend::Sqlite, DbBackend::MySql] {
        let database = Empty::on(backend).await;
        let (store, rewards) = (database.store().await, database.rewards().await);
        store.migrate().await.unwrap();
        rewards.migrate().await.unwrap();
        for table in ["seaql_migrations", "rewards_migrations"] {
            database.record(table, "0002_note_additive").await;
            database.record(table, "0003_fewer_columns").await;
        }
        let refused = [store.migrate().await, rewards.migrate().await];
        for refusal in refused {
            let refusal = refusal.unwrap_err();
            let StoreError::Database(cause) = &refusal else {
                panic!("{refusal:?}");
            };
            assert!(cause.to_string().contains("0003_fewer_columns"), "{cause}");
        }
    }
}
