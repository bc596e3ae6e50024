//! Apps that are started by a command: Python servers, servers that are no http.Server, shell scripts.

use rustix::process::Signal;

use crate::support::{
    Client, Instance, Setup, Variant, app, eventually, matrix, processes_with_tag, python_or_skip,
    signal,
};
use crate::websocket::{Socket, TEXT};

matrix!(frames:
    uvicorn, uvicorn_websocket, uvicorn_dies, uvicorn_stops_in_order, gunicorn, by_hand, cut_answers, a_shell_script,
);

const UVICORN: &str = "uvicorn --log-level warning asgi:app";

fn start_uvicorn(variant: Variant, place: &str, options: &str) -> Option<Instance> {
    let line = format!("{UVICORN} {place}");
    let setup = Setup::command(variant, "python", &line).search(python_or_skip()?);
    Some(setup.options(options).start())
}

/// Bodies of some MiB both ways, by length and in chunks.
fn assert_moves_bodies(instance: &Instance) {
    const MIB: usize = 3;
    let mut client = instance.client();
    let piece = vec![b'u'; 1 << 20];
    client.send(format!(
        "POST /upload HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n",
        MIB << 20
    ));
    for _ in 0..MIB {
        client.send(&piece);
    }
    assert_eq!(client.response().text(), (MIB << 20).to_string());
    client.send("POST /upload HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n");
    for _ in 0..MIB {
        client.send(format!("{:x}\r\n", piece.len()));
        client.send(&piece);
        client.send("\r\n");
    }
    client.send("0\r\n\r\n");
    assert_eq!(client.response().text(), (MIB << 20).to_string());
    let download = client.get("/download?50");
    assert_eq!(download.body.len(), 50 * 65_536);
    assert!(download.body.iter().all(|&byte| byte == b'd'));
}

/// A client that knows no chunks gets none, whatever the server thinks of its version.
fn assert_serves_http_1_0(instance: &Instance, target: &str, body: &str) {
    let mut client = instance.client();
    client.send(format!("GET {target} HTTP/1.0\r\nHost: test\r\nConnection: keep-alive\r\n\r\n"));
    let response = client.response();
    assert_eq!(response.field("transfer-encoding"), None, "{response:?}");
    assert_eq!(response.text(), body);
}

fn uvicorn(variant: Variant) {
    for place in ["--uds $SOCKET", "--host $HOST --port $PORT"] {
        let Some(instance) = start_uvicorn(variant, place, "") else { return };
        instance.assert_serves();
        let mut client = instance.client();
        let first = client.get("/where");
        assert_eq!(client.get("/where").text(), first.text(), "the kept connection is used again");
        assert_eq!(instance.get("/where").text(), first.text(), "by other clients too");
        assert_eq!(client.get("/chunks").field("transfer-encoding"), Some("chunked"));
        let head = client.get("/head");
        for field in
            ["x-forwarded-for: 127.0.0.1\n", "x-forwarded-proto: http\n", "via: 1.1 hostler\n"]
        {
            assert!(head.text().contains(field), "{}", head.text());
        }
        assert_moves_bodies(&instance);
        assert_serves_http_1_0(&instance, "/chunks", "in chunks");
        assert_eq!(
            instance.status().workers[0].transport,
            hostler_protocol::control::Transport::Http
        );
        drop(client);
        instance.finish();
    }
}

fn uvicorn_websocket(variant: Variant) {
    let Some(instance) = start_uvicorn(variant, "--uds $SOCKET", "") else { return };
    let mut sockets: Vec<_> = (0..3).map(|_| Socket::open(&instance)).collect();
    for index in 0..20 {
        for (number, socket) in sockets.iter_mut().enumerate() {
            let text = format!("{number} {index}");
            socket.send(TEXT, text.as_bytes());
            assert_eq!(socket.receive(), (TEXT, text.into_bytes()));
        }
    }
    instance.assert_serves();
    drop(sockets);
    eventually("tunnels are closed", || (instance.shards().conns == 0).then_some(()));
    instance.finish();
}

