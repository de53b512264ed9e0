//! A schema of a run's own on the MySQL that other programs use, too.

use std::net::SocketAddr;

use sea_orm::sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use sea_orm::sqlx::{self, AssertSqlSafe, Connection, MySqlConnection};

use super::parts::{real, rewards_of};

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
        execute(&mut admin, &format!("CREATE DATABASE {name}")).await;
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

    /// The URL of the rewards database, without a proxy.
    pub fn rewards_url(&self) -> String {
        let address = self.address();
        let name = rewards_of(&self.name);
        format!("mysql://root@{address}/{name}?ssl-mode=disabled")
    }

    /// How to connect without a proxy.
    pub fn options(&self) -> MySqlConnectOptions {
        self.server.clone().database(&self.name)
    }

    /// A session, without a proxy.
    pub async fn session(&self) -> MySqlConnection {
        MySqlConnection::connect_with(&self.options())
            .await
            .unwrap()
    }

    pub async fn remove(self) {
        let mut session = self.session().await;
        for name in [self.name.clone(), rewards_of(&self.name)] {
            let drop = format!("DROP DATABASE IF EXISTS {name}");
            execute(&mut session, &drop).await;
        }
    }
}

async fn execute(session: &mut MySqlConnection, statement: &str) {
    let executed = sqlx::raw_sql(AssertSqlSafe(statement.to_owned()));
    executed.execute(session).await.unwrap();
}
