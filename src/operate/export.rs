//! Participations of a campaign as CSV, however many there are: pages read by place in line, written to
//! bytes and handed over through a bounded channel, so that whoever reads slowly makes the reading slow
//! and nothing is gathered anywhere. It must not hold a snapshot: the database would keep all that is
//! deleted for as long as the slowest reader takes.
//!
//! Promised is each participation that was committed when the export began, once, in order of rank, as it
//! stands when its page is read. What is committed meanwhile has a higher rank and is not in it, but for
//! those that were under way and have a lower one. The end is said: a stream that stops without it was cut
//! off, and fails.

mod record;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::Stream;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::domain::metric;
use crate::domain::{CampaignId, Status};
use crate::parts::store::{RankPage, Ranked, Store, StoreError};
use crate::runtime::metrics::RegisterMetric;
use crate::runtime::retry::{Policy, retry};
use crate::runtime::settings::settings;
use crate::runtime::supervisor::{Spawner, Stage};

settings! {
    /// `[export]`: participations as CSV.
    #[derive(Copy)]
    ExportConfig in "export" {
        /// Exports at the same time; more are answered 503
        concurrent_max: usize = 4, in 1..=1_000;
        /// Participations that are read at once
        piece_rows: u32 = 1_000, in 1..=10_000;
        /// Pieces that wait for the client: the memory of one export
        pieces_max: usize = 4, in 1..=1_000;
    }
}

/// Why there is no export, or not the whole of it.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// There is no such campaign.
    #[error("find the campaign")]
    Unknown,
    /// As many are under way as may be.
    #[error("too many exports are under way")]
    Busy,
    /// The store failed.
    #[error("read participations")]
    Store(#[from] StoreError),
    /// The service stops, or the export has died.
    #[error("bring the export to its end")]
    CutOff,
}

/// Exports participations.
#[derive(Clone)]
pub struct Exporter {
    store: Store,
    spawner: Spawner,
    seats: Arc<Semaphore>,
    config: ExportConfig,
    rows: Counter,
}

impl Exporter {
    /// Exports from this store.
    #[must_use]
    pub fn new(store: Store, spawner: Spawner, config: ExportConfig) -> Self {
        Self {
            store,
            spawner,
            seats: Arc::new(Semaphore::new(config.concurrent_max)),
            config,
            rows: Counter::default(),
        }
    }

    /// Makes its number visible.
    pub fn register(&self, registry: &mut Registry) {
        registry.add(&metric::EXPORT_ROWS, self.rows.clone());
    }

    /// Participations read for exports so far.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows.get()
    }

    /// Begins an export of a campaign's participations, or of those in one status.
    pub async fn participations(
        &self,
        campaign: CampaignId,
        status: Option<Status>,
    ) -> Result<Pieces, ExportError> {
        let seat = Arc::clone(&self.seats).try_acquire_owned();
        let seat = seat.map_err(|_| ExportError::Busy)?;
        if self.store.campaign(campaign).await?.is_none() {
            return Err(ExportError::Unknown);
        }
        let last = self.store.last_rank(campaign).await?;
        let page = RankPage {
            campaign,
            status,
            after: 0,
            last,
            rows_max: self.config.piece_rows,
        };
        let (sender, receiver) = mpsc::channel(self.config.pieces_max);
        let exporter = self.clone();
        let stop = self.spawner.token(Stage::Http);
        self.spawner
            .detach("export.produce", Stage::Http, async move {
                let produced = exporter.produce(page, &sender);
                // Whoever stops has no time to wait for a slow reader: the end is not said.
                if let Some(Err(error)) = stop.run_until_cancelled(produced).await {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        campaign.id = %campaign,
                        "an export breaks off"
                    );
                }
            });
        Ok(Pieces {
            receiver,
            is_over: false,
            _seat: seat,
        })
    }

    /// Hands over one piece after another until the last, or until nobody takes them any more.
    async fn produce(
        &self,
        mut page: RankPage,
        to: &mpsc::Sender<Piece>,
    ) -> Result<(), ExportError> {
        let mut bytes = record::header();
        while page.after < page.last {
            // A place comes before the page: what nobody has room for is not read.
            let Ok(place) = to.reserve().await else {
                return Ok(());
            };
            let read = self.read(&page).await?;
            page.after = read.upto;
            if !read.rows.is_empty() {
                self.rows.inc_by(read.rows.len() as u64);
                record::append(&mut bytes, &read.rows);
                place.send(Piece::Bytes(std::mem::take(&mut bytes)));
            }
        }
        if !bytes.is_empty() {
            to.send(Piece::Bytes(bytes)).await.ok();
        }
        to.send(Piece::End).await.ok();
        Ok(())
    }

    async fn read(&self, page: &RankPage) -> Result<Ranked, StoreError> {
        let read = || self.store.participations_by_rank(page);
        retry(&Policy::BRIEF, StoreError::verdict, read).await
    }
}

/// What the producer says. That it says nothing more is no end.
enum Piece {
    Bytes(Vec<u8>),
    End,
}

/// The bytes of an export, piece by piece. Without an end, the last item is an error.
pub struct Pieces {
    receiver: mpsc::Receiver<Piece>,
    /// Whether there is nothing more to say.
    is_over: bool,
    /// Given back when the client has all of it, or leaves.
    _seat: OwnedSemaphorePermit,
}

impl Stream for Pieces {
    type Item = Result<Vec<u8>, io::Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        self.receiver.poll_recv(cx).map(|piece| {
            if let Some(Piece::Bytes(bytes)) = piece {
                return Some(Ok(bytes));
            }
            self.is_over = true;
            match piece {
                Some(_) => None,
                None => Some(Err(io::Error::other(ExportError::CutOff))),
            }
        })
    }
}

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
