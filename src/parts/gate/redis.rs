//! Runs the gate's scripts in Redis. Owns the connection and its time limits; knows no rule.

mod config;
mod removal;
mod wire;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use redis::{
    Client, ClientTlsConfig, Cmd, ConnectionInfo, ErrorKind, FromRedisValue, IntoConnectionInfo,
    RedisError, RedisResult, ServerErrorKind, TlsCertificates,
};
use secrecy::ExposeSecret;

pub use self::config::RedisConfig;
use self::wire::Wire;
use super::reply::Reply;
use super::script::Script;
use super::start_error::StartError;
use super::{Admission, GateError, ServerMemory, answers};
use crate::domain::Timestamp;
use crate::runtime::telemetry::cause;

/// How long the key of a ping stays.
const PING_MS: u64 = 10_000;

/// The servers at the addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// One server, or a proxy that behaves like one.
    #[default]
    Single,
    /// Some or all nodes of a Redis Cluster; they report the others.
    Cluster,
}

impl RedisConfig {
    /// A client for each of the addresses.
    pub fn clients(&self) -> Result<Vec<Client>, StartError> {
        let nodes = self.nodes()?.into_iter();
        nodes.map(|node| self.client_to(node)).collect()
    }

    fn nodes(&self) -> Result<Vec<ConnectionInfo>, StartError> {
        let urls = self.urls();
        urls.map(|url| url.into_connection_info().map_err(StartError::Url))
            .collect()
    }

    fn client_to(&self, node: ConnectionInfo) -> Result<Client, StartError> {
        match self.certificates() {
            Some(certificates) => Client::build_with_tls(node, certificates),
            None => Client::open(node),
        }
        .map_err(StartError::Url)
    }

    /// The certificates of encrypted connections; none: connections are not encrypted.
    fn certificates(&self) -> Option<TlsCertificates> {
        let client_tls = match (&self.tls_certificate, &self.tls_key) {
            (Some(certificate), Some(key)) => Some(ClientTlsConfig {
                client_cert: certificate.as_bytes().to_vec(),
                client_key: key.expose_secret().as_bytes().to_vec(),
            }),
            _ => None,
        };
        self.is_encrypted().then(|| TlsCertificates {
            client_tls,
            root_cert: self.tls_ca.as_ref().map(|pem| pem.as_bytes().to_vec()),
        })
    }
}

/// Runs scripts over a connection.
pub(super) struct RedisEngine {
    config: RedisConfig,
    wire: RwLock<Arc<Wire>>,
    scripts: HashMap<Script, redis::Script>,
}

impl RedisEngine {
    /// Connects and loads the scripts, so that errors appear at start.
    pub(super) async fn connect(config: &RedisConfig) -> Result<Self, StartError> {
        let scripts = Script::ALL
            .iter()
            .map(|script| (*script, redis::Script::new(script.source())))
            .collect();
        Ok(Self {
            wire: RwLock::new(Arc::new(Wire::connect(config, &scripts).await?)),
            config: config.clone(),
            scripts,
        })
    }

    /// Replaces the connection. The client replaces a closed connection, but not one that accepts everything and
    /// answers nothing, for example behind a proxy that has lost the server.
    pub(super) async fn replace_connection(&self) {
        let connected = Wire::connect(&self.config, &self.scripts);
        match tokio::time::timeout(self.config.connect_timeout, connected).await {
            Ok(Ok(wire)) => {
                let mut current = self.wire.write().unwrap_or_else(PoisonError::into_inner);
                *current = Arc::new(wire);
            }
            Ok(Err(error)) => {
                tracing::debug!(error = cause(&error), "no new connection to the gate");
            }
            Err(_) => tracing::debug!("no new connection to the gate in time"),
        }
    }

