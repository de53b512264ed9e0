//! The writer behind a gate that admits everything: the database alone enforces the rules.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use firstcome::domain::{
    Campaign, CampaignId, KeyChoice, OutboxEvent, Participation, ParticipationId, RequestedChange,
    Status, StreamId, UserId, UserUnits, to_stored_precision,
};
use firstcome::parts::gate::{
    Admission, Configured, Entrant, Footprint, Gate, GateError, GateState, GivenBack, HeldLease,
    KeyDigest, KeyRefused, Lease, Mark, Return, Settings,
};
use firstcome::parts::store::{
    Applicant, ChangeRequest, Closing, Decision, LogEntry, NewParticipation,
};
use firstcome::runtime::batcher::BatcherConfig;
use firstcome::runtime::clock::Clock;
use firstcome::runtime::retry;
use firstcome::runtime::supervisor::Supervisor;
use firstcome::sale::catalogue::{Catalogue, CatalogueConfig};
use firstcome::sale::group_commit::{
    ChangeOutcome, ChangeResult, CommitJob, CommitResult, DecidedResult, Dependencies,
    NotCommitted, Writer, WriterConfig,
};
use firstcome::sale::relay_hints::RelayHints;
use rand::seq::SliceRandom;
use rand::{SeedableRng, rngs::StdRng};
use tokio::sync::oneshot;

use crate::support::{TestStore, campaign_of, create, mysql, raised, sqlite};

/// Admits everything, and records only the released leases.
#[derive(Default)]
struct YesGate {
    rank: AtomicU64,
    released: AtomicU64,
}

#[async_trait]
impl Gate for YesGate {
    async fn admit(
        &self,
        _: CampaignId,
        entrants: &[Entrant],
        _: Duration,
    ) -> Result<Vec<Admission>, GateError> {
        let lease_until = Clock::System.now();
        Ok(entrants
            .iter()
            .map(|_| {
                let rank = self.rank.fetch_add(1, Ordering::SeqCst) + 1;
                Admission::Admitted(Lease {
                    epoch: 1,
                    rank,
                    remaining: None,
                    lease_until,
                    left: Duration::from_secs(10),
                    not_refused_for: None,
                })
            })
            .collect())
    }

    async fn refuse_key(
        &self,
        _: CampaignId,
        _: KeyDigest,
        _: Duration,
        _: Duration,
    ) -> Result<KeyRefused, GateError> {
        Ok(KeyRefused::Missing)
    }

    async fn settle(&self, _: CampaignId, _: &[ParticipationId]) -> Result<(), GateError> {
        Ok(())
    }

    async fn release(
        &self,
        _: CampaignId,
        _: u64,
        ids: &[ParticipationId],
    ) -> Result<u64, GateError> {
        let count = u64::try_from(ids.len()).unwrap();
        self.released.fetch_add(count, Ordering::SeqCst);
        Ok(count)
    }

    async fn give_back(&self, _: CampaignId, _: u64, _: &[Return]) -> Result<GivenBack, GateError> {
        Ok(GivenBack::Behind)
    }

    async fn configure(&self, _: CampaignId, _: &Settings) -> Result<Configured, GateError> {
        Ok(Configured::Applied)
    }

    async fn rebuild(
        &self,
        _: CampaignId,
        _: u64,
        _: &Settings,
        _: &[UserUnits],
        _: Mark,
    ) -> Result<bool, GateError> {
        Ok(true)
    }

    async fn expired(&self, _: CampaignId, _: usize) -> Result<Vec<HeldLease>, GateError> {
        Ok(Vec::new())
    }

    async fn release_listed(&self, _: CampaignId, leases: &[HeldLease]) -> Result<u64, GateError> {
        Ok(leases.len() as u64)
    }

    fn owner(&self) -> &'static str {
        "0"
    }

    async fn leases_of(
        &self,
        _: CampaignId,
        _: &[String],
        _: u64,
        _: usize,
    ) -> Result<Vec<HeldLease>, GateError> {
        Ok(Vec::new())
    }

    async fn advance(
        &self,
        _: CampaignId,
        _: u64,
        _: u64,
        _: &[String],
    ) -> Result<bool, GateError> {
        Ok(true)
    }

    async fn inspect(&self, _: CampaignId) -> Result<Option<GateState>, GateError> {
        Ok(None)
    }

    async fn footprint(&self, _: CampaignId) -> Result<Footprint, GateError> {
        Err(GateError::Away)
    }

    async fn ping(&self) -> Result<(), GateError> {
        Ok(())
    }
}

