//! The breaker of the gate, for other modules.

use std::time::Duration;

use prometheus_client::registry::Registry;

use super::{Engine, ScriptGate};
use crate::parts::gate::Gate;
use crate::parts::gate::breaker::Breaker;

impl ScriptGate {
    /// The same with a breaker, for a process in which [`ScriptGate::until_back`] runs after each outage.
    /// Without one, every call reaches the engine.
    #[must_use]
    pub fn with_breaker(mut self) -> Self {
        self.breaker = Some(Breaker::default());
        self
    }

    /// Whether the breaker is open: the last call got no answer, and no probe has succeeded since.
    #[must_use]
    pub fn is_away(&self) -> bool {
        self.breaker.as_ref().is_some_and(Breaker::is_open)
    }

    /// How often the breaker has opened.
    #[must_use]
    pub fn outages(&self) -> u64 {
        self.breaker.as_ref().map_or(0, Breaker::outages)
    }

    /// Registers the breaker's metrics.
    pub fn register(&self, registry: &mut Registry) {
        if let Some(breaker) = &self.breaker {
            breaker.register(registry);
        }
    }

    /// Waits until the breaker is open.
    pub async fn until_away(&self) {
        match &self.breaker {
            Some(breaker) => breaker.until_open().await,
            None => std::future::pending().await,
        }
    }

    /// Probes the gate, with this pause between two probes, until one succeeds; then closes the breaker.
    pub async fn until_back(&self, pause: Duration) {
        while self.ping().await.is_err() {
            tokio::time::sleep(pause).await;
            self.replace_connection().await;
        }
        if let Some(breaker) = &self.breaker {
            breaker.close();
        }
    }

    async fn replace_connection(&self) {
        match &self.engine {
            Engine::Redis(redis) => redis.replace_connection().await,
            Engine::InProcess(_) => {}
        }
    }
}
