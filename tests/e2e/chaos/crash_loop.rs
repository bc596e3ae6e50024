//! An app that exits at once, again and again: how often it is started, what that costs, and that others do not notice.

use std::fs;
use std::time::{Duration, Instant};

use hostler_protocol::control::{InstanceState, WorkerState};
use rustix::process::Signal;

use super::{is_full, times};
use crate::support::{Setup, Variant, cpu_ticks, eventually, matrix, report, signal, within};

matrix!(frames: a_crash_loop);

/// Ticks of `/proc/PID/stat` in a second (USER_HZ).
const TICKS: f64 = 100.0;

fn a_crash_loop(variant: Variant) {
    let name = format!("crash-loop-{}-{}", variant.io(), std::process::id());
    let file = std::env::temp_dir().join(name);
    let setup = Setup::new(variant, "crash-loop.js").options("--workers 2");
    let instance = setup.app_args(&[file.to_str().expect("UTF-8")]).start();
    instance.wait_all_workers();
    fs::write(&file, "").expect("written");
    let deaths = || instance.printed().matches("exited with code 7").count() as u32;
    let begun = Instant::now();
    signal(instance.worker_pid(0), Signal::KILL);
    let most = times(8, 6);
    let mut seen = 0;
    while seen < most {
        // The other worker does not care.
        instance.assert_serves();
        seen = deaths();
        // The first start is at once, then they pause for 0.2 s, 0.4 s, 0.8 s and so on.
        let pauses = Duration::from_millis(200) * ((1 << seen.saturating_sub(1)) - 1);
        assert!(begun.elapsed() >= pauses, "{seen} starts within {:?}", begun.elapsed());
        assert!(begun.elapsed() < Duration::from_secs(60), "{seen} starts");
        std::thread::sleep(Duration::from_millis(5));
    }
    // The same as it is told, which does not depend on how long each start takes here.
    for pause in ["200 ms", "400 ms", "800 ms", "1.6 s", "3.2 s"] {
        let text = format!("; starting it again in {pause} (failure ");
        assert_eq!(instance.printed().matches(&text).count(), 1, "{pause}");
    }
    let status = instance.status();
    assert_eq!(status.supervisor.state, InstanceState::Degraded);
    assert_eq!(status.workers[1].state, WorkerState::Ready);
    assert_eq!(status.workers[1].restarts, 0);
    if is_full() {
        let (pid, time, starts) = (instance.supervisor_pid(), Duration::from_secs(30), deaths());
        let before = cpu_ticks(pid);
        std::thread::sleep(time);
        let used = (cpu_ticks(pid) - before) as f64 / TICKS / time.as_secs_f64() * 100.0;
        let starts = deaths() - starts;
        report(&format!(
            "{variant}: {used:.2} % of a core with all starts, {starts} of them in {time:?}"
        ));
        assert!(used < 2.0, "{used}");
    }
    fs::remove_file(&file).expect("removed");
    within(Duration::from_secs(40), "it is back", || {
        (instance.status().supervisor.state == InstanceState::Running).then_some(())
    });
    eventually("both serve", || {
        instance.status().workers.iter().all(|w| w.state == WorkerState::Ready).then_some(())
    });
    instance.finish();
}
