//! Connections and transactions with a time limit for every statement. A database that hangs, or a firewall that
//! dropped a connection, answers nothing. Without this limit a statement waits for the kernel's timeout, a quarter of
//! an hour.
//!
//! The effect of an abandoned statement is unknown, and so is what its connection reads next: when the future of a
//! statement is dropped, sqlx 0.9.0 loses track of the answer to a statement being prepared, and of a transaction
//! opened by BEGIN. So each abandoned statement is recorded, and connections that return to the pool soon afterwards
//! are checked before they are used again.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, ExecResult,
    QueryResult, RuntimeErr, Statement, TransactionOptions, TransactionTrait, sqlx,
};
use tokio::sync::Semaphore;

use super::demotion::{Demotion, DoubtBefore, millis_now};

/// Connections that return within this time after an abandoned statement are checked.
const DOUBT: Duration = Duration::from_secs(5);

/// A statement that is abandoned after this time counts as lost: its server may have been replaced. Callers have time
/// limits of their own, and give up earlier because their clients do.
const LOSS: Duration = Duration::from_millis(500);

/// When a statement was abandoned last.
#[derive(Clone, Debug, Default)]
pub(super) struct AbandonedStatements(Arc<AtomicU64>);

impl AbandonedStatements {
    fn note(&self) {
        self.0.store(millis_now(), Ordering::SeqCst);
    }

    /// Whether the connection that returns now may be the one of that statement.
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

/// The time limit of an answer, and the record of statements without one.
#[derive(Clone, Debug)]
struct Bounds {
    answer_max: Duration,
    abandoned: AbandonedStatements,
    demotion: Demotion,
    /// Limit of concurrent statements, for users of a part of the pool.
    share: Option<Arc<Semaphore>>,
}

impl Bounds {
    async fn within<T>(&self, answer: impl Future<Output = Result<T, DbErr>>) -> Result<T, DbErr> {
        let mut pending = PendingStatement {
            bounds: Some(self),
            began: Instant::now(),
        };
        let answer = async {
            let _permit = match &self.share {
                // Never closed.
                Some(share) => share.acquire().await.ok(),
                None => None,
            };
            answer.await
        };
        if let Ok(answer) = tokio::time::timeout(self.answer_max, answer).await {
            pending.bounds = None;
            return answer.inspect_err(|error| self.demotion.look_at(error));
        }
        let late = "the database did not answer in time";
        let late = sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, late));
        Err(DbErr::Conn(RuntimeErr::SqlxError(Arc::new(late))))
    }
}

/// A statement without an answer; if it is dropped before the answer, it is abandoned.
struct PendingStatement<'a> {
    bounds: Option<&'a Bounds>,
    began: Instant,
}

impl Drop for PendingStatement<'_> {
    fn drop(&mut self) {
        if let Some(bounds) = self.bounds {
            bounds.abandoned.note();
            if self.began.elapsed() >= LOSS {
                bounds.demotion.note_loss();
            }
        }
    }
}

impl Db {
    pub(super) const fn new(
        inner: DatabaseConnection,
        answer_max: Duration,
        abandoned: AbandonedStatements,
        demotion: Demotion,
    ) -> Self {
        let bounds = Bounds {
            answer_max,
            abandoned,
            demotion,
            share: None,
        };
        Self { inner, bounds }
    }

    /// The same pool with a limit of concurrent statements.
    pub(super) fn share(&self, connections_max: usize) -> Self {
        let mut share = self.clone();
        share.bounds.share = Some(Arc::new(Semaphore::new(connections_max)));
        share
    }

    /// The same pool with another time limit.
    pub(super) fn patient(&self, answer_max: Duration) -> Self {
        Self {
            inner: self.inner.clone(),
            bounds: Bounds {
                answer_max,
                ..self.bounds.clone()
            },
        }
    }

    /// Writes that its server has rejected.
    pub(super) const fn demotion(&self) -> &Demotion {
        &self.bounds.demotion
    }

    /// Whether this is SQLite.
    pub(super) fn is_embedded(&self) -> bool {
        self.inner.get_database_backend() == DbBackend::Sqlite
    }

    /// The table with a hint to read and lock rows by this index, even if the table is small: a scan would wait for
    /// rows that other transactions lock. Not for an index that covers the statement: MySQL then scans the index.
    pub(super) fn by_index(&self, table: &str, index: &str) -> String {
        if self.is_embedded() {
            table.to_owned()
        } else {
            format!("{table} FORCE INDEX ({index})")
        }
    }

    /// The beginning of a DELETE that finds its rows by primary key. In a table with few more rows than keys MySQL
    /// would scan, and wait for uncommitted rows of writers.
    pub(super) fn delete_by_key(&self, table: &str) -> String {
        if self.is_embedded() {
            format!("DELETE FROM {table}")
        } else {
            format!("DELETE /*+ INDEX({table} PRIMARY) */ FROM {table}")
        }
    }

    /// For closing, which has no time limit here.
    pub(super) const fn unbounded(&self) -> &DatabaseConnection {
        &self.inner
    }

    pub(super) async fn begin_with_options(
        &self,
        options: TransactionOptions,
    ) -> Result<Tx, DbErr> {
        let doubt_before = self.demotion().doubt();
        let begin = self.inner.begin_with_options(options);
        Ok(Tx {
            inner: self.bounds.within(begin).await?,
            bounds: self.bounds.clone(),
            doubt_before,
        })
    }
}

/// A transaction. Dropped without a commit, it is rolled back.
#[derive(Debug)]
pub(super) struct Tx {
    inner: DatabaseTransaction,
    bounds: Bounds,
    doubt_before: DoubtBefore,
}

impl Tx {
    /// Whether this is SQLite.
    pub(super) fn is_embedded(&self) -> bool {
        self.inner.get_database_backend() == DbBackend::Sqlite
    }

    /// Whether the server may not have been the primary since the transaction began.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.bounds.demotion.has_doubted_since(self.doubt_before)
    }

    /// For changes of the schema, which have no time limit here.
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

/// Both run each statement with the time limit.
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