fn config() -> WriterConfig {
    WriterConfig {
        batchers: BatcherConfig {
            count: 2,
            capacity: 1_000,
            batch_max: 64,
            wait_max: Duration::from_secs(60),
            pace: Duration::ZERO,
        },
        transaction_max: Duration::from_secs(1),
        unleased_max: Duration::from_secs(1),
        contention: retry::Policy {
            initial: Duration::from_millis(5),
            ..retry::Policy::default()
        },
    }
}

fn job(campaign: &Arc<Campaign>, user: i64, rank: u64, lease_left: Duration) -> CommitJob {
    let now = to_stored_precision(Clock::System.now());
    let participation = Participation {
        id: ParticipationId::generate(),
        campaign_id: campaign.id,
        user_id: UserId(user),
        quantity: 1,
        rank,
        status: Status::Confirmed,
        remaining: None,
        amount: None,
        payment_reference: None,
        expires_at: None,
        created_at: now,
    };
    let event = OutboxEvent::about(&participation, 1, KeyChoice::Participation, now);
    CommitJob {
        campaign: Arc::clone(campaign),
        epoch: campaign.gate_epoch,
        lease_deadline: Instant::now() + lease_left,
        new_participation: NewParticipation {
            participation,
            idempotency_key: None,
            event,
            hold_until: None,
            by: None,
            order: None,
        },
    }
}

fn writer_on(test: &TestStore, gate: &Arc<YesGate>) -> (Supervisor, Writer) {
    let supervisor = Supervisor::new(Duration::from_secs(10));
    let dependencies = Dependencies {
        store: test.store.clone(),
        gate: gate.clone(),
        catalogue: Catalogue::new(test.store.clone(), CatalogueConfig::default()),
        hints: RelayHints::default(),
        clock: Clock::System,
        spawner: supervisor.spawner(),
        key_choice: KeyChoice::Participation,
    };
    let writer = Writer::start(&supervisor.spawner(), dependencies, config());
    (supervisor, writer)
}

/// Some users participate twice, all concurrently. Returns the results, and the calls of the gate.
async fn rush(
    test: &TestStore,
    stock: u64,
    users: i64,
    twice: i64,
) -> (Vec<CommitResult>, Arc<YesGate>, Arc<Campaign>) {
    let seed: u64 = rand::random();
    eprintln!("seed {seed}");
    let campaign = Arc::new(create(&test.store, campaign_of(Some(stock))).await);
    let gate = Arc::new(YesGate::default());
    let (_supervisor, writer) = writer_on(test, &gate);
    let mut line: Vec<i64> = (1..=users).chain(1..=twice).collect();
    line.shuffle(&mut StdRng::seed_from_u64(seed));
    let jobs = line.into_iter().map(|user| {
        let (writer, campaign, gate) = (writer.clone(), Arc::clone(&campaign), Arc::clone(&gate));
        async move {
            let rank = gate.rank.fetch_add(1, Ordering::SeqCst) + 1;
            commit(&writer, job(&campaign, user, rank, Duration::from_secs(30))).await
        }
    });
    (futures_util::future::join_all(jobs).await, gate, campaign)
}

/// Commits in the next group, and waits for the result.
async fn commit(writer: &Writer, job: CommitJob) -> CommitResult {
    queue_commit(writer, job).await.unwrap()
}

fn queue_commit(writer: &Writer, job: CommitJob) -> oneshot::Receiver<CommitResult> {
    let (place, _occupancy) = writer.reserve(job.campaign.id).unwrap();
    let (reply, result) = oneshot::channel();
    place.commit(job, Box::new(|result| reply.send(result).unwrap()));
    result
}

fn queue_cancellation(
    writer: &Writer,
    campaign: CampaignId,
    id: ParticipationId,
) -> impl Future<Output = ChangeResult> + use<> {
    let (place, _occupancy) = writer.reserve(campaign).unwrap();
    let change_request = ChangeRequest {
        id,
        requested: RequestedChange::Cancel {
            suspended_until: None,
        },
        traceparent: None,
        by: None,
    };
    place.change(change_request)
}

