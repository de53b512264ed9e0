//! Questions about the server that runs the scripts: its memory, settings, version and clock.

use super::{Engine, OnFailure, ScriptGate};
use crate::domain::Timestamp;
use crate::parts::gate::{GateError, ServerMemory};

impl ScriptGate {
    /// Memory of the server that holds the state, of a cluster that of the fullest node; the embedded one
    /// has none of its own.
    pub async fn server_memory(&self) -> Result<Option<ServerMemory>, GateError> {
        match &self.engine {
            Engine::Redis(redis) => {
                let memory = self.behind_breaker(OnFailure::Open, redis.memory());
                memory.await.map(Some)
            }
            Engine::InProcess(_) => Ok(None),
        }
    }

    /// One of the settings of the server that holds the state; the embedded one has none.
    pub async fn server_setting(&self, name: &str) -> Result<Option<String>, GateError> {
        match &self.engine {
            Engine::Redis(redis) => redis.server_setting(name).await,
            Engine::InProcess(_) => Ok(None),
        }
    }

    /// The version of the server that holds the state; the embedded one has none.
    pub async fn server_version(&self) -> Result<Option<String>, GateError> {
        match &self.engine {
            Engine::Redis(redis) => redis.version().await.map(Some),
            Engine::InProcess(_) => Ok(None),
        }
    }

    /// The clocks of the servers that hold the state; the embedded one has this process's.
    pub async fn server_times(&self) -> Result<Vec<Timestamp>, GateError> {
        match &self.engine {
            Engine::Redis(redis) => redis.times().await,
            Engine::InProcess(_) => Ok(Vec::new()),
        }
    }
}
