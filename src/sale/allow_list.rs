//! Allow lists: the users who may participate in a campaign. A list is imported from a file, enforced as a whole,
//! read, and deleted after it is replaced. A campaign without a list costs nothing here. An enforced list never
//! changes, so a cached answer stays correct as long as the campaign has that list.
//!
//! The store is authoritative. Batchers look users up, so a rush of users needs a few connections, not one per user.

mod import;
mod lines;
mod sweep;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use tokio::sync::{Notify, Semaphore, oneshot};

pub use self::import::Upload;
pub use self::lines::BadLine;
use crate::domain::{AllowListId, CampaignId, Origin, State, UserId};
use crate::parts::store::{AllowList, Enforced, Store, StoreError};
use crate::runtime::batcher::{BatcherConfig, Batchers};
use crate::runtime::settings::settings;
use crate::runtime::supervisor::{Spawner, Stage};
use crate::runtime::telemetry::cause;
use crate::sale::catalogue::Catalogue;

settings! {
    /// `[allowlist]`: allow-lists.
    #[derive(Copy)]
    AllowListConfig in "allowlist" {
        /// Imports at the same time, on each replica; more are answered 503
        imports_max: usize = 2, in 1..=100;
        /// How long one import may take, in place of `http.request_timeout`
        import_timeout: Duration = Duration::from_secs(600),
            in Duration::from_secs(1)..=Duration::from_secs(86_400);
        /// Maximum number of lines of a file
        users_max: u64 = 10_000_000, in 1..=1_000_000_000;
        /// Users written in one transaction
        batch_rows_max: usize = 1_000, in 1..=10_000;
        /// Results of look-ups in the cache, some 100 bytes each
        answers_max: u64 = 100_000, in 1..=100_000_000;
        /// Users that wait to be looked up, in each of two batchers; more are answered 503
        waiting_max: usize = 4_096, in 1..=1_000_000;
    }
    beside {
        /// Longest wait for the next part of a file: `http.body_timeout`.
        piece_timeout: Duration = Duration::from_secs(5);
        /// How long a replaced list is kept: longer than replicas may still use it.
        grace: Duration = Duration::from_secs(60);
    }
}

/// Batchers that look users up.
const BATCHERS: usize = 2;
/// Users looked up in one statement.
const LOOKUP_ROWS_MAX: usize = 256;

/// Why a list was not replaced or removed.
#[derive(Debug, thiserror::Error)]
pub enum AllowListError {
    /// There is no such campaign.
    #[error("find the campaign")]
    Unknown,
    /// The campaign is archived, and cannot be changed.
    #[error("the campaign is archived")]
    Archived,
    /// The campaign has no list.
    #[error("find the campaign's list")]
    NoList,
    /// The maximum number of imports is running.
    #[error("too many imports are running")]
    Busy,
    /// A line of the file cannot be read.
    #[error("read the file: line {}", .0.line)]
    Line(BadLine),
    /// The file has no users.
    #[error("read the file: it has no users")]
    Empty,
    /// The file has too many lines.
    #[error("read the file: it has more than {0} lines")]
    TooMany(u64),
    /// The upload ended early.
    #[error("read the file")]
    Cut(#[source] std::io::Error),
    /// The upload was too slow.
    #[error("read the file: the upload is too slow")]
    Slow,
    /// Another import of the same list began meanwhile, or the list was removed.
    #[error("another import of the list began meanwhile")]
    Superseded,
    /// The store failed. Read the list to learn whether it is enforced.
    #[error("write the list")]
    Store(#[from] StoreError),
    /// The service stops.
    #[error("finish the import: the service stops")]
    Stopped,
}

/// Why it is not known whether a user is in a list.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// The queue is full.
    #[error("the queue for reading the list is full")]
    Full,
    /// The store did not answer.
    #[error("read the list")]
    Unavailable,
}

struct LookupRequest {
    list: AllowListId,
    user: UserId,
    reply: oneshot::Sender<Option<bool>>,
}

type Answers = Cache<(AllowListId, UserId), bool>;

/// The lists.
#[derive(Clone)]
pub struct AllowLists {
    store: Store,
    catalogue: Catalogue,
    spawner: Spawner,
    config: AllowListConfig,
    imports: Arc<Semaphore>,
    answers: Answers,
    batchers: Batchers<LookupRequest>,
    /// Notified when a list is replaced or removed.
    ended: Arc<Notify>,
}

impl AllowLists {
    /// Starts the lookups, and the deletion of replaced lists.
    #[must_use]
    pub fn start(
        spawner: &Spawner,
        store: Store,
        catalogue: Catalogue,
        config: AllowListConfig,
    ) -> Self {
        let answers = Answers::new(config.answers_max);
        let ended = Arc::new(Notify::new());
        let bounds = BatcherConfig {
            count: BATCHERS,
            capacity: config.waiting_max,
            batch_max: LOOKUP_ROWS_MAX,
            wait_max: Duration::ZERO,
            pace: Duration::ZERO,
        };
        let parts = (store.clone(), answers.clone());
        let batchers = Batchers::start(
            spawner,
            "allow_list.batch",
            Stage::Admission,
            bounds,
            move |batch| look_up_all(parts.clone(), batch),
        );
        sweep::start(spawner, store.clone(), config.grace, Arc::clone(&ended));
        Self {
            store,
            catalogue,
            spawner: spawner.clone(),
            imports: Arc::new(Semaphore::new(config.imports_max)),
            config,
            answers,
            batchers,
            ended,
        }
    }

