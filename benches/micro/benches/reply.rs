//! Reading what Redis answers to the admission script.

use criterion::{BatchSize, Criterion, Throughput};
use firstcome::parts::gate::{Admission, read_admissions};
use micro::SIZES;
use redis::Value;

/// Reads answers that are all a yes.
pub fn reading(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("gate/read");
    for size in SIZES {
        let entrants = usize::try_from(size).unwrap();
        let answer = Value::Array((1..=size).map(admitted).collect());
        let read = read_admissions(answer.clone(), entrants).unwrap();
        let yes = |admission: &Admission| matches!(admission, Admission::Admitted(_));
        assert!(read.iter().all(yes), "{read:?}");
        group.throughput(Throughput::Elements(size));
        group.bench_function(size.to_string(), |bencher| {
            bencher.iter_batched(
                || answer.clone(),
                |answer| read_admissions(answer, entrants),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

/// An admission as it comes over the wire.
fn admitted(rank: u64) -> Value {
    let lease = format!("3:{rank}:1790000000000000:30000000");
    let fields = ["ADMITTED", "99744", &lease];
    let text = |field: &str| Value::BulkString(field.as_bytes().to_vec());
    Value::Array(fields.into_iter().map(text).collect())
}