fn uvicorn_dies(variant: Variant) {
    let Some(instance) = start_uvicorn(variant, "--uds $SOCKET", "") else { return };
    let mut client = instance.client();
    assert_eq!(client.get("/hello").status, 200);
    signal(instance.worker_pid(0), Signal::KILL);
    assert_eq!(client.get("/hello").status, 200, "it waits for the next process");
    client.send("POST /exit HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.response().status, 502);
    eventually("the worker is started again", || {
        (instance.status().workers[0].restarts >= 2).then_some(())
    });
    instance.worker_pid(0);
    let death = instance.status().workers[0].last_death.clone().expect("a reason");
    assert!(death.contains("code 3"), "{death}");
    assert_eq!(client.get("/hello").status, 200);
    drop(client);
    instance.finish();
}

/// The request in flight is answered, then the server's own farewell runs.
fn uvicorn_stops_in_order(variant: Variant) {
    let Some(mut instance) = start_uvicorn(variant, "--uds $SOCKET", "") else { return };
    let mut client = instance.client();
    client.send("GET /slow HTTP/1.1\r\nHost: test\r\n\r\n");
    instance.wait_output("the slow request", |line| line.contains("slow request"));
    instance.signal(Signal::TERM);
    let response = client.response();
    assert_eq!((response.status, response.text()), (200, "in time"));
    let status = instance.wait_exit(crate::support::PATIENCE);
    assert_eq!(status.code(), Some(0), "{}", instance.printed());
    assert!(instance.printed().contains("farewell"), "{}", instance.printed());
    instance.assert_gone();
}

fn gunicorn(variant: Variant) {
    let Some(bin) = python_or_skip() else { return };
    let line = "gunicorn --no-control-socket --bind 127.0.0.1:$PORT wsgi:app";
    let instance =
        Setup::command(variant, "python", line).search(bin).options("--workers 2").start();
    instance.assert_serves();
    let mut client = instance.client();
    // This server ends each of its connections; the client's stays.
    for _ in 0..10 {
        assert_eq!(client.get("/hello").status, 200);
    }
    // Both processes are asked when one is busy, so some of these come from each.
    let pids: std::collections::HashSet<u32> = eventually("two groups of processes", || {
        let tagged = processes_with_tag(instance.tag());
        (tagged.len() >= 6).then(|| tagged.into_iter().collect())
    });
    assert!(pids.contains(&instance.worker_pid(0)) && pids.contains(&instance.worker_pid(1)));
    assert_moves_bodies(&instance);
    assert_serves_http_1_0(&instance, "/hello", "Hello, world!\n");
    let mut instance = instance;
    drop(client);
    instance.signal(Signal::TERM);
    let status = instance.wait_exit(crate::support::PATIENCE);
    assert_eq!(status.code(), Some(0), "{}", instance.printed());
    assert!(instance.printed().contains("Shutting down: Master"), "{}", instance.printed());
    instance.assert_gone();
}

fn by_hand(variant: Variant) {
    for place in ["$PORT", "$SOCKET"] {
        let line = format!("node by-hand.cjs {place}");
        let instance = Setup::command(variant, "commands", &line).start();
        instance.assert_serves();
        let mut client = instance.client();
        let before: u32 = client.get("/count").text().parse().expect("a number");
        let after: u32 = instance.get("/count").text().parse().expect("a number");
        assert_eq!(after, before + 1, "the same connection");
        // Whatever a server writes behind an answer, nobody gets it: the connection is given up.
        eventually("one client", || (instance.shards().conns == 1).then_some(()));
        for (target, body) in [("/surplus", "ok"), ("/goodbye", "goodbye")] {
            let kept = instance.shards().sockets;
            assert_eq!(client.get(target).text(), body);
            eventually("the connection is gone", || {
                (instance.shards().sockets < kept).then_some(())
            });
            client.send("POST /hello HTTP/1.1\r\nHost: test\r\n\r\n");
            assert_eq!(client.response().text(), "Hello, world!\n");
        }
        // A connection that ends without a word, at the moment of the next request or before it.
        for _ in 0..50 {
            assert_eq!(client.get("/goodbye").text(), "goodbye");
            assert_eq!(client.get("/hello").text(), "Hello, world!\n");
        }
        let whole = instance.get("/whole");
        assert_eq!(whole.text(), "all of it");
        drop(client);
        instance.finish();
    }
}

/// An answer whose end is the end of the connection must not look whole when its process dies.
fn cut_answers(variant: Variant) {
    for place in ["$PORT", "$SOCKET"] {
        let line = format!("node by-hand.cjs {place}");
        let instance = Setup::command(variant, "commands", &line).start();
        let mut client: Client = instance.client();
        client.send("GET /half HTTP/1.1\r\nHost: test\r\n\r\n");
        assert_eq!(client.read_head().expect("head").status, 200);
        let end = loop {
            if let Err(error) = client.read_exact(1) {
                break error.to_string();
            }
        };
        assert_eq!(end, "reset");
        eventually("the worker is started again", || {
            (instance.status().workers[0].restarts >= 1).then_some(())
        });
        instance.worker_pid(0);
        instance.assert_serves();
        instance.finish();
    }
}

/// The shell stays, and its end at SIGTERM is not the app's.
fn a_shell_script(variant: Variant) {
    let line = "./start.sh ../commands/by-hand.cjs $SOCKET";
    let instance = Setup::command(variant, "commands", line).start();
    instance.assert_serves();
    let shell = instance.worker_pid(0);
    let comm = std::fs::read_to_string(format!("/proc/{shell}/comm")).expect("alive");
    assert_eq!(comm.trim(), "start.sh");
    instance.finish();
    // An app below it that takes its time to stop is given it.
    let setup = Setup::command(variant, "commands", "./start.sh slow-stop.js");
    let mut instance = setup.start();
    instance.assert_serves();
    instance.signal(Signal::TERM);
    let status = instance.wait_exit(crate::support::PATIENCE);
    assert_eq!(status.code(), Some(0), "{}", instance.printed());
    assert!(instance.printed().contains("stopped in order"), "{}", instance.printed());
    instance.assert_gone();
}

fn fails(line: &str, needles: &[&str]) {
    let setup = Setup::command(Variant::PLAIN, "commands", line).options("--start-timeout 1s");
    setup.spawn_and_fail().expect(1, needles);
}

#[test]
fn a_command_that_does_not_exist() {
    fails("no-such-server --port $PORT", &["the shell did not find the command", "install it"]);
}

#[test]
fn a_command_that_exits_at_once() {
    fails(
        "echo no database >&2; exit 3",
        &["exited with code 3 before it accepted", "no database"],
    );
    fails("true", &["ended with code 0 before it accepted", "in the foreground"]);
}

#[test]
fn a_command_that_never_listens() {
    fails(
        "echo thinking >&2; exec sleep 1000",
        &[
            "did not accept a connection within 1.0 s, neither on unix:",
            "($SOCKET)",
            "($PORT)",
            "thinking",
        ],
    );
}

#[test]
fn a_command_that_listens_elsewhere() {
    let line = "node by-hand.cjs 0";
    fails(line, &["it listens on 127.0.0.1:", "instead", "uvicorn app:app --uds $SOCKET"]);
}

#[test]
fn a_command_and_a_script_exclude_each_other() {
    let setup = Setup::path(Variant::PLAIN, app("basic.js")).option("--command").option("true");
    let failure = setup.spawn_and_fail();
    failure.expect(78, &["PATH is the folder that the command runs in"]);
}
