//! Connections and transactions whose every statement has to be answered in time. A database that hangs,
//! or a firewall that has forgotten a connection, says nothing: without a bound of ours a statement
//! would wait for as long as the kernel does, a quarter of an hour.
//!
//! What a statement that was not answered did is not known. Its connection is thrown away by the pool,
//! which asks each one that comes back whether it still answers.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, ExecResult,
    QueryResult, RuntimeErr, Statement, TransactionOptions, TransactionTrait, sqlx,
};

/// The pool.
#[derive(Clone, Debug)]
pub(super) struct Db {
    inner: DatabaseConnection,
    answer_max: Duration,
}

impl Db {
    pub(super) const fn new(inner: DatabaseConnection, answer_max: Duration) -> Self {
        Self { inner, answer_max }
    }

    /// The same pool, for what takes longer.
    pub(super) fn patient(&self, answer_max: Duration) -> Self {
        Self::new(self.inner.clone(), answer_max)
    }

    /// For what has no bound: changes of the schema, and closing.
    pub(super) const fn unbounded(&self) -> &DatabaseConnection {
        &self.inner
    }

    pub(super) async fn begin_with_options(
        &self,
        options: TransactionOptions,
    ) -> Result<Tx, DbErr> {
        let begin = self.inner.begin_with_options(options);
        Ok(Tx {
            inner: within(self.answer_max, begin).await?,
            answer_max: self.answer_max,
        })
    }
}

/// A transaction. Dropped without a commit, it is rolled back.
#[derive(Debug)]
pub(super) struct Tx {
    inner: DatabaseTransaction,
    answer_max: Duration,
}

impl Tx {
    pub(super) async fn commit(self) -> Result<(), DbErr> {
        within(self.answer_max, self.inner.commit()).await
    }

    pub(super) async fn rollback(self) -> Result<(), DbErr> {
        within(self.answer_max, self.inner.rollback()).await
    }
}

async fn within<T>(
    answer_max: Duration,
    answer: impl Future<Output = Result<T, DbErr>>,
) -> Result<T, DbErr> {
    tokio::time::timeout(answer_max, answer)
        .await
        .unwrap_or_else(|_| {
            let late = io::Error::new(
                io::ErrorKind::TimedOut,
                "the database did not answer in time",
            );
            Err(DbErr::Conn(RuntimeErr::SqlxError(Arc::new(
                sqlx::Error::Io(late),
            ))))
        })
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
                within(self.answer_max, self.inner.execute_raw(statement)).await
            }

            async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
                within(self.answer_max, self.inner.execute_unprepared(sql)).await
            }

            async fn query_one_raw(
                &self,
                statement: Statement,
            ) -> Result<Option<QueryResult>, DbErr> {
                within(self.answer_max, self.inner.query_one_raw(statement)).await
            }

            async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
                within(self.answer_max, self.inner.query_all_raw(statement)).await
            }
        }
    };
}

bounded!(Db);
bounded!(Tx);