    /// Whether a user is in a campaign's list.
    pub async fn has(
        &self,
        campaign: CampaignId,
        list: AllowListId,
        user: UserId,
    ) -> Result<bool, LookupError> {
        if let Some(known) = self.answers.get(&(list, user)) {
            return Ok(known);
        }
        let (reply, answer) = oneshot::channel();
        let request = LookupRequest { list, user, reply };
        let queued = self.batchers.offer(campaign, request);
        queued.map_err(|_| LookupError::Full)?;
        answer.await.ok().flatten().ok_or(LookupError::Unavailable)
    }

    /// The enforced list of a campaign.
    pub async fn enforced(&self, campaign: CampaignId) -> Result<AllowList, AllowListError> {
        if self.store.campaign(campaign).await?.is_none() {
            return Err(AllowListError::Unknown);
        }
        let list = self.store.allow_list(campaign).await?;
        list.ok_or(AllowListError::NoList)
    }

    /// Removes a campaign's list: the campaign is open to everybody again.
    pub async fn remove(&self, campaign: CampaignId, by: &Origin) -> Result<(), AllowListError> {
        self.changeable(campaign).await?;
        let removed = self.store.remove_allow_list(campaign, by).await;
        self.changed(campaign).await;
        match removed? {
            Enforced::Done(_) => Ok(()),
            Enforced::Nothing | Enforced::Superseded => Err(AllowListError::NoList),
            Enforced::Fixed => Err(AllowListError::Archived),
        }
    }

    async fn changeable(&self, campaign: CampaignId) -> Result<(), AllowListError> {
        match self.store.campaign(campaign).await? {
            None => Err(AllowListError::Unknown),
            Some(campaign) if campaign.state == State::Archived => Err(AllowListError::Archived),
            Some(_) => Ok(()),
        }
    }

    /// Notifies the replicas, and the deletion of the previous list.
    async fn changed(&self, campaign: CampaignId) {
        self.catalogue.invalidate(campaign).await;
        self.ended.notify_one();
    }
}

async fn look_up_all((store, answers): (Store, Answers), batch: Vec<LookupRequest>) {
    let mut lists: HashMap<AllowListId, Vec<LookupRequest>> = HashMap::new();
    for request in batch {
        lists.entry(request.list).or_default().push(request);
    }
    for (list, group) in lists {
        let users: Vec<UserId> = group.iter().map(|request| request.user).collect();
        let found = store.allowed(list, &users).await;
        let found: Option<HashSet<UserId>> = match found {
            Ok(found) => Some(found.into_iter().collect()),
            Err(error) => {
                tracing::warn!(
                    error = cause(&error),
                    users = users.len(),
                    "users were not looked up in an allow list"
                );
                None
            }
        };
        for request in group {
            let is_in = found.as_ref().map(|found| found.contains(&request.user));
            if let Some(is_in) = is_in {
                answers.insert((list, request.user), is_in);
            }
            // The caller may be disconnected.
            request.reply.send(is_in).ok();
        }
    }
}

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
