//! The response to a rejected participation: most responses of a sale.

use std::hint::black_box;

use criterion::Criterion;
use firstcome::domain::{ParticipationId, Refusal};
use firstcome::http::Problem;

/// Problem documents, from the refusal to the response.
pub fn encoding(criterion: &mut Criterion) {
    let first = ParticipationId::generate();
    let refusals = [Refusal::SoldOut, Refusal::AlreadyParticipated { first }];
    let mut group = criterion.benchmark_group("problem/encode");
    for refusal in refusals {
        group.bench_function(refusal.code(), |bencher| {
            bencher.iter(|| {
                let problem = Problem::rejected(black_box(&refusal), Some(0), None);
                problem.into_answer("01890a5d-ac96-774b-bcce-b302099a8057")
            });
        });
    }
    group.finish();
}
