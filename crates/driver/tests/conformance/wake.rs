//! Waking and waiting.

use std::time::{Duration, Instant};

use hostler_driver::{Completion, Driver};

use crate::bench::{Bench, config};
use crate::world::World;

crate::rules!(
    another_thread_ends_the_wait,
    many_wakes_are_one,
    a_wake_after_each_report_is_reported,
    no_timeout_means_no_wait,
);

/// These need a kernel.
mod on_the_kernel {
    use super::*;

    crate::kernel_rules!(the_wait_ends_with_its_timeout,);
}

fn another_thread_ends_the_wait<W: World>(mut bench: Bench<W>) {
    let waker = bench.driver.waker();
    let start = Instant::now();
    let thread = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        waker.wake();
    });
    let mut out = Vec::new();
    while out.is_empty() {
        bench.driver.turn(None, &mut out).expect("turn");
    }
    assert!(matches!(out[..], [Completion::Woken]), "{out:?}");
    assert!(start.elapsed() >= Duration::from_millis(50));
    thread.join().expect("thread");
    bench.ends_clean();
}

fn many_wakes_are_one<W: World>(mut bench: Bench<W>) {
    let waker = bench.driver.waker();
    for _ in 0..1000 {
        waker.wake();
    }
    assert!(matches!(bench.next(), Completion::Woken));
    bench.quiet();
    bench.ends_clean();
}

fn a_wake_after_each_report_is_reported<W: World>(mut bench: Bench<W>) {
    let waker = bench.driver.waker();
    for _ in 0..100 {
        waker.wake();
        assert!(matches!(bench.next(), Completion::Woken));
    }
    bench.quiet();
    bench.ends_clean();
}

fn the_wait_ends_with_its_timeout<W: World>(mut bench: Bench<W>) {
    let start = Instant::now();
    let mut out = Vec::new();
    bench.driver.turn(Some(Duration::from_millis(30)), &mut out).expect("turn");
    assert!(start.elapsed() >= Duration::from_millis(29), "{:?}", start.elapsed());
    assert!(out.is_empty());
    bench.ends_clean();
}

fn no_timeout_means_no_wait<W: World>(mut bench: Bench<W>) {
    let start = Instant::now();
    let mut out = Vec::new();
    for _ in 0..100 {
        bench.driver.turn(Some(Duration::ZERO), &mut out).expect("turn");
    }
    assert!(start.elapsed() < Duration::from_millis(500), "{:?}", start.elapsed());
    bench.ends_clean();
}
