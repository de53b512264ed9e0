//! A stock in MySQL, apart from the service's: one row that has the units, and a row for each unit that was sold.

use sea_orm::sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use sea_orm::sqlx::pool::PoolConnection;
use sea_orm::sqlx::{self, MySql, MySqlPool};

use crate::Failure;

pub type Connection = PoolConnection<MySql>;

#[derive(Clone)]
pub struct Stock(MySqlPool);

impl Stock {
    pub async fn open(url: &str, connections: u64) -> Result<Self, Failure> {
        let options: MySqlConnectOptions = url.parse()?;
        let options = options.ssl_mode(sqlx::mysql::MySqlSslMode::Disabled);
        let pool = MySqlPoolOptions::new()
            .max_connections(u32::try_from(connections)?.saturating_add(1))
            .test_before_acquire(false)
            .after_connect(|connection, _| {
                Box::pin(async move {
                    // As the service has it.
                    let level = "SET SESSION transaction_isolation = 'READ-COMMITTED'";
                    sqlx::query(level).execute(connection).await?;
                    Ok(())
                })
            })
            .connect_with(options)
            .await?;
        Ok(Self(pool))
    }

    pub async fn connection(&self) -> Result<Connection, Failure> {
        Ok(self.0.acquire().await?)
    }

    /// Makes the tables anew, with these units.
    pub async fn fill(&self, units: u64) -> Result<(), Failure> {
        self.forget().await?;
        for statement in [
            "CREATE TABLE experiment_stock (id INT PRIMARY KEY, units BIGINT NOT NULL, token BIGINT NOT NULL)",
            "CREATE TABLE experiment_sale (user_id BIGINT PRIMARY KEY, at DATETIME(6) NOT NULL)",
        ] {
            sqlx::query(statement).execute(&self.0).await?;
        }
        let fill = sqlx::query("INSERT INTO experiment_stock VALUES (1, ?, 0)").bind(units);
        fill.execute(&self.0).await?;
        Ok(())
    }

    /// Units that were sold.
    pub async fn sold(&self) -> Result<u64, Failure> {
        let sold: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM experiment_sale")
            .fetch_one(&self.0)
            .await?;
        Ok(sold.unsigned_abs())
    }

    /// Units that the service sold.
    pub async fn sold_by_service(&self, campaign: i64) -> Result<u64, Failure> {
        let sold: i64 = sqlx::query_scalar(
            "SELECT CAST(COALESCE(SUM(quantity), 0) AS SIGNED) FROM participation WHERE campaign_id = ?",
        )
        .bind(campaign)
        .fetch_one(&self.0)
        .await?;
        Ok(sold.unsigned_abs())
    }

    pub async fn forget(&self) -> Result<(), Failure> {
        let drop = "DROP TABLE IF EXISTS experiment_sale, experiment_stock";
        sqlx::query(drop).execute(&self.0).await?;
        Ok(())
    }
}

/// Records that a user bought a unit.
pub async fn sell(connection: &mut sqlx::MySqlConnection, user: u64) -> Result<(), Failure> {
    let sale = sqlx::query("INSERT INTO experiment_sale VALUES (?, NOW(6))").bind(user);
    sale.execute(connection).await?;
    Ok(())
}
