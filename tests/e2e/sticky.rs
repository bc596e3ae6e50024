//! Sticky sessions: by a cookie, and by the sessions of a real Socket.IO with its real client.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::reload::{code, told, verb};
use crate::support::{Instance, Response, Setup, Variant, eventually, fixtures, matrix, signal};

matrix!(all: by_cookie, polling, upgrading, polling_by_cookie, a_reload_of_sessions);
matrix!(frames: off_means_off);

const WORKERS: usize = 3;
const CLIENTS: usize = 6;

fn start(variant: Variant, sticky: &str) -> Instance {
    Setup::new(variant, "socketio.js")
        .options("--workers 3 --shards 2 --probation 300ms --websocket-drain 1s")
        .options(&format!("--sticky {sticky}"))
        .start()
}

/// Socket.IO clients in a process of their own.
struct Clients {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Clients {
    fn connect(instance: &Instance, transports: &str, cookies: &str) -> Self {
        let mut command = Command::new("node");
        command.arg(fixtures().join("socketio-clients.cjs"));
        command.arg(format!("http://127.0.0.1:{}", instance.port())).arg(CLIENTS.to_string());
        command.args([transports, cookies]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("node");
        let orders = child.stdin.take().expect("piped");
        let answers = BufReader::new(child.stdout.take().expect("piped"));
        Self { child, orders, answers }
    }

    /// All of them ask who serves them.
    fn ask(&mut self) -> Value {
        self.orders.write_all(b"ask\n").expect("it listens");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("an answer");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    /// No session breaks, and all are of these transports.
    fn ask_in_peace(&mut self, transport: &str) -> Vec<u64> {
        let told = self.ask();
        assert_eq!((&told["errors"], &told["disconnects"]), (&json!(0), &json!(0)), "{told}");
        let transports = told["transports"].as_array().expect("a list");
        assert!(transports.iter().all(|name| name == transport), "{told}");
        pids(&told)
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn pids(told: &Value) -> Vec<u64> {
    let list = told["pids"].as_array().expect("a list");
    list.iter().map(|pid| pid.as_u64().expect("a pid")).collect()
}

fn cookie_of(response: &Response) -> Option<String> {
    let (value, attributes) = response.field("set-cookie")?.split_once("; ")?;
    assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Lax");
    Some(value.to_owned())
}

/// Each on a new connection, so in any shard.
fn visit(instance: &Instance, name: &str, cookie: Option<&str>) -> Response {
    let mut client = instance.client();
    let cookie = cookie.map(|cookie| format!("Cookie: {cookie}\r\n")).unwrap_or_default();
    client.send(format!("GET /?client={name} HTTP/1.1\r\nHost: test\r\n{cookie}\r\n"));
    let response = client.response();
    assert_eq!(response.status, 200, "{response:?}");
    response
}

fn by_cookie(variant: Variant) {
    let instance = start(variant, "cookie");
    let mut cookies = BTreeSet::new();
    for name in 0..8 {
        let name = name.to_string();
        let first = visit(&instance, &name, None);
        let cookie = cookie_of(&first).expect("a cookie");
        assert!(cookie.starts_with("hostler_route="), "{cookie}");
        for visits in 2..6 {
            let next = visit(&instance, &name, Some(&cookie));
            assert_eq!((next.json()["visits"].as_u64(), cookie_of(&next)), (Some(visits), None));
            assert_eq!(next.json()["cookie"], json!(cookie), "the app sees it as any other");
        }
        cookies.insert(cookie);
    }
    assert!((2..=WORKERS).contains(&cookies.len()), "they are spread: {cookies:?}");
    // The worker dies while others live: another one serves, and stays.
    let cookie = cookies.first().expect("one").clone();
    let pid = visit(&instance, "x", Some(&cookie)).json()["pid"].as_u64().expect("a pid");
    signal(pid as u32, Signal::KILL);
    let anew = eventually("the death is seen", || {
        let response = visit(&instance, "y", Some(&cookie));
        cookie_of(&response).map(|anew| (anew, response.json()["pid"].clone()))
    });
    assert_ne!(anew.0, cookie);
    assert_eq!(visit(&instance, "y", Some(&anew.0)).json()["pid"], anew.1);
    // And who comes back when its slot has a worker again is served there.
    eventually("the slot serves again", || {
        let response = visit(&instance, "z", Some(&cookie));
        (cookie_of(&response).is_none() && response.json()["pid"] != json!(pid)).then_some(())
    });
    instance.finish();
}

/// Sessions last while nothing happens; those of a killed worker begin anew elsewhere.
fn sessions(variant: Variant, sticky: &str, transports: &str, cookies: &str) {
    let instance = start(variant, sticky);
    let mut clients = Clients::connect(&instance, transports, cookies);
    let last = if transports == "polling" { "polling" } else { "websocket" };
    let told = clients.ask();
    assert_eq!((&told["errors"], &told["disconnects"]), (&json!(0), &json!(0)), "{told}");
    if last == "websocket" {
        eventually("all are WebSockets", || {
            let told = clients.ask();
            let all = told["transports"].as_array().expect("a list");
            all.iter().all(|name| name == last).then_some(())
        });
    }
    let before = clients.ask_in_peace(last);
    assert!(before.iter().collect::<BTreeSet<_>>().len() > 1, "they are spread: {before:?}");
    assert_eq!(clients.ask_in_peace(last), before);
    let victim = before[0];
    signal(victim as u32, Signal::KILL);
    let after = eventually("all are served again", || {
        let after = pids(&clients.ask());
        (!after.contains(&victim)).then_some(after)
    });
    for (before, after) in before.iter().zip(&after).filter(|(before, _)| **before != victim) {
        assert_eq!(before, after, "others notice nothing");
    }
    drop(clients);
    instance.wait_all_workers();
    instance.finish();
}

fn polling(variant: Variant) {
    sessions(variant, "socket.io", "polling", "none");
}

fn upgrading(variant: Variant) {
    sessions(variant, "socket.io", "polling,websocket", "none");
}

fn polling_by_cookie(variant: Variant) {
    sessions(variant, "cookie", "polling", "cookies");
}

fn a_reload_of_sessions(variant: Variant) {
    let instance = start(variant, "both");
    let mut polls = Clients::connect(&instance, "polling", "none");
    let mut sockets = Clients::connect(&instance, "websocket", "none");
    let old: BTreeSet<u64> = polls
        .ask_in_peace("polling")
        .into_iter()
        .chain(sockets.ask_in_peace("websocket"))
        .collect();
    let output = verb(&instance, &["reload"]);
    assert_eq!(code(&output), Some(0), "{}", told(&output));
    for clients in [&mut polls, &mut sockets] {
        eventually("all are at the new workers", || {
            let now = pids(&clients.ask());
            now.iter().all(|pid| !old.contains(pid)).then_some(())
        });
    }
    polls.ask_in_peace("polling");
    sockets.ask_in_peace("websocket");
    drop((polls, sockets));
    eventually("the old workers are gone", || {
        (instance.status().workers.len() == WORKERS).then_some(())
    });
    instance.finish();
}

fn off_means_off(variant: Variant) {
    let instance = start(variant, "off");
    assert_eq!(cookie_of(&visit(&instance, "a", None)), None);
    instance.finish();
}
