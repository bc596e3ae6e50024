//! `cargo bench`: the time of each case, by Criterion.
//!
//! Owns: how time is measured. Must never know: what is measured; that is `cases`.

#![allow(missing_docs, reason = "a bench")]

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};

mod cases;

use cases::Amount;

/// As in the shipped binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn time(criterion: &mut Criterion) {
    for case in cases::all() {
        let (group, name) = case.name.split_once('/').expect("group/name");
        let mut group = criterion.benchmark_group(group);
        match case.amount {
            Amount::One => {}
            Amount::Bytes(bytes) => drop(group.throughput(Throughput::Bytes(bytes as u64))),
            Amount::Elements(count) => drop(group.throughput(Throughput::Elements(count as u64))),
        }
        let name = name.to_owned();
        // Only what is chosen on the command line is set up.
        let mut case = Some(case);
        let mut iteration = None;
        group.bench_function(name, |bencher| {
            let iteration = iteration.get_or_insert_with(|| case.take().expect("once").prepare());
            bencher.iter(&mut *iteration);
        });
        group.finish();
    }
}

/// Short: figures that differ by a few per cent are not what these are for; `count.rs` is.
fn short() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(900))
        .without_plots()
}

criterion_group! {
    name = benches;
    config = short();
    targets = time
}
criterion_main!(benches);
