//! Lists of those who may take part in a campaign: read from a file, put in force whole, asked, and cleared
//! away. A campaign without a list costs nothing here. A list that is in force never changes, so what was once
//! found of a user in it stays right for as long as the campaign names that list.
//!
//! The store is the truth. Users are looked for there many at a time, by one worker for each lane, so that a
//! rush takes a few connections and not one for each of those who come; what was found is kept, up to a bound.

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
        /// Lines of a file
        users_max: u64 = 10_000_000, in 1..=1_000_000_000;
        /// Users written in one transaction
        batch_rows_max: usize = 1_000, in 1..=10_000;
        /// Answers in the cache, some 100 bytes each
        answers_max: u64 = 100_000, in 1..=100_000_000;
        /// Users that wait to be looked up, in each of two batchers; more are answered 503
        waiting_max: usize = 4_096, in 1..=1_000_000;
    }
    beside {
        /// How long the next piece of a file may take to come: `http.body_timeout`.
        piece_timeout: Duration = Duration::from_secs(5);
        /// How long a replaced list is kept: longer than a replica may still use it.
        grace: Duration = Duration::from_secs(60);
    }
}

/// Workers that look users up.
const LANES: usize = 2;
/// Users looked for in one statement.
const LOOKUP_ROWS_MAX: usize = 256;

/// Why a list was not replaced or removed.
#[derive(Debug, thiserror::Error)]
pub enum AllowListError {
    /// There is no such campaign.
    #[error("find the campaign")]
    Unknown,
    /// It is archived, and stays as it is.
    #[error("the campaign is archived")]
    Archived,
    /// The campaign has no list.
    #[error("find the campaign's list")]
    NoList,
    /// As many imports are under way as may be.
    #[error("too many imports are under way")]
    Busy,
    /// A line of the file cannot be read.
    #[error("read the file: line {}", .0.line)]
    Line(BadLine),
    /// The file names nobody.
    #[error("read the file: it names nobody")]
    Empty,
    /// The file has more lines than are read.
    #[error("read the file: it has more than {0} lines")]
    TooMany(u64),
    /// The file did not come whole.
    #[error("read the file")]
    Cut(#[source] std::io::Error),
    /// The next piece of the file did not come in time.
    #[error("read the file: it did not come in time")]
    Slow,
    /// Another import of the same list began meanwhile, or the list was removed.
    #[error("another import of the list was begun meanwhile")]
    Superseded,
    /// The store failed. Whether the list is in force is told by asking.
    #[error("write the list")]
    Store(#[from] StoreError),
    /// The service stops.
    #[error("bring the import to its end")]
    Stopped,
}

/// Why it is not known whether a user is in a list.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// The queue is full.
    #[error("the queue for reading the list is full")]
    Full,
    /// The store did not answer.
    #[error("look at the list")]
    Unavailable,
}

struct Asking {
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
    seats: Arc<Semaphore>,
    answers: Answers,
    lanes: Batchers<Asking>,
    /// Said when a list is over.
    over: Arc<Notify>,
}

impl AllowLists {
    /// Starts to answer who is in which list, and to clear away those that are over.
    #[must_use]
    pub fn start(
        spawner: &Spawner,
        store: Store,
        catalogue: Catalogue,
        config: AllowListConfig,
    ) -> Self {
        let answers = Answers::new(config.answers_max);
        let over = Arc::new(Notify::new());
        let lanes = BatcherConfig {
            count: LANES,
            capacity: config.waiting_max,
            batch_max: LOOKUP_ROWS_MAX,
            wait_max: Duration::ZERO,
            pace: Duration::ZERO,
        };
        let (looked_at, kept) = (store.clone(), answers.clone());
        let lanes = Batchers::start(
            spawner,
            "allow_list.lane",
            Stage::Admission,
            lanes,
            move |batch| look_for_all(looked_at.clone(), kept.clone(), batch),
        );
        sweep::start(spawner, store.clone(), config.grace, Arc::clone(&over));
        Self {
            store,
            catalogue,
            spawner: spawner.clone(),
            seats: Arc::new(Semaphore::new(config.imports_max)),
            config,
            answers,
            lanes,
            over,
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
        let asking = Asking { list, user, reply };
        let queued = self.lanes.offer(campaign, asking);
        queued.map_err(|_| LookupError::Full)?;
        answer.await.ok().flatten().ok_or(LookupError::Unavailable)
    }

    /// The list of a campaign that is in force.
    pub async fn of(&self, campaign: CampaignId) -> Result<AllowList, AllowListError> {
        if self.store.campaign(campaign).await?.is_none() {
            return Err(AllowListError::Unknown);
        }
        let list = self.store.allow_list(campaign).await?;
        list.ok_or(AllowListError::NoList)
    }

    /// Takes a campaign's list away: it is open to everybody again.
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

    /// Every replica goes by what the campaign names now, and what it named before can go.
    async fn changed(&self, campaign: CampaignId) {
        self.catalogue.invalidate(campaign).await;
        self.over.notify_one();
    }
}

async fn look_for_all(store: Store, answers: Answers, batch: Vec<Asking>) {
    let mut lists: HashMap<AllowListId, Vec<Asking>> = HashMap::new();
    for asking in batch {
        lists.entry(asking.list).or_default().push(asking);
    }
    for (list, group) in lists {
        let users: Vec<UserId> = group.iter().map(|asking| asking.user).collect();
        let found = store.allowed(list, &users).await;
        let found: Option<HashSet<UserId>> = match found {
            Ok(found) => Some(found.into_iter().collect()),
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    users = users.len(),
                    "a list was not looked at"
                );
                None
            }
        };
        for asking in group {
            let is_in = found.as_ref().map(|found| found.contains(&asking.user));
            if let Some(is_in) = is_in {
                answers.insert((list, asking.user), is_in);
            }
            // Who asked may have gone.
            asking.reply.send(is_in).ok();
        }
    }
}

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
