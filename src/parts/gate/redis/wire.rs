//! The way to Redis: one connection, or one to each master of a cluster. It routes and waits; what is said
//! over it is not its concern.

use std::collections::HashMap;
use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo};
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{Cmd, ConnectionInfo, FromRedisValue, RedisResult, ScriptInvocation, Value};

use super::{Layout, RedisConfig};
use crate::parts::gate::script::Script;
use crate::parts::gate::start_error::StartError;

/// Commands that may wait for the one connection; beyond it callers wait for room. The crate's own
/// default of 50 would be the bottleneck.
const PIPELINE_COMMANDS_MAX: usize = 4_096;

/// Attempts to reconnect before the callers who wait are told; the next call starts over.
const RECONNECTS_MAX: usize = 2;

/// The same in a cluster, where one attempt may be to follow a slot to another node.
const CLUSTER_RETRIES_MAX: u32 = 3;

/// Longest wait between attempts.
const RECONNECT_PAUSE_MAX: Duration = Duration::from_millis(500);

/// Connections are shared and pipelined by everybody: a node runs one script at a time anyway.
pub(super) enum Wire {
    Single(ConnectionManager),
    Cluster(ClusterConnection),
}

impl Wire {
    /// Connects and hands the scripts over, so that what is wrong is known at the start.
    pub(super) async fn connect(
        config: &RedisConfig,
        scripts: &HashMap<Script, redis::Script>,
    ) -> Result<Self, StartError> {
        let nodes = config.nodes()?;
        let address = nodes
            .iter()
            .map(|node| node.addr().to_string())
            .collect::<Vec<_>>()
            .join(", ");
        let nodes = nodes
            .into_iter()
            .map(|node| node.set_tcp_settings(tcp(config)));
        let wire = async {
            let wire = match config.layout() {
                Layout::Single => single(config, nodes).await?,
                Layout::Cluster => Self::Cluster(cluster(config, nodes).await?),
            };
            Ok(wire)
        };
        let connect = |source| StartError::Connect { address, source };
        let wire = match wire.await {
            Ok(wire) => wire,
            Err(Failed::Here(error)) => return Err(error),
            Err(Failed::There(source)) => return Err(connect(source)),
        };
        match wire.load(scripts).await {
            Ok(()) => Ok(wire),
            Err(source) => Err(connect(source)),
        }
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

    /// Runs a script, in a cluster where its keys are; loads it first where Redis has forgotten it.
    pub(super) async fn invoke(&self, invocation: &ScriptInvocation<'_>) -> RedisResult<Value> {
        match self {
            Self::Single(connection) => invocation.invoke_async(&mut connection.clone()).await,
            Self::Cluster(connection) => invocation.invoke_async(&mut connection.clone()).await,
        }
    }

    /// Runs a command, in a cluster where its key is.
    pub(super) async fn tell(&self, command: &Cmd) -> RedisResult<()> {
        match self {
            Self::Single(connection) => command.exec_async(&mut connection.clone()).await,
            Self::Cluster(connection) => command.exec_async(&mut connection.clone()).await,
        }
    }

    /// Asks every master; all have to answer.
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

/// A wire that cannot be.
enum Failed {
    /// By what is configured.
    Here(StartError),
    /// By what is there.
    There(redis::RedisError),
}

impl From<redis::RedisError> for Failed {
    fn from(error: redis::RedisError) -> Self {
        Self::There(error)
    }
}

async fn single(
    config: &RedisConfig,
    mut nodes: impl Iterator<Item = ConnectionInfo>,
) -> Result<Wire, Failed> {
    let Some(node) = nodes.next() else {
        return Err(Failed::Here(StartError::NoAddress));
    };
    let client = config.client_to(node).map_err(Failed::Here)?;
    let limits = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(config.connect_timeout))
        .set_response_timeout(Some(config.response_timeout))
        .set_number_of_retries(RECONNECTS_MAX)
        .set_max_delay(RECONNECT_PAUSE_MAX)
        .set_pipeline_buffer_size(PIPELINE_COMMANDS_MAX);
    let connection = ConnectionManager::new_with_config(client, limits).await?;
    Ok(Wire::Single(connection))
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

/// A peer that vanished without a word is noticed by the unanswered bytes, not after the quarter of an hour
/// that the kernel would wait.
fn tcp(config: &RedisConfig) -> TcpSettings {
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(10))
        .with_interval(Duration::from_secs(5));
    TcpSettings::default()
        .set_nodelay(true)
        .set_keepalive(keepalive)
        .set_user_timeout(config.response_timeout.saturating_mul(5))
}
