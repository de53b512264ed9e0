//! The problems of parts that do not answer. The cause is logged here and never sent to the client.

use std::sync::Arc;

use super::{Problem, part_unavailable};
use crate::operate::system::TopicsError;
use crate::parts::gate::GateError;
use crate::parts::store::StoreError;
use crate::runtime::telemetry::cause;

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        Self::from(&error)
    }
}

impl From<Arc<StoreError>> for Problem {
    fn from(error: Arc<StoreError>) -> Self {
        Self::from(&*error)
    }
}

impl From<&StoreError> for Problem {
    fn from(error: &StoreError) -> Self {
        tracing::warn!(error = cause(error), "cannot read or write the store");
        part_unavailable("store")
    }
}

impl From<Arc<TopicsError>> for Problem {
    fn from(error: Arc<TopicsError>) -> Self {
        tracing::warn!(
            error = cause(&*error),
            "cannot read the topics from the brokers"
        );
        part_unavailable("broker")
    }
}

impl From<GateError> for Problem {
    fn from(error: GateError) -> Self {
        // The gate logs once that it does not answer.
        if !matches!(error, GateError::Away) {
            tracing::warn!(error = cause(&error), "cannot call the gate");
        }
        part_unavailable("gate")
    }
}
