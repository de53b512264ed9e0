//! Deletes old idempotency keys. There is no index by age, because it would make writing a key a third slower while
//! the campaign's row is locked. So a sweep reads the table by its primary key, a page at a time.

use std::time::Duration;

use super::keys::UserKey;
use crate::domain::UserId;
use crate::parts::store::statement_lengths::padded;
use crate::parts::store::swept_page::SweptPage;
use crate::parts::store::{Store, StoreError};

impl Store {
    /// Reads at most `rows_max` keys after this one, and deletes those that are older than `age` by the database's
    /// clock. The read waits for no writer.
    pub async fn purge_keys(
        &self,
        after: Option<&UserKey>,
        age: Duration,
        rows_max: u32,
    ) -> Result<SweptPage<UserKey>, StoreError> {
        let rows = self.page_of_keys(after, age, rows_max).await?;
        let (mut page, old) = SweptPage::of(rows, rows_max);
        for some in self.in_statements(&old) {
            let mut sql = self.sql(&self.db.delete_by_key("idempotency"));
            sql.push(" WHERE (user_id, idempotency_key) IN ")
                .pairs(padded(some).map(|one| (one.user.0.into(), one.key.into())));
            // A key that was deleted and used again since is a new key.
            sql.push(" AND created_at < ").before(age);
            page.deleted += sql.run(&self.db).await?;
        }
        Ok(page)
    }

    /// A page of keys, each with whether it is old.
    async fn page_of_keys(
        &self,
        after: Option<&UserKey>,
        age: Duration,
        rows_max: u32,
    ) -> Result<Vec<(UserKey, bool)>, StoreError> {
        let mut sql = self.sql("SELECT user_id, idempotency_key, CASE WHEN created_at < ");
        sql.before(age).push(" THEN 1 ELSE 0 END AS is_old FROM ");
        sql.push(&self.db.by_index("idempotency", "PRIMARY"));
        if let Some(UserKey { user, key }) = after {
            // The same condition, as each of the two finds where to begin in its index.
            if self.is_embedded() {
                sql.push(" WHERE (user_id, idempotency_key) > (")
                    .bind(user.0);
                sql.push(",").bind(key.as_str()).push(")");
            } else {
                sql.push(" WHERE (user_id = ").bind(user.0);
                sql.push(" AND idempotency_key > ").bind(key.as_str());
                sql.push(") OR user_id > ").bind(user.0);
            }
        }
        sql.push(" ORDER BY user_id, idempotency_key LIMIT ")
            .bind(rows_max);
        let rows = sql.rows(&self.db).await?;
        rows.iter()
            .map(|row| {
                let key = UserKey {
                    user: UserId(row.try_get("", "user_id")?),
                    key: row.try_get("", "idempotency_key")?,
                };
                let is_old: i64 = row.try_get("", "is_old")?;
                Ok((key, is_old != 0))
            })
            .collect()
    }
}
