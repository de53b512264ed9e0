//! Live status as server-sent events: one each second, for a bounded number of listeners, until the
//! listener leaves or the service stops. All listeners tick at the same moments, so that the status of
//! a campaign is read once a second however many are listening.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use moka::future::Cache;
use poem::Request;
use poem::web::sse::Event;
use poem_openapi::payload::EventStream;
use tokio::time::{Instant, sleep_until};

use super::App;
use super::origin::Entry;
use super::per_address::Place;
use super::problem::Problem;
use super::views::StatusView;
use crate::domain::CampaignId;

/// Silence after which a comment is sent, so that a listener who left is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How long what was read in a second is kept: for listeners who are late for it.
const KEPT: Duration = Duration::from_secs(2);

/// The events of one listener.
pub type StatusStream = EventStream<BoxStream<'static, StatusView>>;

/// The seconds that all listeners have in common. Who asks first in one of them reads for all.
pub struct Beats<T> {
    origin: Instant,
    read: Cache<(CampaignId, u64), Option<T>>,
}

impl<T: Clone + Send + Sync + 'static> Beats<T> {
    /// Beats from now on, for so many campaigns at most.
    pub fn new(campaigns_max: usize) -> Self {
        let campaigns_max = u64::try_from(campaigns_max).unwrap_or(u64::MAX);
        Self {
            origin: Instant::now(),
            // What is kept longer than its second is counted, too.
            read: Cache::builder()
                .max_capacity(campaigns_max.saturating_mul(4))
                .time_to_live(KEPT)
                .build(),
        }
    }

    /// Waits until the second after `last` begins, and answers which one it is by now: a slow listener
    /// gets the next status, not all those it missed.
    async fn after(&self, last: Option<u64>) -> u64 {
        if let Some(last) = last {
            sleep_until(self.origin + Duration::from_secs(last + 1)).await;
        }
        self.origin.elapsed().as_secs()
    }

    /// What was read of a campaign in this second.
    async fn in_second<E: Send + Sync + 'static>(
        &self,
        campaign: CampaignId,
        second: u64,
        read: impl Future<Output = Result<Option<T>, E>>,
    ) -> Result<Option<T>, Arc<E>> {
        self.read.try_get_with((campaign, second), read).await
    }
}

struct Listener {
    app: Arc<App>,
    campaign: CampaignId,
    beats: Arc<Beats<StatusView>>,
    last: Option<u64>,
    /// Given back when the listener leaves.
    _place: Place,
}

/// Starts the events of one listener, if there is a place.
pub fn status_stream(
    app: &Arc<App>,
    request: &Request,
    campaign: CampaignId,
) -> Result<StatusStream, Problem> {
    let policy = &Entry::of(request).ok_or_else(Problem::internal)?.policy;
    let place = policy.streams.take_for(request)?;
    let listener = Listener {
        app: Arc::clone(app),
        campaign,
        beats: Arc::clone(&policy.beats),
        last: None,
        _place: place,
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
        let second = listener.beats.after(listener.last).await;
        listener.last = Some(second);
        let (app, campaign) = (&listener.app, listener.campaign);
        let read = async {
            let status = app.status.of(campaign).await;
            status.map(|status| status.map(|status| StatusView::at(status, app.clock.now())))
        };
        let beats = &listener.beats;
        match Box::pin(beats.in_second(campaign, second, read)).await {
            Ok(Some(status)) => return Some((status, listener)),
            Ok(None) => return None,
            Err(error) => tracing::debug!(
                error = &error as &dyn std::error::Error,
                "read the status for a live stream"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use futures_util::future::join_all;

    use super::*;

    /// Fifty listeners, each come at another moment of a second.
    #[tokio::test(start_paused = true)]
    async fn one_reading_a_second_feeds_every_listener() {
        let beats = Beats::new(8);
        let reads = AtomicU64::new(0);
        let listeners = (0..50).map(|number| async move {
            tokio::time::sleep(Duration::from_millis(number * 37)).await;
        });
        let heard = listeners.map(|comes| async {
            comes.await;
            let mut heard = Vec::new();
            let mut last = None;
            for _ in 0..10 {
                let second = beats.after(last).await;
                last = Some(second);
                let read = async {
                    // Long enough for the others to ask meanwhile.
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    Ok::<_, std::convert::Infallible>(Some(reads.fetch_add(1, Ordering::Relaxed)))
                };
                let told = beats.in_second(CampaignId(1), second, read).await;
                heard.push((second, told.unwrap().unwrap()));
            }
            heard
        });
        let heard: Vec<(u64, u64)> = join_all(heard).await.into_iter().flatten().collect();
        assert_eq!(heard.len(), 500);
        let seconds: std::collections::BTreeMap<u64, u64> = heard.iter().copied().collect();
        for (second, told) in &heard {
            assert_eq!(seconds.get(second), Some(told), "all are told the same");
        }
        assert_eq!(reads.load(Ordering::Relaxed), seconds.len() as u64);
        assert!(seconds.len() <= 12, "{seconds:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_listener_that_is_late_misses_seconds_and_hears_none_twice() {
        let beats = Beats::<u64>::new(8);
        let first = beats.after(None).await;
        tokio::time::sleep(Duration::from_millis(3_500)).await;
        let second = beats.after(Some(first)).await;
        let third = beats.after(Some(second)).await;
        assert_eq!((first, second, third), (0, 3, 4));
    }
}
