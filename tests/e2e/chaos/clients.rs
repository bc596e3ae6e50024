//! The clients of the chaos tests: they ask all the time, check every byte, and remember everything that was not right.
//!
//! Owns: HTTP clients, WebSocket clients, what counts as wrong. Must never know: what is done to the instance meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::support::{Client, Instance, Target};
use crate::websocket::{CLOSE, Socket, TEXT};

/// Bodies of POST requests: more than one buffer, less than a second.
const BODY_BYTES: usize = 3_000;

/// Something that was not right.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) kind: Kind,
    /// The request may be sent again without harm (RFC 9110, 9.2.2).
    pub(super) idempotent: bool,
    /// From the request to that moment.
    pub(super) after: Duration,
    /// That moment.
    pub(super) at: Instant,
    /// For people.
    pub(super) text: String,
}

impl Failure {
    /// Some of the answer was there.
    pub(super) fn had_begun(&self) -> bool {
        self.text.starts_with("closed after") && !self.text.starts_with("closed after \"\"")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nobody accepts connections.
    Refused,
    /// The connection ended where an answer was due.
    Lost,
    /// Another status than 200.
    Status(u16),
    /// An answer that is not the right one.
    Wrong,
    /// A WebSocket ended with this code, or without one.
    Closed(Option<u16>),
}

/// What all clients have seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Right answers.
    pub(super) answers: u64,
    /// Right echoes over WebSockets.
    pub(super) echoes: u64,
    pub(super) failures: Vec<Failure>,
}

impl Seen {
    /// Fails with all that was not right, unless `allowed` says that it may be.
    pub(super) fn assert_only(&self, allowed: impl Fn(&Failure) -> bool) {
        let bad: Vec<&Failure> = self.failures.iter().filter(|failure| !allowed(failure)).collect();
        assert!(
            bad.is_empty(),
            "{} of {} answers: {:#?}",
            bad.len(),
            self.answers,
            &bad[..bad.len().min(5)]
        );
    }
}

/// Clients at work.
pub(super) struct Crowd {
    ends: Arc<AtomicBool>,
    answers: Arc<AtomicU64>,
    clients: Vec<JoinHandle<Seen>>,
}

impl Crowd {
    /// So many HTTP clients and WebSocket clients.
    pub(super) fn on(instance: &Instance, http: usize, websocket: usize) -> Self {
        let (ends, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let clients = (0..http + websocket).map(|number| {
            let target = instance.target();
            let (ends, answers) = (Arc::clone(&ends), Arc::clone(&answers));
            thread::spawn(move || {
                let mut one = One { target, number: number as u64, seen: Seen::default() };
                if number < http {
                    one.http(&ends, &answers)
                } else {
                    one.websocket(&ends)
                }
                one.seen
            })
        });
        Self { clients: clients.collect(), ends, answers }
    }

    /// Right answers so far.
    pub(super) fn answers(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }

    pub(super) fn finish(self) -> Seen {
        self.ends.store(true, Ordering::Relaxed);
        let mut all = Seen::default();
        for client in self.clients {
            let seen = client.join().expect("clients do not panic");
            all.answers += seen.answers;
            all.echoes += seen.echoes;
            all.failures.extend(seen.failures);
        }
        all
    }
}

struct One {
    target: Target,
    number: u64,
    seen: Seen,
}

impl One {
    fn fail(&mut self, kind: Kind, idempotent: bool, since: Instant, text: impl Into<String>) {
        let (after, at) = (since.elapsed(), Instant::now());
        let failure = Failure { kind, idempotent, after, at, text: text.into() };
        self.seen.failures.push(failure);
    }

    fn connect(&mut self) -> Option<Client> {
        let since = Instant::now();
        match Client::try_connect(&self.target) {
            Ok(client) => Some(client),
            Err(error) => {
                self.fail(Kind::Refused, true, since, error.to_string());
                // Not in a tight loop: whoever refuses does so again at once.
                thread::sleep(Duration::from_millis(20));
                None
            }
        }
    }

    fn http(&mut self, ends: &AtomicBool, answers: &AtomicU64) {
        let mut count = self.number * 1_000_000;
        'connections: while !ends.load(Ordering::Relaxed) {
            let Some(mut client) = self.connect() else { continue };
            while !ends.load(Ordering::Relaxed) {
                count += 1;
                let (request, body) = request(count);
                let idempotent = request.starts_with(b"GET");
                let since = Instant::now();
                let sent = client.try_send(&request);
                let response = match (sent, client.try_response("GET")) {
                    (_, Ok(response)) => response,
                    (_, Err(error)) => {
                        self.fail(Kind::Lost, idempotent, since, error.to_string());
                        continue 'connections;
                    }
                };
                if response.status != 200 {
                    self.fail(
                        Kind::Status(response.status),
                        idempotent,
                        since,
                        format!("{response:?}"),
                    );
                } else if response.body != body {
                    self.fail(Kind::Wrong, idempotent, since, format!("{response:?}"));
                } else {
                    self.seen.answers += 1;
                    answers.fetch_add(1, Ordering::Relaxed);
                }
                if response.field("connection") == Some("close") {
                    continue 'connections;
                }
            }
        }
    }

    /// One message after the other, a little slower than HTTP, as people are.
    fn websocket(&mut self, ends: &AtomicBool) {
        let mut count = 0_u64;
        'connections: while !ends.load(Ordering::Relaxed) {
            let Some(client) = self.connect() else { continue };
            let since = Instant::now();
            let mut socket = match Socket::try_over(client) {
                Ok(socket) => socket,
                Err(why) => {
                    self.fail(Kind::Lost, true, since, format!("upgrade: {why}"));
                    continue;
                }
            };
            while !ends.load(Ordering::Relaxed) {
                count += 1;
                let text = format!("{} says {count}", self.number).into_bytes();
                let since = Instant::now();
                let answer = socket.try_send(TEXT, &text).and_then(|()| socket.try_receive());
                match answer {
                    Ok((TEXT, echo)) if echo == text => self.seen.echoes += 1,
                    Ok((CLOSE, payload)) => {
                        let code = payload.first_chunk().copied().map(u16::from_be_bytes);
                        self.fail(Kind::Closed(code), false, since, "closed by the server");
                        continue 'connections;
                    }
                    Ok(other) => self.fail(Kind::Wrong, false, since, format!("{other:?}")),
                    Err(why) => {
                        self.fail(Kind::Closed(None), false, since, why);
                        continue 'connections;
                    }
                }
                thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

/// The n-th request and the body of its answer.
fn request(number: u64) -> (Vec<u8>, Vec<u8>) {
    let get = |path: &str| {
        let request = format!("GET /{path}/{number} HTTP/1.1\r\nHost: test\r\n\r\n");
        (request.into_bytes(), format!("number {number}\n").into_bytes())
    };
    match number % 8 {
        0 => {
            let body: Vec<u8> = (0..BODY_BYTES as u64).map(|at| (at * number) as u8).collect();
            let head = format!(
                "POST /echo/ HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            ([head.as_bytes(), &body].concat(), body)
        }
        1 | 2 => get("later"),
        _ => get("number"),
    }
}
