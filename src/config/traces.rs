//! `[traces]`: where spans are sent.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use crate::runtime::settings::settings;
use crate::runtime::trace::{self, TraceConfig};
use crate::runtime::web;

settings! {
    /// `[traces]`: where spans are sent.
    Traces in "traces" {
        /// Receiver of OTLP over HTTP (protobuf): `http://127.0.0.1:4318/v1/traces`, or `https://…`. Without one there
        /// are no traces
        endpoint: Option<String> = None;
        /// Headers for it: `name=value,name=value`
        headers: Option<SecretString> = None;
        /// Fraction of the requests without a trace that begin one
        sample: f64 = 0.01, in 0.0..=1.0;
        /// How long one export may take
        timeout: Duration = Duration::from_secs(5), in Duration::from_millis(100)..=Duration::from_secs(60);
        /// Name of the service in traces
        service_name: String = "firstcome".to_owned();
    }
}

impl Traces {
    /// The configuration of traces; none: there are no traces.
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

    /// Requires what the bounds of single settings do not say.
    pub(super) fn check(&self, require: &mut impl FnMut(bool, &str)) {
        require(
            self.endpoint
                .as_ref()
                .is_none_or(|endpoint| web::address(endpoint).is_some()),
            "traces.endpoint: must be the address of a receiver of OTLP over HTTP, such as http://127.0.0.1:4318/v1/traces",
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
                "traces.headers: must be NAME=VALUE, separated by commas",
            );
        }
    }
}

fn is_header(name: &str, value: &str) -> bool {
    hyper::header::HeaderName::try_from(name).is_ok()
        && hyper::header::HeaderValue::try_from(value).is_ok()
}
