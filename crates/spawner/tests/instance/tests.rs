//! The tests.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hostler_protocol::control::{CommandRequest, WorkerState};
use hostler_spawner::CommandError;
use rustix::process::Signal;
use serde_json::json;

use crate::bench::{DEADLINE, Instance, exists, kill, scratch, wait_until};

pub(crate) type Test = (&'static str, fn());

/// All of them.
pub(crate) const ALL: &[Test] = &[
    ("ready_status_and_stop", ready_status_and_stop),
    ("a_failing_app_is_reported", a_failing_app_is_reported),
    ("an_app_that_exits_0_is_explained", an_app_that_exits_0_is_explained),
    ("an_app_that_never_listens_is_explained", an_app_that_never_listens_is_explained),
    ("a_missing_node_is_explained", a_missing_node_is_explained),
    ("node_that_refuses_its_options_is_explained", node_that_refuses_its_options_is_explained),
    ("a_dead_worker_is_explained_and_replaced", a_dead_worker_is_explained_and_replaced),
    ("a_crash_loop_backs_off", a_crash_loop_backs_off),
    ("a_group_dies_with_its_leader", a_group_dies_with_its_leader),
    ("a_worker_that_ignores_sigterm_is_killed_with_its_group", ignored_sigterm),
    ("a_second_signal_stops_at_once", a_second_signal_stops_at_once),
    ("a_daemon_of_the_app_is_gone_after_the_stop", a_daemon_of_the_app_is_gone_after_the_stop),
    ("nothing_outlives_the_next_start", nothing_outlives_the_next_start),
    ("a_port_in_use_is_exit_69", a_port_in_use_is_exit_69),
    ("a_second_instance_is_refused", a_second_instance_is_refused),
    ("stale_files_are_replaced", stale_files_are_replaced),
    ("output_is_labelled", output_is_labelled),
    ("a_flood_of_output_blocks_nobody", a_flood_of_output_blocks_nobody),
    ("a_dead_proxy_is_replaced_with_the_same_listeners", a_dead_proxy_is_replaced),
    ("a_failing_proxy_ends_the_instance", a_failing_proxy_ends_the_instance),
    ("a_crashing_proxy_ends_the_instance", a_crashing_proxy_ends_the_instance),
    ("a_deaf_proxy_delays_but_does_not_prevent", a_deaf_proxy_delays_but_does_not_prevent),
    ("mad_clients_do_no_harm", mad_clients_do_no_harm),
    ("nobody_there_is_said_so", nobody_there_is_said_so),
    ("stop_waits_for_the_end", stop_waits_for_the_end),
    ("it_works_as_process_1", it_works_as_process_1),
    ("an_ignored_sigchld_is_no_trap", an_ignored_sigchld_is_no_trap),
    ("a_real_node_app_serves_and_dies_explained", a_real_node_app_serves_and_dies_explained),
    ("no_descriptor_leaks_over_restarts", no_descriptor_leaks_over_restarts),
];

fn ready_status_and_stop() {
    let mut instance = Instance::start("ready", json!({ "workers": 2, "shards": 2 }));
    let address = instance.line("NOTICE ready").replace("NOTICE ready ", "");
    instance.line("proxy: worker 1 in slot 0");
    instance.line("proxy: worker 2 in slot 1");
    // Two sockets for clients and two for channels, no more.
    let fds = instance.line("proxy: fds");
    assert_eq!(fds.split(' ').count(), 2 + 4, "{fds}");
    let status = instance.status();
    assert_eq!(status.supervisor.pid, instance.pid());
    assert_eq!(status.listeners, [address]);
    assert!(status.proxy.is_some() && status.proxy_rss_kib > 0);
    assert_eq!(status.workers.len(), 2);
    for worker in &status.workers {
        assert_eq!(worker.state, WorkerState::Ready);
        assert!(worker.pid.is_some() && worker.rss_kib > 0);
    }
    assert_eq!(status.workers[0].core, Some(0));
    instance.stop();
}

fn a_failing_app_is_reported() {
    let mut instance = Instance::start("throws", json!({ "workers": 2 }));
    instance.line("NOTICE start failed");
    instance.line("before it called listen(): TypeError: x is not a function");
    let failed = instance.line("FAIL");
    assert!(failed.contains("load the app until listen()"), "{failed}");
    instance.line("|     at app.js:3:1");
    let json = instance.line("JSON ").replace("JSON ", "");
    let report: serde_json::Value = serde_json::from_str(&json).expect("json");
    assert_eq!(report["stderr_tail"][3], "Node.js v20.20.2");
    assert_eq!(instance.end(), 1);
}

fn an_app_that_exits_0_is_explained() {
    let mut instance = Instance::start("exit0", json!({}));
    instance.line("the app exited with code 0 before it called listen()");
    assert_eq!(instance.end(), 1);
}

fn an_app_that_never_listens_is_explained() {
    let mut instance = Instance::start("silent", json!({ "start_ms_max": 1_000 }));
    instance.line("did not call listen() on an http.Server within 1 s, only on: https");
    assert_eq!(instance.end(), 1);
}

fn a_missing_node_is_explained() {
    let mut instance = Instance::start("ready", json!({ "node": "/nowhere/node" }));
    instance.line("/nowhere/node was not found");
    assert_eq!(instance.end(), 1);
    let mut instance = Instance::start("ready", json!({ "cwd": "/nowhere" }));
    instance.line("the folder /nowhere does not exist");
    assert_eq!(instance.end(), 1);
}

fn node_that_refuses_its_options_is_explained() {
    let mut instance = Instance::start("bad-option", json!({}));
    instance.line("node exited with code 9 before the loader ran: node: bad option: --x");
    assert_eq!(instance.end(), 1);
}

fn a_dead_worker_is_explained_and_replaced() {
    let mut instance = Instance::start("ready", json!({}));
    instance.line("NOTICE ready");
    let pid = instance.status().workers[0].pid.expect("alive");
    kill(pid, Signal::KILL);
    instance.line("proxy: worker 1 gone");
    instance.line(&format!("web.0 (pid {pid}) was killed by SIGKILL"));
    instance.line("proxy: worker 2 in slot 0");
    let worker = &instance.status().workers[0];
    assert_eq!(worker.restarts, 1);
    assert!(worker.last_death.as_ref().expect("died").contains("SIGKILL"));
    instance.stop();
}

fn a_crash_loop_backs_off() {
    let mut instance = Instance::start("dies-once-ready", json!({}));
    for delay in ["it again", "again in 100 ms", "again in 200 ms", "again in 400 ms"] {
        let line = instance.line("exited with code 7");
        assert!(line.contains(delay), "{line}");
    }
    instance.stop();
}

fn a_group_dies_with_its_leader() {
    let mut instance = Instance::start("parent", json!({}));
    instance.line("NOTICE ready");
    let child = instance.number_after("[web.0] child");
    kill(instance.status().workers[0].pid.expect("alive"), Signal::KILL);
    wait_until("the end of the child", || !exists(child));
    instance.line("proxy: worker 2 in slot 0");
    instance.stop();
}

fn ignored_sigterm() {
    let mut instance = Instance::start("ignores-term", json!({ "stop_ms_max": 800 }));
    instance.line("NOTICE ready");
    let child = instance.number_after("[web.0] child");
    let worker = instance.status().workers[0].pid.expect("alive");
    let begun = Instant::now();
    instance.signal(Signal::TERM);
    instance.line("web.0 did not stop in time; it is killed");
    assert_eq!(instance.end(), 0);
    assert!(begun.elapsed() >= Duration::from_millis(800));
    assert!(!exists(worker) && !exists(child));
    instance.line("END stopped; 0 connections were cut and 1 workers were killed");
}

fn a_second_signal_stops_at_once() {
    let mut instance = Instance::start("ignores-term", json!({ "stop_ms_max": 60_000 }));
    instance.line("NOTICE ready");
    instance.signal(Signal::TERM);
    instance.line("SIGTERM: stopping");
    instance.signal(Signal::INT);
    assert_eq!(instance.end(), 130);
    assert!(!instance.dir.exists());
}

fn a_daemon_of_the_app_is_gone_after_the_stop() {
    let mut instance = Instance::start("daemon", json!({}));
    instance.line("NOTICE ready");
    let daemon = instance.number_after("[web.0] daemon");
    assert!(exists(daemon));
    instance.stop();
    assert!(!exists(daemon));
}

/// This proxy keeps nothing, so nobody can take the workers over, and the next instance ends them.
fn nothing_outlives_the_next_start() {
    let mut first = Instance::start("ready", json!({ "workers": 2 }));
    first.line("proxy: worker 2 in slot");
    let status = first.status();
    first.signal(Signal::KILL);
    first.end();
    let proxy = status.proxy_pid.expect("alive");
    wait_until("the end of the proxy", || !exists(proxy) || is_zombie(proxy));
    let mut second = Instance::start_in(&first.dir, "ready", json!({ "workers": 1 }));
    second.line("proxy: worker 1 in slot");
    for pid in status.workers.iter().filter_map(|worker| worker.pid) {
        wait_until("the end of a worker", || !exists(pid) || is_zombie(pid));
    }
    // The folder is the first one's, which nobody removes.
    second.signal(Signal::TERM);
    assert_eq!(second.end(), 0);
    std::fs::remove_dir(&first.dir).expect("empty");
}

/// In a container whose first process reaps nobody the dead stay.
fn is_zombie(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.contains(") Z ")
}

fn a_port_in_use_is_exit_69() {
    let held = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = held.local_addr().expect("bound").to_string();
    let mut instance = Instance::start("ready", json!({ "listen": address }));
    let line = instance.line("cannot listen on");
    assert!(line.contains(&format!("{address}: the port is in use by")), "{line}");
    assert!(line.contains(&format!("(pid {})", std::process::id())), "{line}");
    assert_eq!(instance.end(), 69);
    assert!(!instance.dir.exists());
}

fn a_second_instance_is_refused() {
    let mut first = Instance::start("ready", json!({}));
    first.line("NOTICE ready");
    let dir = first.dir.clone();
    let output = Instance::command(&dir, "ready", json!({})).output().expect("runs");
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains(&format!("an instance with pid {} runs in", first.pid())), "{text}");
    assert_eq!(first.status().workers[0].state, WorkerState::Ready);
    first.stop();
}