    fn wire(&self) -> Arc<Wire> {
        let wire = self.wire.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&wire)
    }

    /// Runs one script.
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
        read(self.within_time(self.wire().invoke(&invocation)).await?)
    }

    /// Writes a key that expires: a Redis that answers but takes no writes admits nobody. In a cluster every master must
    /// answer, because each has campaigns of its own.
    pub(super) async fn ping(&self, key: &str) -> Result<(), GateError> {
        drop(self.ask_all::<String>(&["PING"]).await?);
        let mut set = redis::cmd("SET");
        set.arg(key).arg("1").arg("PX").arg(PING_MS);
        self.within_time(self.wire().run(&set)).await
    }

    /// A setting of the servers; if masters of a cluster differ, all values.
    pub(super) async fn server_setting(&self, name: &str) -> Result<Option<String>, GateError> {
        let answers: Vec<HashMap<String, String>> = self.ask_all(&["CONFIG", "GET", name]).await?;
        let values = answers.into_iter();
        let values: BTreeSet<String> = values.filter_map(|mut found| found.remove(name)).collect();
        let values: Vec<String> = values.into_iter().collect();
        Ok((!values.is_empty()).then(|| values.join(" or ")))
    }

    /// The server's version; in a cluster the oldest.
    pub(super) async fn version(&self) -> Result<String, GateError> {
        let answers: Vec<String> = self.ask_all(&["INFO", "server"]).await?;
        let versions = answers
            .iter()
            .filter_map(|text| info_field(text, "redis_version"));
        let in_order = |version: &&str| -> Vec<u32> {
            let parts = version.split('.');
            parts.map(|part| part.parse().unwrap_or(0)).collect()
        };
        versions
            .min_by_key(in_order)
            .map(str::to_owned)
            .ok_or_else(|| GateError::Protocol("INFO has no redis_version".to_owned()))
    }

    /// Memory of the fullest node.
    pub(super) async fn memory(&self) -> Result<ServerMemory, GateError> {
        let answers: Vec<String> = self.ask_all(&["INFO", "memory"]).await?;
        let memories = answers.iter().filter_map(|text| {
            let number = |name: &str| -> Option<u64> { info_field(text, name)?.parse().ok() };
            let of_machine = || number("total_system_memory").unwrap_or(u64::MAX);
            Some(ServerMemory {
                used: number("used_memory")?,
                limit: number("maxmemory")
                    .filter(|max| *max > 0)
                    .unwrap_or_else(of_machine),
            })
        });
        memories
            .max_by_key(|memory| {
                u128::from(memory.used) * 1_000_000 / u128::from(memory.limit.max(1))
            })
            .ok_or_else(|| GateError::Protocol("INFO has no used_memory".to_owned()))
    }

    /// The clocks of the servers.
    pub(super) async fn times(&self) -> Result<Vec<Timestamp>, GateError> {
        let answers: Vec<(i64, i64)> = self.ask_all(&["TIME"]).await?;
        let times = answers.into_iter().map(|(seconds, micros)| {
            chrono::DateTime::from_timestamp_micros(seconds * 1_000_000 + micros)
                .ok_or_else(|| GateError::Protocol("TIME has no time".to_owned()))
        });
        times.collect()
    }

    /// Sends a command to every master.
    async fn ask_all<T: FromRedisValue>(&self, words: &[&str]) -> Result<Vec<T>, GateError> {
        let mut command = Cmd::new();
        command.arg(words);
        self.within_time(self.wire().ask_all(command)).await
    }

    /// The connection limits each command; this limits the whole, including reconnecting and reloading, because a
    /// client waits for the answer.
    async fn within_time<T>(
        &self,
        work: impl Future<Output = RedisResult<T>>,
    ) -> Result<T, GateError> {
        match tokio::time::timeout(self.config.response_timeout, work).await {
            Ok(done) => done.map_err(classify),
            Err(elapsed) => Err(GateError::Unavailable(Box::new(elapsed))),
        }
    }
}

/// The value of a field in an answer to `INFO`.
fn info_field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = text.lines();
    let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(value.trim())
}

/// The class of a failure, by type: an error in a script or its reply is a bug; everything else means that Redis
/// cannot serve (away, loading, read-only, out of memory, no permission), and is temporary.
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

/// Parses Redis's reply to the admission of this number of entrants. Public for a benchmark.
pub fn read_admissions(answer: redis::Value, entrants: usize) -> Result<Vec<Admission>, GateError> {
    answers::admissions(read(answer)?, entrants)
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
