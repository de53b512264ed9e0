//! One MySQL of a pair: a spare part, and the statements of an operator.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sea_orm::sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use sea_orm::sqlx::{self, AssertSqlSafe, Connection, MySqlConnection, Row};

use crate::spare::Spare;

/// Longest wait for a state of a server that must come.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a server is asked before it counts as silent.
const ANSWER_MAX: Duration = Duration::from_secs(5);

pub struct Server {
    part: Spare,
    pub address: SocketAddr,
}

impl Server {
    /// Starts it with global transaction ids, and with both sides of semi-synchronous replication.
    pub async fn up(stem: &str, id: u8) -> Self {
        let id = format!("server-id={id}");
        let options = [
            &*id,
            "gtid-mode=ON",
            "enforce-gtid-consistency=ON",
            "skip-replica-start=ON",
            "plugin-load-add=semisync_source.so",
            "plugin-load-add=semisync_replica.so",
            "innodb-flush-log-at-trx-commit=1",
            "sync-binlog=1",
            "max-connections=500",
        ];
        let part = Spare::up("mysql", stem, &options).await;
        let address = part.address.parse().unwrap();
        Self { part, address }
    }

    /// SIGKILL.
    pub async fn kill(&self) {
        self.part.kill().await;
    }

    /// SIGSTOP: connections stay open and silent.
    pub async fn pause(&self) {
        self.part.pause().await;
    }

    /// SIGCONT.
    pub async fn resume(&self) {
        self.part.resume().await;
    }

    /// Starts it unless it runs.
    pub async fn start(&self) {
        self.part.start().await;
    }

    /// A session, without a proxy.
    pub async fn session(&self) -> MySqlConnection {
        let options = MySqlConnectOptions::new()
            .host("127.0.0.1")
            .port(self.address.port())
            .username("root")
            .ssl_mode(MySqlSslMode::Disabled);
        let session = MySqlConnection::connect_with(&options);
        let session = tokio::time::timeout(ANSWER_MAX, session).await;
        session.expect("the server accepts a session").unwrap()
    }

    /// Executes statements in one session.
    pub async fn run(&self, statements: &[&str]) {
        let mut session = self.session().await;
        for statement in statements {
            let executed = sqlx::raw_sql(AssertSqlSafe((*statement).to_owned()));
            let executed = executed.execute(&mut session).await;
            executed.unwrap_or_else(|error| panic!("{statement}: {error}"));
        }
    }

    /// The first value that a statement selects.
    pub async fn text(&self, select: &str) -> String {
        let mut session = self.session().await;
        text(&mut session, select).await
    }

    /// The value of a status variable; empty: the server does not have it.
    pub async fn status(&self, name: &str) -> String {
        let select = format!(
            "SELECT COALESCE(MAX(variable_value), '') FROM performance_schema.global_status \
             WHERE variable_name = '{name}'"
        );
        self.text(&select).await
    }

    /// Waits until a status variable has this value.
    pub async fn wait_for(&self, name: &str, value: &str) {
        let began = Instant::now();
        loop {
            let found = self.status(name).await;
            if found == value {
                return;
            }
            let waited = began.elapsed();
            assert!(waited < PATIENCE, "{name} is {found:?}, not {value:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until it has executed these transactions.
    pub async fn catch_up(&self, transactions: &str) {
        let seconds = PATIENCE.as_secs();
        let wait =
            format!("SELECT CAST(WAIT_FOR_EXECUTED_GTID_SET('{transactions}', {seconds}) AS CHAR)");
        let mut session = self.session().await;
        let reached = text(&mut session, &wait).await;
        assert_eq!(reached, "0", "the replica did not apply {transactions}");
    }
}

async fn text(session: &mut MySqlConnection, select: &str) -> String {
    let row = sqlx::raw_sql(AssertSqlSafe(select.to_owned()));
    let row = row.fetch_one(session).await;
    let row = row.unwrap_or_else(|error| panic!("{select}: {error}"));
    row.try_get_unchecked(0).unwrap()
}