fn stale_files_are_replaced() {
    let dir = scratch();
    std::fs::DirBuilder::new().mode(0o700).create(&dir).expect("made");
    for name in ["control.sock", "shard.0.sock", "web.0.7.sock"] {
        drop(UnixListener::bind(dir.join(name)).expect("bound"));
    }
    std::fs::write(dir.join("lock"), "999999\n").expect("written");
    let clients = dir.join("app.sock");
    drop(UnixListener::bind(&clients).expect("bound"));
    let listen = format!("unix:{}", clients.display());
    let mut instance = Instance::start_in(&dir, "ready", json!({ "listen": listen }));
    instance.line("NOTICE ready unix:");
    UnixStream::connect(&clients).expect("listening");
    instance.signal(Signal::TERM);
    assert_eq!(instance.end(), 0);
    let left: Vec<_> = std::fs::read_dir(&dir).expect("not ours to remove").collect();
    assert!(left.is_empty(), "{left:?}");
}

fn output_is_labelled() {
    let mut instance = Instance::start("prints", json!({}));
    let address = instance.line("NOTICE ready");
    let port = address.rsplit_once(':').expect("a port").1;
    instance.line(&format!("[web.0] out production 0 {port}"));
    instance.line("[web.0] err");
    instance.line("[web.0] no newline");
    instance.stop();

    let mut instance = Instance::start("prints", json!({ "json": true }));
    let line = instance.line("\"line\":\"err\"");
    let value: serde_json::Value = serde_json::from_str(&line).expect("json");
    assert_eq!(value["app"], "web");
    assert_eq!(value["stream"], "stderr");
    instance.stop();
}

