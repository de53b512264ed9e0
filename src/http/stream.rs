//! The live status of a campaign as server-sent events: one each second, for a bounded number of streams, until the
//! client disconnects or the service stops.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use poem::Request;
use poem::web::sse::Event;
use poem_openapi::payload::EventStream;

use super::App;
use super::concurrency_limit::Permit;
use super::policy::StatusReads;
use super::problem::Problem;
use super::request_context::RequestContext;
use super::views::StatusView;
use crate::domain::CampaignId;
use crate::runtime::telemetry::cause;

/// Silence after which a comment is sent, so that a disconnected client is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

pub type StatusStream = EventStream<BoxStream<'static, StatusView>>;

struct Subscriber {
    app: Arc<App>,
    campaign: CampaignId,
    reads: Arc<StatusReads>,
    last: Option<u64>,
    /// Released when the client disconnects.
    _permit: Permit,
}

/// Starts a stream, within the limits on live streams.
pub fn status_stream(
    app: &Arc<App>,
    request: &Request,
    campaign: CampaignId,
) -> Result<StatusStream, Problem> {
    let policy = RequestContext::policy(request)?;
    let permit = policy.streams.acquire_for(request)?;
    let subscriber = Subscriber {
        app: Arc::clone(app),
        campaign,
        reads: Arc::clone(&policy.status_reads),
        last: None,
        _permit: permit,
    };
    let events = stream::unfold(subscriber, next_status)
        .take_until(policy.stop.clone().cancelled_owned())
        .boxed();
    Ok(EventStream::new(events)
        .to_event(|status| match serde_json::to_string(&status) {
            Ok(json) => Event::message(json).event_type("status"),
            Err(_) => Event::message("{}").event_type("status"),
        })
        .keep_alive(KEEP_ALIVE))
}

/// Waits for the next second with a status. While the store does not answer there are no events; the stream ends
/// when the campaign is deleted.
async fn next_status(mut subscriber: Subscriber) -> Option<(StatusView, Subscriber)> {
    loop {
        let second = subscriber.reads.next_second(subscriber.last).await;
        subscriber.last = Some(second);
        let (app, campaign) = (&subscriber.app, subscriber.campaign);
        let read = || async {
            let status = app.status.of(campaign).await;
            status.map(|status| status.map(|status| StatusView::of(status, app.clock.now())))
        };
        let reads = &subscriber.reads;
        match Box::pin(reads.read_in_second(campaign, second, read)).await {
            Ok(Some(status)) => return Some((status, subscriber)),
            Ok(None) => return None,
            Err(error) => {
                tracing::debug!(
                    error = cause(&error),
                    "cannot read the status for a live stream"
                );
            }
        }
    }
}
