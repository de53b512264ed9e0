//! Connections and transactions whose every statement has to be answered in time. A database that hangs,
//! or a firewall that has forgotten a connection, says nothing: without a bound of ours a statement
//! would wait for as long as the kernel does, a quarter of an hour.
//!
//! What a statement that was not answered did is not known, and nor is what its connection would read
//! next: sqlx 0.9.0 does not know of the answer to a statement that was being prepared, or of the
//! transaction that a BEGIN has begun, when whoever asked has gone. So each statement that is given up,
//! for time or because its request went away, is noted, and connections that come back to the pool
//! around then have to show that they are in step before anybody else gets them.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, ExecResult,
    QueryResult, RuntimeErr, Statement, TransactionOptions, TransactionTrait, sqlx,
};
use tokio::sync::Semaphore;

use super::demotion::{Demotion, millis_now};

/// For so long after a statement was given up, connections that come back are looked at closely.
const DOUBT: Duration = Duration::from_secs(5);

/// When a statement was given up last.
#[derive(Clone, Debug, Default)]
pub(super) struct GivenUp(Arc<AtomicU64>);

impl GivenUp {
    fn note(&self) {
        self.0.store(millis_now(), Ordering::SeqCst);
    }

    /// Whether the connection that comes back now may be the one.
    pub(super) fn lately(&self) -> bool {
        let at = self.0.load(Ordering::SeqCst);
        let doubt = u64::try_from(DOUBT.as_millis()).unwrap_or(u64::MAX);
        at > 0 && millis_now().saturating_sub(at) < doubt
    }
}

/// The pool.
#[derive(Clone, Debug)]
pub(super) struct Db {
    inner: DatabaseConnection,
    bounds: Bounds,
}

/// How long an answer may take, and who is told when it does not come.
#[derive(Clone, Debug)]
struct Bounds {
    answer_max: Duration,
    given_up: GivenUp,
    demotion: Demotion,
    /// Statements at the same time, for those who get only a share of the pool.
    share: Option<Arc<Semaphore>>,
}

impl Bounds {
    async fn within<T>(&self, answer: impl Future<Output = Result<T, DbErr>>) -> Result<T, DbErr> {
        let mut asked = Asked(Some(&self.given_up));
        let answer = async {
            let _permit = match &self.share {
                // Never closed.
                Some(share) => share.acquire().await.ok(),
                None => None,
            };
            answer.await
        };
        if let Ok(answer) = tokio::time::timeout(self.answer_max, answer).await {
            asked.0 = None;
            return answer.inspect_err(|error| self.demotion.look_at(error));
        }
        let late = "the database did not answer in time";
        let late = sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, late));
        Err(DbErr::Conn(RuntimeErr::SqlxError(Arc::new(late))))
    }
}

/// A question that has no answer yet: dropped before it has one, it was given up.
struct Asked<'a>(Option<&'a GivenUp>);

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        if let Some(given_up) = self.0 {
            given_up.note();
        }
    }
}

impl Db {
    pub(super) const fn new(
        inner: DatabaseConnection,
        answer_max: Duration,
        given_up: GivenUp,
        demotion: Demotion,
    ) -> Self {
        let bounds = Bounds {
            answer_max,
            given_up,
            demotion,
            share: None,
        };
        Self { inner, bounds }
    }

    /// The same pool, of which so many connections are used at the same time at most.
    pub(super) fn share(&self, connections_max: usize) -> Self {
        let mut share = self.clone();
        share.bounds.share = Some(Arc::new(Semaphore::new(connections_max)));
        share
    }

    /// The same pool, for what takes longer.
    pub(super) fn patient(&self, answer_max: Duration) -> Self {
        Self {
            inner: self.inner.clone(),
            bounds: Bounds {
                answer_max,
                ..self.bounds.clone()
            },
        }
    }

    /// When its server refused to write last.
    pub(super) const fn demotion(&self) -> &Demotion {
        &self.bounds.demotion
    }

    /// Whether this is SQLite.
    pub(super) fn is_embedded(&self) -> bool {
        self.inner.get_database_backend() == DbBackend::Sqlite
    }

    /// A table to be read, and locked, by an index that is named, however small it is: a scan would wait
    /// for rows that others hold. Not for an index that has all that is asked for: then MySQL looks no
    /// numbers up, and scans the index.
    pub(super) fn by_index(&self, table: &str, index: &str) -> String {
        if self.is_embedded() {
            table.to_owned()
        } else {
            format!("{table} FORCE INDEX ({index})")
        }
    }

    /// The beginning of a deletion that finds its rows by their keys. Of a table with not many more rows than
    /// keys MySQL would rather read all, and wait for those that a writer has not committed yet.
    pub(super) fn delete_by_key(&self, table: &str) -> String {
        if self.is_embedded() {
            format!("DELETE FROM {table}")
        } else {
            format!("DELETE /*+ INDEX({table} PRIMARY) */ FROM {table}")
        }
    }

    /// For what has no bound: closing.
    pub(super) const fn unbounded(&self) -> &DatabaseConnection {
        &self.inner
    }

    pub(super) async fn begin_with_options(
        &self,
        options: TransactionOptions,
    ) -> Result<Tx, DbErr> {
        let begin = self.inner.begin_with_options(options);
        Ok(Tx {
            inner: self.bounds.within(begin).await?,
            bounds: self.bounds.clone(),
        })
    }
}

/// A transaction. Dropped without a commit, it is rolled back.
#[derive(Debug)]
pub(super) struct Tx {
    inner: DatabaseTransaction,
    bounds: Bounds,
}

impl Tx {
    /// Whether this is SQLite.
    pub(super) fn is_embedded(&self) -> bool {
        self.inner.get_database_backend() == DbBackend::Sqlite
    }

    /// For changes of the schema, which have no bound.
    pub(super) const fn unbounded(&self) -> &DatabaseTransaction {
        &self.inner
    }

    pub(super) async fn commit(self) -> Result<(), DbErr> {
        self.bounds.within(self.inner.commit()).await
    }

    pub(super) async fn rollback(self) -> Result<(), DbErr> {
        self.bounds.within(self.inner.rollback()).await
    }
}

/// The same for both: each question goes through, with a bound.
macro_rules! bounded {
    ($name:ident) => {
        #[async_trait]
        impl ConnectionTrait for $name {
            fn get_database_backend(&self) -> DbBackend {
                self.inner.get_database_backend()
            }

            async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
                self.bounds.within(self.inner.execute_raw(statement)).await
            }

            async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
                self.bounds.within(self.inner.execute_unprepared(sql)).await
            }

            async fn query_one_raw(
                &self,
                statement: Statement,
            ) -> Result<Option<QueryResult>, DbErr> {
                self.bounds
                    .within(self.inner.query_one_raw(statement))
                    .await
            }

            async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
                self.bounds
                    .within(self.inner.query_all_raw(statement))
                    .await
            }
        }
    };
}

bounded!(Db);
bounded!(Tx);