fn a_flood_of_output_blocks_nobody() {
    let dir = scratch();
    // From some moment on nobody reads this instance's stdout.
    let mut child = Instance::command(&dir, "flood", json!({}))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("starts");
    let mut stdout = child.stdout.take().expect("piped");
    stdout.read_exact(&mut vec![0; 200_000]).expect("the flood begins");
    for _ in 0..200 {
        hostler_spawner::command(&dir, CommandRequest::Status, DEADLINE).expect("an answer");
    }
    hostler_spawner::stop(&dir, DEADLINE).expect("stops");
    assert_eq!(child.wait().expect("ours").code(), Some(0));
    let mut text = Vec::new();
    stdout.read_to_end(&mut text).expect("read");
    assert!(text.len() < 1 << 20, "{} bytes waited", text.len());
}

fn a_dead_proxy_is_replaced() {
    let mut instance = Instance::start("ready", json!({ "workers": 2, "shards": 2 }));
    let fds = instance.line("proxy: fds");
    instance.line("proxy: worker 1 in slot 0");
    instance.line("proxy: worker 2 in slot 1");
    kill(instance.status().proxy_pid.expect("alive"), Signal::KILL);
    instance.line("the proxy was killed by SIGKILL");
    assert_eq!(instance.line("proxy: fds"), fds, "the same sockets");
    instance.line("proxy: worker 1 in slot 0");
    instance.line("proxy: worker 2 in slot 1");
    instance.stop();
}

fn a_failing_proxy_ends_the_instance() {
    let mut instance = Instance::start("ready", json!({ "proxy": "fails" }));
    instance.line("END the proxy cannot start: io_uring is disabled");
    assert_eq!(instance.end(), 1);
    assert!(!instance.dir.exists());
}

fn a_crashing_proxy_ends_the_instance() {
    let mut instance = Instance::start("ready", json!({ "proxy": "crash" }));
    let line = instance.line("END the proxy died 5 times");
    assert!(line.contains("no ring"), "{line}");
    assert_eq!(instance.end(), 1);
}

