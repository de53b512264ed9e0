//! Queries of the server that runs the scripts: its memory, settings, version and clock.

use super::{Engine, OnFailure, ScriptGate};
use crate::domain::Timestamp;
use crate::parts::gate::{GateError, ServerMemory};

impl ScriptGate {
    /// Whether other processes use the same gate.
    #[must_use]
    pub const fn is_shared(&self) -> bool {
        matches!(self.engine, Engine::Redis(_))
    }

    /// Memory of the server, or of the fullest node of a cluster; the embedded gate has none.
    pub async fn server_memory(&self) -> Result<Option<ServerMemory>, GateError> {
        match &self.engine {
            Engine::Redis(redis) => {
                let memory = self.behind_breaker(OnFailure::Open, redis.memory());
                memory.await.map(Some)
            }
            Engine::InProcess(_) => Ok(None),
        }
    }

    /// A setting of the server; the embedded gate has none.
    pub async fn server_setting(&self, name: &str) -> Result<Option<String>, GateError> {
        match &self.engine {
            Engine::Redis(redis) => redis.server_setting(name).await,
            Engine::InProcess(_) => Ok(None),
        }
    }

    /// The version of the server; the embedded gate has none.
    pub async fn server_version(&self) -> Result<Option<String>, GateError> {
        match &self.engine {
            Engine::Redis(redis) => redis.version().await.map(Some),
            Engine::InProcess(_) => Ok(None),
        }
    }

    /// The clocks of the servers; of the embedded gate, this process's clock.
    pub async fn server_times(&self) -> Result<Vec<Timestamp>, GateError> {
        match &self.engine {
            Engine::Redis(redis) => redis.times().await,
            Engine::InProcess(_) => Ok(Vec::new()),
        }
    }
}