fn queue_applicant(
    writer: &Writer,
    campaign: CampaignId,
    user: i64,
    key: Option<&str>,
) -> oneshot::Receiver<DecidedResult> {
    let (place, _occupancy) = writer.reserve(campaign).unwrap();
    let (reply, result) = oneshot::channel();
    let applicant = Applicant {
        participation: ParticipationId::generate(),
        user: UserId(user),
        quantity: 1,
        idempotency_key: key.map(str::to_owned),
        traceparent: None,
        since: Instant::now(),
        by: None,
        order: None,
    };
    let closing = Closing::For(Duration::from_secs(60));
    place.admit(
        applicant,
        closing,
        Box::new(|result| reply.send(result).unwrap()),
    );
    result
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_that_admits_everything_cannot_oversell() {
    for test in [sqlite().await, mysql().await] {
        let (results, gate, campaign) = rush(&test, 50, 100, 40).await;
        let count =
            |wanted: fn(&CommitResult) -> bool| results.iter().filter(|one| wanted(one)).count();
        let committed = count(Result::is_ok);
        let refused =
            count(|result| matches!(result, Err(NotCommitted::SoldOut | NotCommitted::Conflict)));
        assert_eq!((committed, refused), (50, 90), "{results:?}");
        assert_eq!(
            gate.released.load(Ordering::SeqCst),
            90,
            "each refused unit went back once"
        );
        let counts = test.store.counts(campaign.id).await.unwrap();
        assert_eq!(
            (counts.units, counts.events, counts.users_over_limit),
            (50, 50, 0)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_row_fails_alone() {
    for test in [sqlite().await, mysql().await] {
        let (results, _, _) = rush(&test, 1_000, 200, 1).await;
        let refused = results
            .iter()
            .filter(|result| **result == Err(NotCommitted::Conflict))
            .count();
        let committed = results.iter().filter(|result| result.is_ok()).count();
        assert_eq!((committed, refused), (200, 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_committed_under_an_expired_lease() {
    let test = sqlite().await;
    let campaign = Arc::new(create(&test.store, campaign_of(Some(5))).await);
    let gate = Arc::new(YesGate::default());
    let (_supervisor, writer) = writer_on(&test, &gate);
    let late = job(&campaign, 1, 1, Duration::from_millis(500));
    let result = commit(&writer, late).await;
    assert_eq!(result, Err(NotCommitted::Unavailable));
    assert_eq!(gate.released.load(Ordering::SeqCst), 1);
    assert_eq!(
        test.store.counts(campaign.id).await.unwrap().participations,
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_invalidates_older_leases() {
    let test = sqlite().await;
    let campaign = Arc::new(create(&test.store, campaign_of(Some(5))).await);
    raised(&test.store, campaign.id).await;
    let gate = Arc::new(YesGate::default());
    let (_supervisor, writer) = writer_on(&test, &gate);
    let old = job(&campaign, 1, 1, Duration::from_secs(30));
    let result = commit(&writer, old).await;
    assert_eq!(result, Err(NotCommitted::StaleEpoch));
}

/// A campaign of ten units with cancellable participations of users 1 to 4.
async fn four_committed(
    test: &TestStore,
    writer: &Writer,
) -> (Arc<Campaign>, Vec<ParticipationId>) {
    let mut new = campaign_of(Some(10));
    new.cancellable = true;
    let campaign = Arc::new(create(&test.store, new).await);
    let mut ids = Vec::new();
    for user in 1..=4 {
        let job = job(
            &campaign,
            user,
            user.unsigned_abs(),
            Duration::from_secs(30),
        );
        ids.push(job.new_participation.participation.id);
        commit(writer, job).await.unwrap();
    }
    (campaign, ids)
}

/// On one thread all items that are queued without a wait are one batch.
#[tokio::test]
async fn entries_and_changes_of_one_batch_are_committed_together_and_bad_ones_fail_alone() {
    for test in [sqlite().await, mysql().await] {
        let (_supervisor, writer) = writer_on(&test, &Arc::new(YesGate::default()));
        let (campaign, ids) = four_committed(&test, &writer).await;
        let id = campaign.id;
        let before = test.store.campaign(id).await.unwrap().unwrap();
        let user = |user, rank| job(&campaign, user, rank, Duration::from_secs(30));
        let new = queue_commit(&writer, user(5, 5));
        let twice = queue_commit(&writer, user(2, 6));
        let other = queue_commit(&writer, user(6, 7));
        let cancelled = queue_cancellation(&writer, id, ids[0]);
        let again = queue_cancellation(&writer, id, ids[0]);
        let unknown = queue_cancellation(&writer, id, ParticipationId::generate());
        assert!(new.await.unwrap().is_ok());
        assert_eq!(twice.await.unwrap(), Err(NotCommitted::Conflict));
        assert!(other.await.unwrap().is_ok());
        assert!(matches!(cancelled.await, Ok(ChangeOutcome::Changed(_))));
        assert!(matches!(again.await, Ok(ChangeOutcome::Unchanged(..))));
        assert!(matches!(unknown.await, Ok(ChangeOutcome::NotFound)));
        let counts = test.store.counts(id).await.unwrap();
        assert_eq!(
            (counts.units, counts.participations, counts.events),
            (5, 6, 7)
        );
        let after = test.store.campaign(id).await.unwrap().unwrap();
        assert_eq!((before.committed_units, after.committed_units), (4, 5));
        let sequences: Vec<u64> = sequences(&test, id).await;
        assert_eq!(
            sequences,
            (1..=7).collect::<Vec<_>>(),
            "a stream without gaps"
        );
    }
}

#[tokio::test]
async fn a_group_whose_epoch_is_over_still_makes_its_changes() {
    for test in [sqlite().await, mysql().await] {
        let (_supervisor, writer) = writer_on(&test, &Arc::new(YesGate::default()));
        let (campaign, ids) = four_committed(&test, &writer).await;
        raised(&test.store, campaign.id).await;
        let old = queue_commit(&writer, job(&campaign, 5, 5, Duration::from_secs(30)));
        let cancelled = queue_cancellation(&writer, campaign.id, ids[1]);
        assert_eq!(old.await.unwrap(), Err(NotCommitted::StaleEpoch));
        assert!(matches!(cancelled.await, Ok(ChangeOutcome::Changed(_))));
    }
}

/// It also closes the gate: earlier admissions of the gate are void, in the same batch.
#[tokio::test]
async fn the_database_path_shares_the_batch_with_the_gate_and_with_changes() {
    for test in [sqlite().await, mysql().await] {
        let (_supervisor, writer) = writer_on(&test, &Arc::new(YesGate::default()));
        let (campaign, ids) = four_committed(&test, &writer).await;
        let id = campaign.id;
        let new = queue_applicant(&writer, id, 5, None);
        let twice = queue_applicant(&writer, id, 4, None);
        let cancelled = queue_cancellation(&writer, id, ids[0]);
        let admitted = queue_commit(&writer, job(&campaign, 9, 9, Duration::from_secs(30)));
        let decision = |decided: DecidedResult| decided.unwrap().decision;
        assert!(matches!(
            decision(new.await.unwrap()),
            Decision::Accepted(_)
        ));
        assert!(matches!(
            decision(twice.await.unwrap()),
            Decision::Refused { .. }
        ));
        assert!(matches!(cancelled.await, Ok(ChangeOutcome::Changed(_))));
        assert_eq!(admitted.await.unwrap(), Err(NotCommitted::StaleEpoch));
        let counts = test.store.counts(id).await.unwrap();
        assert_eq!(
            (counts.units, counts.participations, counts.events),
            (4, 5, 6)
        );
        assert_eq!(sequences(&test, id).await, (1..=6).collect::<Vec<_>>());
    }
}

/// The sequences of a campaign's events.
async fn sequences(test: &TestStore, id: CampaignId) -> Vec<u64> {
    let entries = test
        .store
        .read_stream(StreamId::of_participations(id), 0, 100)
        .await
        .unwrap();
    let sequence = |entry: &LogEntry| match entry {
        LogEntry::Event(event) => event.sequence,
        other => panic!("{other:?}"),
    };
    entries.iter().map(sequence).collect()
}

#[tokio::test]
async fn a_flood_of_entries_leaves_places_for_changes() {
    let test = sqlite().await;
    let (_supervisor, writer) = writer_on(&test, &Arc::new(YesGate::default()));
    let campaign = CampaignId(1);
    let flood: Vec<_> = std::iter::from_fn(|| writer.reserve(campaign)).collect();
    assert!(!flood.is_empty() && !writer.has_place(campaign));
    assert!(writer.has_place_for_change(campaign));
    let changes: Vec<_> = std::iter::from_fn(|| writer.reserve_change(campaign)).collect();
    assert_eq!(changes.len(), flood.len(), "their number has a bound, too");
}
