//! Group commit into `SQLite` in a file: one transaction with its units, rows and events.

use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput};
use firstcome::domain::{Campaign, KeyChoice};
use firstcome::parts::store::{
    Entries, EntriesResult, Group, GroupOutcome, NewParticipation, Raise, Raised, Store,
    StoreConfig,
};
use firstcome::runtime::clock::Clock;
use micro::{SIZES, endless, new_participation};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

/// Commits participations that nothing stands in the way of.
pub fn group_commit(criterion: &mut Criterion) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let mut group = criterion.benchmark_group("writer/commit");
    // Each takes as long as the disk.
    group.sample_size(20);
    group.measurement_time(Duration::from_secs(10));
    for size in SIZES {
        let folder = TempDir::new().unwrap();
        let (store, campaign) = runtime.block_on(open(&folder));
        let mut rank = 0;
        group.throughput(Throughput::Elements(size));
        group.bench_function(size.to_string(), |bencher| {
            bencher.iter_batched(
                || {
                    let ranks = rank + 1..=rank + size;
                    rank += size;
                    ranks
                        .map(|rank| new_participation(&campaign, rank))
                        .collect()
                },
                |batch| commit(&runtime, &store, &campaign, batch),
                BatchSize::PerIteration,
            );
        });
        runtime.block_on(store.close()).unwrap();
    }
    group.finish();
}

fn commit(
    runtime: &Runtime,
    store: &Store,
    campaign: &Campaign,
    batch: Vec<NewParticipation>,
) -> Vec<NewParticipation> {
    let group = Group {
        campaign: campaign.id,
        entries: Entries::Admitted {
            campaign,
            epoch: campaign.gate_epoch,
            new_participations: batch.iter().collect(),
        },
        change_requests: Vec::new(),
        key_choice: KeyChoice::Participation,
    };
    let outcome = runtime.block_on(store.commit_group(&group)).unwrap();
    assert!(matches!(
        outcome,
        GroupOutcome::Committed(
            EntriesResult::Admitted {
                held_from: None,
                ..
            },
            _
        )
    ));
    batch
}

async fn open(folder: &TempDir) -> (Store, Campaign) {
    let url = format!("sqlite://{}", folder.path().join("bench.db").display());
    let store = Store::connect(&StoreConfig::new(url), Clock::System).await;
    let store = store.unwrap();
    store.migrate().await.unwrap();
    let campaign = store.create_campaign(endless(), None).await.unwrap();
    match store
        .raise_epoch(campaign.id, &Raise::default())
        .await
        .unwrap()
    {
        Raised::To(campaign) => (store, *campaign),
        other => unreachable!("nobody else raises it: {other:?}"),
    }
}
