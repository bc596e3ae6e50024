//! Too little of something: descriptors, connection slots, receive buffers, workers.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};

use crate::support::{Client, Instance, Setup, Variant, eventually, matrix};

matrix!(frames: no_descriptors_left, connection_limit, half_heads_hold_all_buffers, full_queue);

const REQUEST: &str = "GET /hello HTTP/1.1\r\nHost: test\r\n\r\n";

/// CPU time of all threads of a process.
fn cpu(pid: u32) -> Duration {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("process lives").flatten();
    let of_task = |path: std::path::PathBuf| -> Option<u64> {
        std::fs::read_to_string(path.join("schedstat")).ok()?.split(' ').next()?.parse().ok()
    };
    Duration::from_nanos(tasks.filter_map(|task| of_task(task.path())).sum())
}

fn limit_descriptors(pid: u32, limit: u64) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let limit = Rlimit { current: Some(limit), maximum: Some(limit) };
    prlimit(pid, Resource::Nofile, limit).expect("prlimit");
}

/// Lets this process hold so many sockets; false (said loudly) if the system does not.
fn allow_descriptors(count: u64) -> bool {
    let limit = getrlimit(Resource::Nofile);
    let enough = |value: Option<u64>| value.is_none_or(|value| value >= count);
    if enough(limit.current) {
        return true;
    }
    if enough(limit.maximum) {
        let raised = Rlimit { current: Some(count), maximum: limit.maximum };
        return setrlimit(Resource::Nofile, raised).is_ok();
    }
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "\nSKIPPED (ulimit -n is below {count})\n");
    false
}

/// The connections of these clients are served one after the other, as room appears.
fn served_in_turn(clients: Vec<Client>) {
    for mut client in clients {
        assert_eq!(client.response().text(), "Hello, world!\n");
    }
}

fn no_descriptors_left(variant: Variant) {
    let instance = Setup::new(variant, "basic.js").start();
    let proxy = instance.proxy_pid();
    let open = std::fs::read_dir(format!("/proc/{proxy}/fd")).expect("fds").count() as u64;
    // Behind the proxy's back, so that no setting of its own helps it: accept() gives EMFILE.
    limit_descriptors(proxy, open + 20);
    let mut clients: Vec<Client> = (0..60).map(|_| instance.client()).collect();
    for client in &mut clients {
        client.send(REQUEST);
    }
    assert_eq!(clients[0].response().status, 200);
    // It must not spin while it waits for a descriptor.
    let (before, start) = (cpu(proxy), Instant::now());
    std::thread::sleep(Duration::from_millis(300));
    let used = (cpu(proxy) - before).as_secs_f64() / start.elapsed().as_secs_f64();
    assert!(used < 0.3, "the proxy spins at EMFILE: {used:.2} of a core");
    let first = clients.remove(0);
    assert_eq!(
        {
            let mut first = first;
            first.get("/hello").status
        },
        200,
        "kept connections live on"
    );
    served_in_turn(clients);
    instance.assert_serves();
    instance.finish();
}

fn connection_limit(variant: Variant) {
    let instance = Setup::new(variant, "basic.js").options("--max-connections 16").start();
    let mut clients: Vec<Client> = (0..50).map(|_| instance.client()).collect();
    for client in &mut clients {
        client.send(REQUEST);
    }
    assert_eq!(clients[0].response().status, 200);
    assert!(instance.shards().conns <= 16, "{:?}", instance.shards());
    let first = clients.remove(0);
    drop(first);
    served_in_turn(clients);
    instance.assert_serves();
    instance.finish();
}

fn low_nofile(variant: Variant) -> Instance {
    Setup::new(variant, "basic.js").nofile(128).start()
}

#[test]
fn low_ulimit() {
    let instance = low_nofile(Variant::PLAIN);
    let mut clients: Vec<Client> = (0..200).map(|_| instance.client()).collect();
    for client in &mut clients {
        client.send(REQUEST);
    }
    served_in_turn(clients);
    instance.assert_serves();
    instance.finish();
}

fn half_heads_hold_all_buffers(variant: Variant) {
    if !allow_descriptors(4_000) {
        return;
    }
    let instance = Setup::new(variant, "basic.js").options("--head-timeout 2s").start();
    let mut good = instance.client();
    assert_eq!(good.get("/hello").status, 200);
    // More unfinished heads than there are receive buffers.
    let mut held: Vec<Client> = (0..2_500).map(|_| instance.client()).collect();
    for client in &mut held {
        client.send("GET /hello HTTP/1.1\r\nHost: test\r\nX-Half: ");
    }
    // Both are served, at the latest when the half-sent heads have timed out.
    assert_eq!(good.get("/hello").status, 200);
    instance.assert_serves();
    drop(held);
    drop(good);
    instance.finish();
}

fn full_queue(variant: Variant) {
    let instance = Setup::new(variant, "basic.js")
        .options("--worker-requests 2 --max-queue 3 --queue-timeout 500ms")
        .start();
    let mut clients: Vec<Client> = (0..8).map(|_| instance.client()).collect();
    for (index, client) in clients.iter_mut().enumerate() {
        client.send(format!("GET /hang?id=q{index} HTTP/1.1\r\nHost: test\r\n\r\n"));
    }
    // Two are at the worker, three wait and time out, three are refused at once.
    let mut refused = 0;
    for client in &mut clients {
        client.set_patience(Duration::from_secs(3));
        if let Ok(response) = client.try_response("GET") {
            assert_eq!(response.status, 503);
            assert!(response.field("retry-after").is_some(), "{response:?}");
            refused += 1;
        }
    }
    assert_eq!(refused, 6);
    drop(clients);
    // The two at the worker are given up with their clients; then there is room again.
    eventually("room again", || (instance.get("/hello").status == 200).then_some(()));
    instance.finish();
}
