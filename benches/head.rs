//! Parsing of heads, per head.

#![allow(missing_docs, reason = "a bench")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use hostler_protocol::http1::{HeadLimits, HeadScanner, RequestHead, ResponseHead};

mod common;

use common::{BROWSER, MINIMAL, NODE_ANSWER, TWO_FIELDS};

fn request_heads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("request_head");
    let limits = HeadLimits::default();
    for (name, bytes) in [("minimal", MINIMAL), ("2_fields", TWO_FIELDS), ("browser", BROWSER)] {
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        let mut head = RequestHead::new();
        group.bench_function(name, |bencher| {
            bencher.iter(|| head.parse(black_box(bytes), &limits).expect("valid"));
        });
    }
    group.bench_function("browser_scan_only", |bencher| {
        bencher.iter(|| HeadScanner::new().scan(black_box(BROWSER)).expect("valid"));
    });
    group.finish();
}

fn response_heads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("response_head");
    group.throughput(Throughput::Bytes(NODE_ANSWER.len() as u64));
    let mut head = ResponseHead::new();
    group.bench_function("node", |bencher| {
        bencher.iter(|| {
            head.parse(black_box(NODE_ANSWER), false, &HeadLimits::RESPONSE).expect("valid")
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = common::criterion();
    targets = request_heads, response_heads
}
criterion_main!(benches);
