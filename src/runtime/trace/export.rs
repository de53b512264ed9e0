//! Sends spans to the collector: the HTTP client of the `OpenTelemetry` exporter. The thread of the exporter blocks until
//! the response arrives; the request runs on the service's runtime.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, Response};
use opentelemetry_http::{HttpClient, HttpError};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use tokio::runtime::Handle;

use crate::runtime::metrics::{Labels, registers};
use crate::runtime::web::{self, WebClient};

/// Largest response of a collector that is read.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Exports by result.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts(Family<Labels<1>, Counter>);

registers!(pub(super) Counts: 0 = TRACE_EXPORTS);

impl Counts {
    fn count(&self, answer: &Result<Response<Bytes>, HttpError>) {
        let result = match answer {
            Ok(answer) if answer.status().is_success() => "sent",
            Ok(_) => "refused",
            Err(_) => "failed",
        };
        self.0.get_or_create(&[("result", result)]).inc();
    }
}

/// Sends batches of spans.
#[derive(Clone)]
pub(super) struct Sender {
    runtime: Handle,
    client: WebClient<Full<Bytes>>,
    timeout: Duration,
    counts: Counts,
}

impl fmt::Debug for Sender {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Sender").finish_non_exhaustive()
    }
}

impl Sender {
    pub(super) fn new(
        runtime: Handle,
        timeout: Duration,
        counts: Counts,
    ) -> Result<Self, rustls::Error> {
        Ok(Self {
            runtime,
            client: web::client(web::public_roots())?,
            timeout,
            counts,
        })
    }

    async fn send(self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let exchange = async {
            let answer = self.client.request(request.map(Full::new)).await?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await?;
            Ok(Response::from_parts(head, body.to_bytes()))
        };
        tokio::time::timeout(self.timeout, exchange).await?
    }
}

#[async_trait]
impl HttpClient for Sender {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        // The exporter's thread has no runtime; it waits for the task, and ends with the process.
        let answer = self.runtime.spawn(self.clone().send(request)).await?;
        self.counts.count(&answer);
        if let Err(error) = &answer {
            tracing::debug!(%error, "the collector did not accept spans");
        }
        answer
    }
}
