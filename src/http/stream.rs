//! Live status as server-sent events: one each second, for a bounded number of listeners, until the
//! listener leaves or the service stops.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use poem::web::sse::Event;
use poem_openapi::payload::EventStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::App;
use super::problem::{Problem, busy};
use super::settings::Policy;
use super::views::StatusView;
use crate::domain::CampaignId;

/// Time between two events.
const PERIOD: Duration = Duration::from_secs(1);

/// Silence after which a comment is sent, so that a listener who left is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The events of one listener.
pub type StatusStream = EventStream<BoxStream<'static, StatusView>>;

struct Listener {
    app: Arc<App>,
    campaign: CampaignId,
    ticks: Interval,
    /// Given back when the listener leaves.
    _seat: OwnedSemaphorePermit,
}

/// Starts the events of one listener, if there is a seat.
pub fn status_stream(
    app: &Arc<App>,
    policy: &Policy,
    campaign: CampaignId,
) -> Result<StatusStream, Problem> {
    let seat = Arc::clone(&policy.stream_seats)
        .try_acquire_owned()
        .map_err(|_| busy())?;
    let mut ticks = interval(PERIOD);
    // A slow listener gets the next status, not all those it missed.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let listener = Listener {
        app: Arc::clone(app),
        campaign,
        ticks,
        _seat: seat,
    };
    let events = stream::unfold(listener, next_status)
        .take_until(policy.stop.clone().cancelled_owned())
        .boxed();
    Ok(EventStream::new(events)
        .to_event(|status| match serde_json::to_string(&status) {
            Ok(json) => Event::message(json).event_type("status"),
            Err(_) => Event::message("{}").event_type("status"),
        })
        .keep_alive(KEEP_ALIVE))
}

/// Waits for the next second with a status to tell. A store that is away for a moment leaves a gap;
/// a campaign that is gone ends the stream.
async fn next_status(mut listener: Listener) -> Option<(StatusView, Listener)> {
    loop {
        listener.ticks.tick().await;
        match listener.app.status.of(listener.campaign).await {
            Ok(Some(status)) => return Some((status.into(), listener)),
            Ok(None) => return None,
            Err(error) => tracing::debug!(
                error = &error as &dyn std::error::Error,
                "read the status for a live stream"
            ),
        }
    }
}
