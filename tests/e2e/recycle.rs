//! Workers with limits are replaced under load, and nobody notices; only the hard limit costs something.

use crate::reload::Load;
use crate::support::{Instance, Setup, Variant, eventually, matrix};

matrix!(all: by_requests_under_load);
matrix!(frames: by_age, by_memory, by_memory_too_fast, mistakes);

/// Another process than `pid` serves, and no other is left.
fn wait_replaced(instance: &Instance, pid: u32) {
    eventually("another worker", || (instance.worker_pid(0) != pid).then_some(()));
    instance.assert_serves();
}

fn by_requests_under_load(variant: Variant) {
    let setup = Setup::new(variant, "basic.js").options("--workers 2 --max-requests 100");
    let instance = setup.start();
    let pid = instance.worker_pid(0);
    let load = Load::on(&instance, 8, "/hello", "Hello, world!\n");
    wait_replaced(&instance, pid);
    assert!(load.finish() >= 100);
    instance
        .wait_output("the reason", |line| line.contains("answered") && line.contains("requests"));
    assert_eq!(instance.status().workers[0].restarts, 0, "it is not a death");
    instance.finish();
}

fn by_age(variant: Variant) {
    let instance = Setup::new(variant, "basic.js").options("--max-age 1s").start();
    let pid = instance.worker_pid(0);
    let load = Load::on(&instance, 2, "/hello", "Hello, world!\n");
    wait_replaced(&instance, pid);
    assert!(load.finish() > 0);
    instance.finish();
}

fn by_memory(variant: Variant) {
    let instance = Setup::new(variant, "basic.js").options("--max-memory 150M").start();
    let pid = instance.worker_pid(0);
    assert_eq!(instance.get("/hold?mib=200").text(), "held");
    wait_replaced(&instance, pid);
    instance.wait_output("the reason", |line| line.contains("of 150 MiB"));
    instance.finish();
}

fn by_memory_too_fast(variant: Variant) {
    let options = "--max-memory 100M --max-memory-hard 150M";
    let instance = Setup::new(variant, "basic.js").options(options).start();
    let pid = instance.worker_pid(0);
    assert_eq!(instance.get("/hold?mib=200").text(), "held");
    wait_replaced(&instance, pid);
    let death = instance.status().workers[0].last_death.clone().expect("a reason");
    assert!(death.contains("the hard limit is 150 MiB"), "{death}");
    instance.finish();
}

fn mistakes(variant: Variant) {
    for (options, part) in [
        ("--max-memory 10M", "from 64M"),
        ("--max-memory 100M --max-memory-hard 100M", "more than max-memory"),
        ("--max-age 5", "with a unit"),
        ("--max-requests 0", "a whole number from 1"),
    ] {
        let failure = Setup::new(variant, "basic.js").options(options).spawn_and_fail();
        failure.expect(78, &[part]);
    }
}
