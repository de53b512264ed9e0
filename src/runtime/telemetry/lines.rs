//! Adds the request to log lines. A span for each request would do the same, but costs a microsecond even for requests
//! that log nothing (docs/decisions/0009).

use std::fmt;
use std::future::Future;

use poem::http::HeaderValue;
use serde::Serialize;
use tokio::task::futures::TaskLocalFuture;
use tokio::task_local;
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

task_local! {
    static REQUEST: RequestLabels;
}

/// The request that a task handles, as log lines name it.
#[derive(Clone, Debug)]
pub struct RequestLabels {
    /// Its id.
    pub request_id: HeaderValue,
    /// Its trace, if it has one.
    pub trace_id: Option<String>,
}

impl RequestLabels {
    /// Adds this request to the log lines of `work`.
    pub fn scope<F: Future>(self, work: F) -> TaskLocalFuture<Self, F> {
        REQUEST.scope(self, work)
    }
}

/// The request in a JSON line, under the name of a span.
#[derive(Serialize)]
struct Span<'a> {
    name: &'static str,
    #[serde(rename = "request.id")]
    request_id: &'a str,
    #[serde(rename = "trace.id", skip_serializing_if = "Option::is_none")]
    trace_id: Option<&'a str>,
}

/// Formats lines with another formatter, and adds the request.
pub(super) struct Lines<F> {
    inner: F,
    close: fn(&str, &Span<'_>) -> String,
}

impl<F> Lines<F> {
    /// Lines for people: the request is at the end.
    pub(super) fn text(inner: F) -> Self {
        let close = with_text;
        Self { inner, close }
    }

    /// Lines that are JSON objects: the request is a member, `span`.
    pub(super) fn json(inner: F) -> Self {
        let close = with_json;
        Self { inner, close }
    }
}

fn with_text(line: &str, span: &Span<'_>) -> String {
    let mut line = format!("{line} request.id={}", span.request_id);
    if let Some(trace) = span.trace_id {
        line.push_str(" trace.id=");
        line.push_str(trace);
    }
    line
}

fn with_json(line: &str, span: &Span<'_>) -> String {
    match (line.strip_suffix('}'), serde_json::to_string(span)) {
        (Some(open), Ok(span)) => format!(r#"{open},"span":{span}}}"#),
        _ => line.to_owned(),
    }
}

impl<S, N, F> FormatEvent<S, N> for Lines<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let Ok(labels) = REQUEST.try_with(Clone::clone) else {
            return self.inner.format_event(context, writer, event);
        };
        let mut line = String::new();
        self.inner
            .format_event(context, Writer::new(&mut line), event)?;
        let span = Span {
            name: "http.answer",
            request_id: labels.request_id.to_str().unwrap_or_default(),
            trace_id: labels.trace_id.as_deref(),
        };
        writeln!(writer, "{}", (self.close)(line.trim_end(), &span))
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use serde_json::Value;
    use tracing_subscriber::fmt::MakeWriter;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Page {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl io::Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Page {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    fn labels(trace: Option<&str>) -> RequestLabels {
        RequestLabels {
            request_id: HeaderValue::from_static("r-1"),
            trace_id: trace.map(str::to_owned),
        }
    }

    #[tokio::test]
    async fn a_json_log_line_has_the_request_id_as_a_member() {
        let page = Page::default();
        let layer = tracing_subscriber::fmt::layer().with_writer(page.clone());
        let layer = layer.json().flatten_event(true);
        let registry = tracing_subscriber::registry().with(layer.map_event_format(Lines::json));
        let subscribed = tracing::subscriber::set_default(registry);
        let work = async { tracing::info!(part = "store", "away") };
        labels(Some("t-1")).scope(work).await;
        tracing::info!("of no request");
        drop(subscribed);
        let text = page.text();
        let lines: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let [of_request, of_none] = &lines[..] else {
            panic!("{text}");
        };
        assert_eq!(of_request["message"], "away");
        assert_eq!(of_request["part"], "store");
        assert_eq!(of_request["span"]["request.id"], "r-1");
        assert_eq!(of_request["span"]["trace.id"], "t-1");
        assert!(of_none.get("span").is_none(), "{text}");
    }

    #[tokio::test]
    async fn a_text_log_line_ends_with_the_request_id() {
        let page = Page::default();
        let layer = tracing_subscriber::fmt::layer()
            .with_writer(page.clone())
            .with_ansi(false);
        let registry = tracing_subscriber::registry().with(layer.map_event_format(Lines::text));
        let subscribed = tracing::subscriber::set_default(registry);
        labels(None).scope(async { tracing::info!("away") }).await;
        drop(subscribed);
        let text = page.text();
        assert!(text.ends_with("away request.id=r-1\n"), "{text:?}");
    }
}