fn a_deaf_proxy_delays_but_does_not_prevent() {
    let mut instance = Instance::start("ready", json!({ "proxy": "deaf", "stop_ms_max": 1_000 }));
    instance.line("NOTICE ready");
    instance.line("proxy: worker 1");
    let status = instance.status();
    assert!(status.proxy.is_none() && status.proxy_pid.is_some());
    instance.signal(Signal::TERM);
    instance.line("proxy: drain? never");
    assert_eq!(instance.end(), 0);
}

fn mad_clients_do_no_harm() {
    let mut instance = Instance::start("ready", json!({}));
    instance.line("NOTICE ready");
    let connect = || UnixStream::connect(instance.dir.join("control.sock")).expect("listening");
    let silent: Vec<UnixStream> = (0..5).map(|_| connect()).collect();
    let mut garbage = connect();
    garbage.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("sent");
    let mut answer = String::new();
    garbage.set_read_timeout(Some(DEADLINE)).expect("set");
    garbage.read_to_string(&mut answer).expect("answered and closed");
    assert!(answer.contains("refused") && answer.contains("not understood"), "{answer}");
    let mut endless = connect();
    endless.set_write_timeout(Some(DEADLINE)).expect("set");
    while endless.write_all(&[b'x'; 1024]).is_ok() {}
    drop(connect());
    assert_eq!(instance.status().workers[0].state, WorkerState::Ready);
    drop(silent);
    instance.stop();
}

fn nobody_there_is_said_so() {
    let dir = scratch();
    let error = hostler_spawner::command(&dir, CommandRequest::Status, DEADLINE);
    assert!(matches!(error, Err(CommandError::NoInstance(_))), "{error:?}");
}

fn stop_waits_for_the_end() {
    let mut instance = Instance::start("ready", json!({}));
    instance.line("NOTICE ready");
    hostler_spawner::stop(&instance.dir, DEADLINE).expect("stopped");
    assert!(!instance.dir.exists());
    assert_eq!(instance.end(), 0);
}

fn it_works_as_process_1() {
    let args = ["--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount-proc"];
    let possible = Command::new("unshare").args(args).arg("true").output();
    if !possible.is_ok_and(|output| output.status.success()) {
        println!("SKIPPED: no pid namespaces here");
        return;
    }
    let mut instance = Instance::start_by("unshare", &args, "daemon", json!({}));
    instance.line("NOTICE ready");
    instance.line("proxy: worker 1 in slot 0");
    let status = instance.status();
    assert_eq!(status.supervisor.pid, 1);
    assert!(status.workers[0].rss_kib > 0);
    hostler_spawner::stop(&instance.dir, DEADLINE).expect("stopped");
    instance.line("END stopped");
    assert_eq!(instance.end(), 0);
}

fn an_ignored_sigchld_is_no_trap() {
    let args = ["-c", "trap '' CHLD; exec \"$@\"", "sh"];
    let mut instance = Instance::start_by("sh", &args, "dies-once-ready", json!({}));
    instance.line("exited with code 7");
    instance.stop();
}

fn a_real_node_app_serves_and_dies_explained() {
    let script = scratch().with_extension("js");
    let app = "require('http').createServer((q, s) => {
        s.end('hello');
        if (q.url === '/die') setImmediate(() => { throw new RangeError('asked to'); });
    }).listen(3000);";
    std::fs::write(&script, app).expect("written");
    let extra = json!({ "node": "node", "transport": "http" });
    let mut instance = Instance::start(script.to_str().expect("text"), extra);
    instance.line("NOTICE ready");
    let plain = instance.dir.join("web.0.1.sock");
    let mut stream = UnixStream::connect(&plain).expect("its plain path");
    stream.write_all(b"GET /die HTTP/1.1\r\nhost: x\r\n\r\n").expect("sent");
    instance.line("exited with code 1");
    instance.line("proxy: worker 2 in slot 0");
    let death = instance.status().workers[0].last_death.clone().expect("died");
    assert!(death.contains("asked to"), "{death}");
    assert!(!plain.exists(), "the socket file of the dead worker is left");
    instance.stop();
    std::fs::remove_file(&script).expect("removed");
}

fn no_descriptor_leaks_over_restarts() {
    let mut instance = Instance::start("ready", json!({}));
    instance.line("proxy: worker 1 in slot 0");
    let fds = || {
        let count = std::fs::read_dir(format!("/proc/{}/fd", instance.pid())).map(Iterator::count);
        count.expect("alive")
    };
    let before = fds();
    kill(instance.status().workers[0].pid.expect("alive"), Signal::KILL);
    kill(instance.status().proxy_pid.expect("alive"), Signal::KILL);
    let settled = || {
        let status = instance.status();
        status.proxy.is_some()
            && status.workers[0].state == WorkerState::Ready
            && status.workers[0].restarts == 1
    };
    wait_until("both restarts", settled);
    // One fewer where the state was just being written.
    wait_until("no more descriptors than before", || fds() <= before);
    instance.stop();
}
