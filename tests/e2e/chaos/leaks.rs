//! Starts and stops, a thousand of them: of instances, and of workers within one. Nothing adds up.
//!
//! Owns: what is counted before and after. Must never know: where a leak could come from.

use std::fs;
use std::path::Path;
use std::time::Instant;

use rustix::process::Signal;

use super::{is_full, times};
use crate::reload::{code, told, verb};
use crate::support::{
    Instance, Setup, Variant, eventually, fd_count, matrix, memory_kib, report, signal,
    thread_count,
};

matrix!(frames: instances);
matrix!(all: workers);

/// More than this is not noise of an allocator.
const RSS_KIB_MAX: u64 = 4_096;

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<_> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// What belongs to no process: temporary files and shared memory of both kinds.
fn shared() -> Vec<Vec<String>> {
    let lists = ["/proc/sysvipc/shm", "/proc/sysvipc/sem", "/proc/sysvipc/msg"].map(|path| {
        fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
    });
    let folders = ["/tmp", "/dev/shm"].map(|path| names(Path::new(path)));
    folders.into_iter().chain(lists).collect()
}

fn instances(variant: Variant) {
    let root = std::env::temp_dir().join(format!("leaks-{}-{}", variant.io(), std::process::id()));
    let (dir, temporary) = (root.join("run"), root.join("tmp"));
    fs::create_dir_all(&temporary).expect("a folder");
    let begun = Instant::now();
    let rounds = times(1_000, 5);
    let before = shared();
    for _ in 0..rounds {
        let setup = Setup::new(variant, "basic.js").runtime_dir(dir.to_str().expect("UTF-8"));
        let instance = setup.env("TMPDIR", temporary.to_str().expect("UTF-8")).start();
        instance.assert_serves();
        // It looks for processes and files by itself.
        instance.finish();
        assert!(!dir.exists(), "{:?}", names(&dir));
        assert_eq!(names(&temporary), [""; 0]);
    }
    // What others do meanwhile would be seen, too.
    if is_full() {
        assert_eq!(shared(), before);
    }
    report(&format!("{variant}: {rounds} starts and stops in {:?}, nothing left", begun.elapsed()));
    fs::remove_dir_all(&root).expect("removed");
}

/// Of the supervisor and of the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    fds: [usize; 2],
    threads: [usize; 2],
    rss_kib: [u64; 2],
}

fn held(instance: &Instance) -> Held {
    let pids = [instance.supervisor_pid(), instance.proxy_pid()];
    Held {
        fds: pids.map(fd_count),
        threads: pids.map(thread_count),
        rss_kib: pids.map(|pid| memory_kib(pid, "VmRSS")),
    }
}

/// A reload, one worker more and fewer again, a death.
fn round(instance: &Instance) {
    for words in [&["reload"][..], &["scale", "3"], &["scale", "2"]] {
        let output = verb(instance, words);
        assert_eq!(code(&output), Some(0), "{}", told(&output));
    }
    let pid = instance.worker_pid(0);
    signal(pid, Signal::KILL);
    eventually("the worker is started again", || {
        let workers = instance.status().workers;
        (workers.len() == 2 && workers[0].pid != Some(pid)).then_some(())
    });
    instance.wait_all_workers();
    assert_eq!(instance.get("/number/7").text(), "number 7\n");
}

fn workers(variant: Variant) {
    let setup = Setup::new(variant, "chaos.js").options("--workers 2 --probation 100ms");
    let instance = setup.start();
    // Pools, log buffers and histories find their size.
    let (first, rounds) = if is_full() { (50, 200) } else { (2, 4) };
    (0..first).for_each(|_| round(&instance));
    let settled = |fds_max: Option<[usize; 2]>| {
        eventually("no worker is leaving, no connection kept", || {
            let workers = instance.try_status()?.workers;
            let now = held(&instance);
            let few = fds_max.is_none_or(|most| now.fds[0] <= most[0] && now.fds[1] <= most[1]);
            (workers.len() == 2 && instance.shards().conns == 0 && few).then_some(now)
        })
    };
    let before = settled(None);
    let begun = Instant::now();
    (0..rounds).for_each(|_| round(&instance));
    // One descriptor comes and goes with the moment.
    let after = settled(Some(before.fds.map(|fds| fds + 1)));
    assert_eq!(after.threads, before.threads);
    let took = begun.elapsed();
    report(&format!(
        "{variant}: {rounds} x (reload, scale, scale, kill) in {took:?}: {before:?} -> {after:?}"
    ));
    if is_full() {
        for (before, after) in before.rss_kib.iter().zip(after.rss_kib) {
            assert!(after <= before + RSS_KIB_MAX, "{before} KiB -> {after} KiB");
        }
    }
    instance.finish();
}
