//! The section `[traces]` as traces take it, and what it must keep to.

use std::time::Duration;

use secrecy::ExposeSecret;

use super::Traces;
use crate::runtime::trace::{self, TraceConfig};
use crate::runtime::web;

impl Traces {
    /// What traces are told; none, if nothing is to be traced.
    #[must_use]
    pub fn settings(&self) -> Option<TraceConfig> {
        Some(TraceConfig {
            endpoint: self.endpoint.clone()?,
            headers: self.headers.clone(),
            timeout: self.timeout,
            sample: self.sample,
            service_name: self.service_name.clone(),
        })
    }

    /// Requires what must hold.
    pub(super) fn check(&self, require: &mut impl FnMut(bool, &str)) {
        require(
            self.endpoint
                .as_ref()
                .is_none_or(|endpoint| web::address(endpoint).is_some()),
            "traces.endpoint: must be the address that takes OTLP over HTTP, as http://127.0.0.1:4318/v1/traces",
        );
        require(
            (0.0..=1.0).contains(&self.sample),
            "traces.sample: must be between 0 and 1",
        );
        require(
            (Duration::from_millis(100)..=Duration::from_secs(60)).contains(&self.timeout),
            "traces.timeout: must be between 100ms and 60s",
        );
        require(
            (1..=100).contains(&self.service_name.len()),
            "traces.service_name: must have between 1 and 100 bytes",
        );
        if let Some(headers) = &self.headers {
            let text = headers.expose_secret();
            require(
                trace::pairs(text).count() == text.split(',').count()
                    && trace::pairs(text).all(|(name, value)| is_header(&name, &value)),
                "traces.headers: must be NAME=VALUE with commas between them",
            );
        }
    }
}

fn is_header(name: &str, value: &str) -> bool {
    hyper::header::HeaderName::try_from(name).is_ok()
        && hyper::header::HeaderValue::try_from(value).is_ok()
}
