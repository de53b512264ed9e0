//! Admission by the engine in this process: the script that Redis runs, too.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use firstcome::domain::{CampaignId, Mark, ParticipationId, State};
use firstcome::parts::gate::{Admission, Entrant, Gate, Key, ScriptGate, Settings};
use firstcome::runtime::clock::Clock;
use futures_util::FutureExt;
use micro::{SIZES, user};

const CAMPAIGN: CampaignId = CampaignId(1);
/// Longer than a benchmark.
const LEASE: Duration = Duration::from_secs(3_600);
/// After so many the gate begins anew: its state stays as large as in a lively sale, and memory bounded.
const ENTRANTS_MAX: u64 = 20_000;

/// Admits those who have not asked before, all of them with a yes.
pub fn admission(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("gate/admit");
    group.measurement_time(Duration::from_secs(10));
    for size in SIZES {
        group.throughput(Throughput::Elements(size));
        group.bench_function(size.to_string(), |bencher| {
            bencher.iter_custom(|calls| admit(calls, size));
        });
    }
    group.finish();
}

/// How long so many calls take, with `size` entrants each.
fn admit(calls: u64, size: u64) -> Duration {
    let mut spent = Duration::ZERO;
    let mut left = calls;
    while left > 0 {
        let calls = left.min(ENTRANTS_MAX / size);
        left -= calls;
        let gate = empty_gate();
        let lines: Vec<Vec<Entrant>> = (0..calls).map(|call| line(call * size, size)).collect();
        let mut answers = Vec::new();
        let began = Instant::now();
        for entrants in &lines {
            answers = black_box(at_once(gate.admit(CAMPAIGN, black_box(entrants), LEASE)));
        }
        spent += began.elapsed();
        let yes = |answer: &Admission| matches!(answer, Admission::Admitted(_));
        assert!(answers.iter().all(yes), "{answers:?}");
    }
    spent
}

fn line(first: u64, size: u64) -> Vec<Entrant> {
    let ranks = first..first + size;
    let entrant = |rank| Entrant {
        participation: ParticipationId::generate(),
        user: user(rank),
        quantity: 1,
        key: Key::None,
    };
    ranks.map(entrant).collect()
}

fn empty_gate() -> ScriptGate {
    let gate = ScriptGate::in_process(Clock::System, "bench").unwrap();
    let settings = Settings {
        epoch: 1,
        version: 1,
        state: State::Open,
        opens_at: None,
        closes_at: None,
        total_stock: None,
        per_user_limit: 1,
        max_quantity: 1,
    };
    let rebuilt = gate.rebuild(CAMPAIGN, 1, &settings, &[], Mark::default());
    assert!(at_once(rebuilt), "the gate takes its state");
    gate
}

/// What a call answers that waits for nobody, as those of the engine in this process.
fn at_once<T, E: std::fmt::Debug>(call: impl Future<Output = Result<T, E>>) -> T {
    let answer = call.now_or_never();
    answer.expect("nothing to wait for").unwrap()
}
