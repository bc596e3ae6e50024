//! More and fewer workers under load: nobody notices.

use hostler_protocol::control::WorkerState;
use rustix::process::Signal;

use crate::reload::{Load, code, told, verb};
use crate::support::{Setup, Variant, eventually, matrix};

matrix!(all: up_and_down_under_load);
matrix!(frames: by_load, by_signal, mistakes);

fn up_and_down_under_load(variant: Variant) {
    let instance = Setup::new(variant, "basic.js").start();
    let load = Load::on(&instance, 8, "/hello", "Hello, world!\n");
    for _ in 0..3 {
        let output = verb(&instance, &["scale", "4"]);
        assert_eq!(code(&output), Some(0), "{}", told(&output));
        assert!(told(&output).contains("4 workers take requests"), "{}", told(&output));
        let output = verb(&instance, &["scale", "hostler-fixtures", "-3"]);
        assert_eq!(code(&output), Some(0), "{}", told(&output));
        assert!(told(&output).contains("1 worker takes requests"), "{}", told(&output));
    }
    assert!(load.finish() > 50);
    eventually("one worker is left", || (instance.status().workers.len() == 1).then_some(()));
    instance.finish();
}

/// Loops that are always busy: the range is used up. (That it goes down again takes a minute, and unit tests for it.)
fn by_load(variant: Variant) {
    let instance = Setup::new(variant, "chaos.js").options("--workers 1..2").start();
    let load = Load::on(&instance, 4, "/work/10", "worked");
    eventually("a second worker", || {
        let workers = instance.status().workers;
        let ready = workers.iter().filter(|worker| worker.state == WorkerState::Ready);
        (ready.count() == 2).then_some(())
    });
    instance.wait_output("the reason", |line| line.contains("2 workers instead of 1"));
    assert!(load.finish() > 50);
    instance.finish();
}

fn by_signal(variant: Variant) {
    let instance = Setup::new(variant, "basic.js").start();
    instance.signal(Signal::TTIN);
    eventually("two workers", || (instance.status().workers.len() == 2).then_some(()));
    instance.wait_all_workers();
    instance.signal(Signal::TTOU);
    eventually("one worker", || (instance.status().workers.len() == 1).then_some(()));
    instance.assert_serves();
    instance.finish();
}

fn mistakes(variant: Variant) {
    let instance = Setup::new(variant, "basic.js").start();
    for (words, exit, part) in [
        (&["scale", "0"][..], 1, "1 to 512 are possible"),
        (&["scale", "-1"], 1, "1 to 512"),
        (&["scale", "many"], 78, "a number of workers (4) or a change"),
        (&["scale", "shop", "2"], 1, "no app `shop` runs here; there is `hostler-fixtures`"),
    ] {
        let output = verb(&instance, words);
        assert_eq!(code(&output), Some(exit), "{words:?}: {}", told(&output));
        assert!(told(&output).contains(part), "{words:?}: {}", told(&output));
    }
    instance.finish();
}
