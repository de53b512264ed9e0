//! One MySQL of a pair or a group: a spare part, and the statements of an operator.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sea_orm::sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use sea_orm::sqlx::{self, AssertSqlSafe, Connection, MySqlConnection, Row};

use crate::sale::clock;
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
    /// Starts it with global transaction ids, durable commits, and the options of its replication.
    pub async fn up(stem: &str, id: u8, replication: &[&str]) -> Self {
        let id = format!("server-id={id}");
        let options = [
            &*id,
            "gtid-mode=ON",
            "enforce-gtid-consistency=ON",
            "innodb-flush-log-at-trx-commit=1",
            "sync-binlog=1",
            "max-connections=500",
            // Small: five of them may run.
            "table-open-cache=400",
            "table-definition-cache=400",
            "performance-schema-digests-size=100",
            "performance-schema-error-size=0",
        ];
        let files = clock::files();
        let files = ["--files", files.path().to_str().unwrap()];
        let part = Spare::up("mysql", stem, &[&files[..], &options, replication].concat()).await;
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

    /// Sets its clock to the true time plus this offset.
    pub async fn set_clock(&self, offset_seconds: i64) {
        clock::set(&self.part, offset_seconds).await;
        clock::assert_is(offset_seconds, self.unix_seconds().await);
    }

    /// Its time, in seconds since 1970.
    pub async fn unix_seconds(&self) -> i64 {
        let time = "SELECT CAST(TIMESTAMPDIFF(SECOND, '1970-01-01', UTC_TIMESTAMP(6)) AS CHAR)";
        self.text(time).await.parse().unwrap()
    }

    /// A session, without a proxy.
    pub async fn session(&self) -> MySqlConnection {
        let session = connect(self.address);
        let session = tokio::time::timeout(ANSWER_MAX, session).await;
        session.expect("the server accepts a session").unwrap()
    }

    /// Whether its process exists.
    pub async fn is_running(&self) -> bool {
        self.part.is_running().await
    }

    /// Executes statements in one session.
    pub async fn run(&self, statements: &[&str]) {
        let executed = self.try_run(statements).await;
        executed.unwrap_or_else(|(statement, error)| panic!("{statement}: {error}"));
    }

    /// Executes statements in one session, until one fails.
    pub async fn try_run(&self, statements: &[&str]) -> Result<(), (String, sqlx::Error)> {
        let mut session = self.session().await;
        for statement in statements {
            let executed = sqlx::raw_sql(AssertSqlSafe((*statement).to_owned()));
            let executed = executed.execute(&mut session).await;
            executed.map_err(|error| ((*statement).to_owned(), error))?;
        }
        Ok(())
    }

    /// Removes the schemas of earlier runs, and every transaction.
    pub async fn forget(&self) {
        let names = "SELECT COALESCE(GROUP_CONCAT(schema_name), '') FROM information_schema.schemata \
                     WHERE schema_name LIKE 'failover%'";
        let names = self.text(names).await;
        for name in names.split(',').filter(|name| !name.is_empty()) {
            self.run(&[&format!("DROP DATABASE {name}")]).await;
        }
        self.run(&["RESET BINARY LOGS AND GTIDS"]).await;
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

    /// The transactions that it has executed.
    pub async fn executed(&self) -> String {
        let executed = self.text("SELECT @@global.gtid_executed").await;
        executed.replace('\n', "")
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

/// A session of the operator.
async fn connect(address: SocketAddr) -> sqlx::Result<MySqlConnection> {
    let options = MySqlConnectOptions::new()
        .host("127.0.0.1")
        .port(address.port())
        .username("root")
        .ssl_mode(MySqlSslMode::Disabled);
    MySqlConnection::connect_with(&options).await
}

/// The columns of the first row that a statement selects, as texts; none: the server does not answer within this time.
pub async fn row_within(
    limit: Duration,
    address: SocketAddr,
    select: &'static str,
) -> Option<Vec<String>> {
    let row = async {
        let mut session = connect(address).await?;
        let row = sqlx::raw_sql(select).fetch_one(&mut session).await?;
        let columns = (0..row.len()).map(|nth| row.try_get_unchecked(nth));
        columns.collect::<sqlx::Result<Vec<String>>>()
    };
    tokio::time::timeout(limit, row).await.ok()?.ok()
}

async fn text(session: &mut MySqlConnection, select: &str) -> String {
    let row = sqlx::raw_sql(AssertSqlSafe(select.to_owned()));
    let row = row.fetch_one(session).await;
    let row = row.unwrap_or_else(|error| panic!("{select}: {error}"));
    row.try_get_unchecked(0).unwrap()
}
