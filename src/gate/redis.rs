//! Runs the gate's scripts in Redis. Owns the connection and its time limits; knows no rule.

use std::collections::HashMap;
use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{Client, ErrorKind, IntoConnectionInfo, RedisError, RedisResult, ServerErrorKind};
use secrecy::{ExposeSecret, SecretString};

use super::GateError;
use super::reply::Reply;
use super::script::{Script, StartError};
use crate::domain::Instant;

/// Commands that may wait for the one connection; beyond it callers wait for room. The crate's own
/// default of 50 would be the bottleneck.
const PIPELINE_COMMANDS_MAX: usize = 4_096;

/// How long the word of a ping stays.
const PING_MS: u64 = 10_000;

/// Attempts to reconnect before the callers who wait are told; the next call starts over.
const RECONNECTS_MAX: usize = 2;

/// Where Redis is and how long it may take.
#[derive(Clone, Debug)]
pub struct RedisConfig {
    /// `redis://[user:password@]host[:port][/database]`
    pub url: SecretString,
    /// How long a connection may take to be made.
    pub connect_timeout: Duration,
    /// How long an answer may take, reconnecting included. The command may still have run.
    pub response_timeout: Duration,
}

impl Default for RedisConfig {
    fn default() -> Self {
        Self {
            url: SecretString::from("redis://127.0.0.1:6379"),
            connect_timeout: Duration::from_secs(1),
            response_timeout: Duration::from_secs(1),
        }
    }
}

/// One connection, shared and pipelined by everybody: Redis runs one script at a time anyway.
pub(super) struct RedisEngine {
    connection: ConnectionManager,
    scripts: HashMap<Script, redis::Script>,
    response_timeout: Duration,
}

impl RedisEngine {
    /// Connects and hands the scripts over, so that what is wrong is known at the start.
    pub(super) async fn connect(config: &RedisConfig) -> Result<Self, StartError> {
        let info = config
            .url
            .expose_secret()
            .into_connection_info()
            .map_err(StartError::Url)?;
        let address = info.addr().to_string();
        let keepalive = TcpKeepalive::new()
            .with_time(Duration::from_secs(10))
            .with_interval(Duration::from_secs(5));
        // A peer that vanished without a word is noticed by the unanswered bytes, not after the
        // quarter of an hour that the kernel would wait.
        let tcp = TcpSettings::default()
            .set_nodelay(true)
            .set_keepalive(keepalive)
            .set_user_timeout(config.response_timeout.saturating_mul(5));
        let limits = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(config.connect_timeout))
            .set_response_timeout(Some(config.response_timeout))
            .set_number_of_retries(RECONNECTS_MAX)
            .set_max_delay(Duration::from_millis(500))
            .set_pipeline_buffer_size(PIPELINE_COMMANDS_MAX);
        let client = Client::open(info.set_tcp_settings(tcp)).map_err(StartError::Url)?;
        let scripts = Script::ALL
            .into_iter()
            .map(|script| (script, redis::Script::new(script.source())))
            .collect();
        let connected = async {
            let mut connection = ConnectionManager::new_with_config(client, limits).await?;
            load(&scripts, &mut connection).await?;
            Ok(connection)
        };
        let connection = connected
            .await
            .map_err(|source| StartError::Connect { address, source })?;
        Ok(Self {
            connection,
            scripts,
            response_timeout: config.response_timeout,
        })
    }

    /// Runs one script; loads it first when Redis has forgotten it.
    pub(super) async fn run(
        &self,
        script: Script,
        keys: &[String],
        args: &[String],
    ) -> Result<Reply, GateError> {
        let Some(script) = self.scripts.get(&script) else {
            return Err(GateError::Protocol(format!("{script:?} is not loaded")));
        };
        let mut invocation = script.prepare_invoke();
        invocation.key(keys).arg(args);
        let mut connection = self.connection.clone();
        let value = self
            .within_time(invocation.invoke_async(&mut connection))
            .await?;
        read(value)
    }

    /// Writes a word that goes by itself: a Redis that answers but takes no writes admits nobody.
    pub(super) async fn ping(&self, key: &str) -> Result<(), GateError> {
        let mut connection = self.connection.clone();
        let mut set = redis::cmd("SET");
        set.arg(key).arg("1").arg("PX").arg(PING_MS);
        self.within_time(set.exec_async(&mut connection)).await
    }

    /// One of the server's own settings.
    pub(super) async fn server_setting(&self, name: &str) -> Result<Option<String>, GateError> {
        let mut connection = self.connection.clone();
        let mut config = redis::cmd("CONFIG");
        config.arg("GET").arg(name);
        let mut settings: HashMap<String, String> = self
            .within_time(config.query_async(&mut connection))
            .await?;
        Ok(settings.remove(name))
    }

    /// The server's version.
    pub(super) async fn version(&self) -> Result<String, GateError> {
        let mut connection = self.connection.clone();
        let mut info = redis::cmd("INFO");
        info.arg("server");
        let text: String = self.within_time(info.query_async(&mut connection)).await?;
        text.lines()
            .find_map(|line| line.strip_prefix("redis_version:"))
            .map(|version| version.trim().to_owned())
            .ok_or_else(|| GateError::Protocol("INFO tells no redis_version".to_owned()))
    }

    /// The server's clock.
    pub(super) async fn time(&self) -> Result<Instant, GateError> {
        let mut connection = self.connection.clone();
        let time = redis::cmd("TIME");
        let (seconds, micros): (i64, i64) =
            self.within_time(time.query_async(&mut connection)).await?;
        chrono::DateTime::from_timestamp_micros(seconds * 1_000_000 + micros)
            .ok_or_else(|| GateError::Protocol("TIME tells no time".to_owned()))
    }

    /// The connection limits each command; this limits the whole, reconnecting and reloading
    /// included, because somebody is waiting for the answer.
    async fn within_time<T>(
        &self,
        work: impl Future<Output = RedisResult<T>>,
    ) -> Result<T, GateError> {
        match tokio::time::timeout(self.response_timeout, work).await {
            Ok(done) => done.map_err(classify),
            Err(elapsed) => Err(GateError::Unavailable(Box::new(elapsed))),
        }
    }
}

async fn load(
    scripts: &HashMap<Script, redis::Script>,
    connection: &mut ConnectionManager,
) -> RedisResult<()> {
    for script in scripts.values() {
        script.load_async(connection).await?;
    }
    Ok(())
}

/// By type: a mistake in a script or its answer is ours; everything else is Redis not being able to
/// serve (away, loading, read-only, out of memory, no permission), and may pass.
fn classify(error: RedisError) -> GateError {
    match error.kind() {
        ErrorKind::Parse
        | ErrorKind::UnexpectedReturnType
        | ErrorKind::Server(ServerErrorKind::ResponseError | ServerErrorKind::CrossSlot) => {
            GateError::Protocol(error.to_string())
        }
        ErrorKind::Extension if error.code() == Some("WRONGTYPE") => {
            GateError::Protocol(error.to_string())
        }
        _ => GateError::Unavailable(Box::new(error)),
    }
}

fn read(value: redis::Value) -> Result<Reply, GateError> {
    match value {
        redis::Value::Int(number) => Ok(Reply::Integer(number)),
        redis::Value::BulkString(bytes) => String::from_utf8(bytes)
            .map(Reply::Text)
            .map_err(|_| GateError::Protocol("an answer is not text".to_owned())),
        redis::Value::Array(items) => items
            .into_iter()
            .map(read)
            .collect::<Result<_, _>>()
            .map(Reply::List),
        other => Err(GateError::Protocol(format!("unexpected answer {other:?}"))),
    }
}
