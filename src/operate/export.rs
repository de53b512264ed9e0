//! Exports the participations of a campaign as CSV, in constant memory: reads pages in order of rank, and passes them
//! through a bounded channel, so a slow reader slows the reads. It must not hold a snapshot, because then the database
//! could purge nothing until the slowest reader ends.
//!
//! The export has each participation committed before it began, once, in order of rank, in the state at the read of its
//! page. Later participations have higher ranks and are not included, except those with a lower rank whose commit was
//! under way. The stream ends with an explicit marker; without it the export was truncated, and fails.

mod record;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::Stream;
use prometheus_client::metrics::counter::Counter;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::domain::{CampaignId, Status};
use crate::parts::store::{RankPage, Ranked, Store, StoreError};
use crate::runtime::metrics::registers;
use crate::runtime::retry::{Policy, retry};
use crate::runtime::settings::settings;
use crate::runtime::supervisor::{Spawner, Stage};
use crate::runtime::telemetry::cause;

pub use record::line as csv_line;

settings! {
    /// `[export]`: participations as CSV.
    #[derive(Copy)]
    ExportConfig in "export" {
        /// Exports at the same time; more get 503
        concurrent_max: usize = 4, in 1..=1_000;
        /// Participations read by one statement
        piece_rows: u32 = 1_000, in 1..=10_000;
        /// Pieces that may wait for the client; they determine the memory of one export
        pieces_max: usize = 4, in 1..=1_000;
    }
}

/// The export failed.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// There is no such campaign.
    #[error("find the campaign")]
    Unknown,
    /// The maximum number of exports is running.
    #[error("too many exports are running")]
    Busy,
    /// The store failed.
    #[error("read participations")]
    Store(#[from] StoreError),
    /// The service is stopping, or the export failed.
    #[error("finish the export: it was cut off")]
    CutOff,
}

/// Exports participations.
#[derive(Clone)]
pub struct Exporter {
    store: Store,
    spawner: Spawner,
    permits: Arc<Semaphore>,
    config: ExportConfig,
    rows: Counter,
}

registers!(pub Exporter: rows = EXPORT_ROWS);

impl Exporter {
    /// Exports from this store.
    #[must_use]
    pub fn new(store: Store, spawner: Spawner, config: ExportConfig) -> Self {
        Self {
            store,
            spawner,
            permits: Arc::new(Semaphore::new(config.concurrent_max)),
            config,
            rows: Counter::default(),
        }
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
        let permit = Arc::clone(&self.permits).try_acquire_owned();
        let permit = permit.map_err(|_| ExportError::Busy)?;
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
                // At a stop there is no time to wait for a slow reader: the end marker is not sent.
                if let Some(Err(error)) = stop.run_until_cancelled(produced).await {
                    tracing::warn!(
                        error = cause(&error),
                        campaign.id = %campaign,
                        "an export failed"
                    );
                }
            });
        Ok(Pieces {
            receiver,
            is_over: false,
            _permit: permit,
        })
    }

    /// Passes on all pieces, until the receiver is dropped.
    async fn produce(
        &self,
        mut page: RankPage,
        to: &mpsc::Sender<Piece>,
    ) -> Result<(), ExportError> {
        let mut bytes = record::header();
        while page.after < page.last {
            // Reserves capacity before the read of the page.
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

/// A message of the producer. A closed channel is no end.
enum Piece {
    Bytes(Vec<u8>),
    End,
}

/// The bytes of an export in pieces. If the export is cut off, the last item is an error.
pub struct Pieces {
    receiver: mpsc::Receiver<Piece>,
    /// Whether the last item was returned.
    is_over: bool,
    /// Released at the end of the stream.
    _permit: OwnedSemaphorePermit,
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
