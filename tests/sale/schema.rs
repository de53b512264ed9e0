//! A schema of a run's own on the MySQL that other programs use, too.

use std::net::SocketAddr;

use sea_orm::sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use sea_orm::sqlx::{self, AssertSqlSafe, Connection, MySqlConnection};

use super::parts::real;

pub struct Schema {
    name: String,
    server: MySqlConnectOptions,
}

impl Schema {
    pub async fn create(name: &str) -> Self {
        let server: MySqlConnectOptions = real("FIRSTCOME_DATABASE_URL").parse().unwrap();
        let server = server.ssl_mode(MySqlSslMode::Disabled);
        let schema = Self {
            name: name.to_owned(),
            server,
        };
        let mut admin = MySqlConnection::connect_with(&schema.server).await.unwrap();
        schema.execute(&mut admin, "CREATE").await;
        schema
    }

    /// The address of the server.
    pub fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.server.get_port()).into()
    }

    /// Its URL through a proxy.
    pub fn url_at(&self, proxy: SocketAddr) -> String {
        format!("mysql://root@{proxy}/{}", self.name)
    }

    /// Its URL without a proxy.
    pub fn url(&self) -> String {
        format!("{}?ssl-mode=disabled", self.url_at(self.address()))
    }

    /// A session, without a proxy.
    pub async fn session(&self) -> MySqlConnection {
        let at_schema = self.server.clone().database(&self.name);
        MySqlConnection::connect_with(&at_schema).await.unwrap()
    }

    pub async fn remove(self) {
        let mut session = self.session().await;
        self.execute(&mut session, "DROP").await;
    }

    async fn execute(&self, session: &mut MySqlConnection, verb: &str) {
        let statement = format!("{verb} DATABASE {}", self.name);
        let executed = sqlx::raw_sql(AssertSqlSafe(statement));
        executed.execute(session).await.unwrap();
    }
}
