//! One import: reads a file as it arrives, writes it in bounded batches to a new list, and enforces that list in one
//! transaction. If the import ends early, also by a crash, the enforced list stays, and the sweep deletes the
//! written rows.

use std::io;
use std::sync::Arc;

use futures_util::{Stream, StreamExt};

use super::lines::Lines;
use super::{AllowListError, AllowLists};
use crate::domain::{AllowListId, CampaignId, Origin, UserId};
use crate::parts::store::{AllowList, Enforced, StoreError};
use crate::runtime::failpoint;
use crate::runtime::retry::{Policy, retry};
use crate::runtime::supervisor::Stage;
use crate::runtime::telemetry::cause;

/// The parts of a file as they arrive.
pub trait Upload: Stream<Item = Result<Self::Piece, io::Error>> + Send + Unpin {
    /// Some bytes of it.
    type Piece: AsRef<[u8]> + Send;
}

impl<B: AsRef<[u8]> + Send, S> Upload for S
where
    S: Stream<Item = Result<B, io::Error>> + Send + Unpin,
{
    type Piece = B;
}

impl AllowLists {
    /// Replaces the list of a campaign with the users of a file. The file is read as fast as rows are written, and
    /// never held in memory as a whole.
    pub async fn replace(
        &self,
        campaign: CampaignId,
        by: Origin,
        file: &mut impl Upload,
    ) -> Result<AllowList, AllowListError> {
        let permit = Arc::clone(&self.imports).try_acquire_owned();
        let _permit = permit.map_err(|_| AllowListError::Busy)?;
        self.changeable(campaign).await?;
        let actor = by.actor.to_string();
        let begin = || self.store.begin_allow_list(campaign, &actor);
        let list = retry(&Policy::BRIEF, StoreError::verdict, begin).await?;
        if let Err(error) = self.fill(list, file).await {
            if let Err(failure) = self.store.abandon_allow_list(list).await {
                tracing::debug!(
                    error = cause(&failure),
                    "the rows of a failed import are deleted later"
                );
            }
            self.ended.notify_one();
            return Err(error);
        }
        self.enforce(list, campaign, by).await
    }

    async fn fill(&self, list: AllowListId, file: &mut impl Upload) -> Result<(), AllowListError> {
        let (mut lines, mut users, mut count) = (Lines::new(), Vec::new(), 0);
        loop {
            let piece = tokio::time::timeout(self.config.piece_timeout, file.next()).await;
            let is_end = match piece.map_err(|_| AllowListError::Slow)? {
                Some(Ok(piece)) => {
                    let read = lines.read(piece.as_ref(), &mut users);
                    read.map_err(AllowListError::Line)?;
                    false
                }
                Some(Err(error)) => return Err(AllowListError::Cut(error)),
                None => {
                    lines.end(&mut users).map_err(AllowListError::Line)?;
                    true
                }
            };
            while users.len() >= self.config.batch_rows_max || (is_end && !users.is_empty()) {
                let rows = users.len().min(self.config.batch_rows_max);
                let batch: Vec<UserId> = users.drain(..rows).collect();
                count += batch.len() as u64;
                if count > self.config.users_max {
                    return Err(AllowListError::TooMany(self.config.users_max));
                }
                self.add(list, &batch).await?;
            }
            if is_end {
                return if count > 0 {
                    Ok(())
                } else {
                    Err(AllowListError::Empty)
                };
            }
        }
    }

    async fn add(&self, list: AllowListId, batch: &[UserId]) -> Result<(), AllowListError> {
        let add = || self.store.add_to_allow_list(list, batch);
        let is_under_way = retry(&Policy::BRIEF, StoreError::verdict, add).await?;
        failpoint::point("allow_list.filling");
        if is_under_way {
            Ok(())
        } else {
            Err(AllowListError::Superseded)
        }
    }

    /// Continues if the client disconnects.
    async fn enforce(
        &self,
        list: AllowListId,
        campaign: CampaignId,
        by: Origin,
    ) -> Result<AllowList, AllowListError> {
        failpoint::point("allow_list.filled");
        let lists = self.clone();
        let work = async move {
            let enforced = lists.store.enforce_allow_list(list, campaign, &by).await;
            lists.changed(campaign).await;
            enforced
        };
        let spawner = &self.spawner;
        let enforced = spawner.run_detached("allow_list.enforce", Stage::Http, work);
        match enforced.await.ok_or(AllowListError::Stopped)?? {
            Enforced::Done(Some(list)) => Ok(list),
            Enforced::Done(None) | Enforced::Superseded | Enforced::Nothing => {
                Err(AllowListError::Superseded)
            }
            Enforced::Fixed => Err(AllowListError::Archived),
        }
    }
}
