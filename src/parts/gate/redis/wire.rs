//! The connection to Redis, or the connections to each master of a cluster. It routes commands and waits; it does not
//! know what they mean.

use std::collections::HashMap;
use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo};
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{Client, Cmd, ConnectionInfo, FromRedisValue, RedisResult, ScriptInvocation, Value};

use super::{Layout, RedisConfig};
use crate::parts::gate::script::Script;
use crate::parts::gate::start_error::StartError;

/// Capacity of the queue of commands for the connection. The crate's default of 50 would be the bottleneck.
const PIPELINE_COMMANDS_MAX: usize = 4_096;

/// Attempts to reconnect before waiting calls fail; the next call starts over.
const RECONNECTS_MAX: usize = 2;

/// The same in a cluster, where following a slot to another node may use one attempt.
const CLUSTER_RETRIES_MAX: u32 = 3;

/// Longest wait between attempts.
const RECONNECT_PAUSE_MAX: Duration = Duration::from_millis(500);

/// Connections are shared and pipelined by all callers, because a node runs one script at a time.
pub(super) enum Wire {
    Single(ConnectionManager),
    Cluster(ClusterConnection),
}

impl Wire {
    /// Connects and loads the scripts, so that errors appear at start.
    pub(super) async fn connect(
        config: &RedisConfig,
        scripts: &HashMap<Script, redis::Script>,
    ) -> Result<Self, StartError> {
        let nodes = config.nodes()?;
        let addresses: Vec<String> = nodes.iter().map(|node| node.addr().to_string()).collect();
        let failed = |source| StartError::Connect {
            address: addresses.join(", "),
            source,
        };
        let mut nodes = nodes
            .into_iter()
            .map(|node| node.set_tcp_settings(tcp(config)));
        let wire = match config.layout() {
            Layout::Single => {
                let node = nodes.next().ok_or(StartError::NoAddress)?;
                let connecting = single(config, config.client_to(node)?);
                Self::Single(connecting.await.map_err(failed)?)
            }
            Layout::Cluster => Self::Cluster(cluster(config, nodes).await.map_err(failed)?),
        };
        wire.load(scripts).await.map_err(failed)?;
        Ok(wire)
    }

    async fn load(&self, scripts: &HashMap<Script, redis::Script>) -> RedisResult<()> {
        for script in scripts.values() {
            match self {
                Self::Single(connection) => script.load_async(&mut connection.clone()).await?,
                Self::Cluster(connection) => script.load_async(&mut connection.clone()).await?,
            };
        }
        Ok(())
    }

    /// Runs a script on the node of its keys; loads it first if Redis does not have it.
    pub(super) async fn invoke(&self, invocation: &ScriptInvocation<'_>) -> RedisResult<Value> {
        match self {
            Self::Single(connection) => invocation.invoke_async(&mut connection.clone()).await,
            Self::Cluster(connection) => invocation.invoke_async(&mut connection.clone()).await,
        }
    }

    /// Runs a command on the node of its key.
    pub(super) async fn run(&self, command: &Cmd) -> RedisResult<()> {
        match self {
            Self::Single(connection) => command.exec_async(&mut connection.clone()).await,
            Self::Cluster(connection) => command.exec_async(&mut connection.clone()).await,
        }
    }

    /// Sends a command to every master; all must answer.
    pub(super) async fn ask_all<T: FromRedisValue>(&self, command: Cmd) -> RedisResult<Vec<T>> {
        match self {
            Self::Single(connection) => {
                let answer = command.query_async(&mut connection.clone()).await?;
                Ok(vec![answer])
            }
            Self::Cluster(connection) => {
                let masters = (MultipleNodeRoutingInfo::AllMasters, None);
                let routing = RoutingInfo::MultiNode(masters);
                let answers = connection.clone().route_command(command, routing).await?;
                let Value::Map(answers) = answers else {
                    return Ok(vec![redis::from_redis_value(answers)?]);
                };
                let answers = answers.into_iter();
                answers
                    .map(|(_, answer)| Ok(redis::from_redis_value(answer)?))
                    .collect()
            }
        }
    }
}

async fn single(config: &RedisConfig, client: Client) -> RedisResult<ConnectionManager> {
    let limits = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(config.connect_timeout))
        .set_response_timeout(Some(config.response_timeout))
        .set_number_of_retries(RECONNECTS_MAX)
        .set_max_delay(RECONNECT_PAUSE_MAX)
        .set_pipeline_buffer_size(PIPELINE_COMMANDS_MAX);
    ConnectionManager::new_with_config(client, limits).await
}

async fn cluster(
    config: &RedisConfig,
    nodes: impl Iterator<Item = ConnectionInfo>,
) -> RedisResult<ClusterConnection> {
    let pause_ms = u64::try_from(RECONNECT_PAUSE_MAX.as_millis()).unwrap_or(u64::MAX);
    let mut builder = ClusterClient::builder(nodes)
        .connection_timeout(config.connect_timeout)
        .response_timeout(config.response_timeout)
        .retries(CLUSTER_RETRIES_MAX)
        .max_retry_wait(pause_ms)
        .tcp_settings(tcp(config));
    if let Some(certificates) = config.certificates() {
        builder = builder.certs(certificates);
    }
    builder.build()?.get_async_connection().await
}

/// A vanished peer is detected by unacknowledged bytes, instead of after the quarter of an hour of the kernel's
/// default.
fn tcp(config: &RedisConfig) -> TcpSettings {
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(10))
        .with_interval(Duration::from_secs(5));
    TcpSettings::default()
        .set_nodelay(true)
        .set_keepalive(keepalive)
        .set_user_timeout(config.response_timeout.saturating_mul(5))
}
