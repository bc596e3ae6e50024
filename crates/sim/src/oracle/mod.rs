//! What must hold, whatever happens.
//!
//! Owns: the ledger of all requests (sent, delivered, answered), the facts that excuse a failure, and the list
//! of broken promises. Must never know: how the proxy works inside. Told by clients and workers, read by
//! `world`.

mod answers;
mod record;

pub use self::record::{Canary, Closing, Delivery, Record, Times};
use crate::request::Request;
use crate::rng::is_body;

/// Slack for timers: the wheel's tick and the rounds it takes to see an effect.
pub const SLACK_MS: u64 = 1_500;

/// The excuse of a client that has sent all its requests and then FIN.
pub const HALF_CLOSED: &str = "half-closed after the last request";

/// All stories, and the facts around them.
#[derive(Debug)]
pub struct Ledger {
    /// Virtual time.
    pub now_ms: u64,
    /// By number.
    pub records: Vec<Record>,
    /// Broken promises.
    pub violations: Vec<String>,
    /// Time-outs.
    pub times: Times,
    /// Port in the forwarding fields.
    pub port: String,
    /// The app answers client errors itself, half a head among them.
    pub asks: bool,
    /// Longest request body allowed.
    pub body_max: u64,
    /// When a worker, a channel or a worker's connection was last lost.
    pub lost_ms: Option<u64>,
    /// When each of them was.
    pub losses_ms: Vec<u64>,
    /// When it was asked that upgraded connections end.
    pub closings: Vec<Closing>,
    /// When an app last destroyed an idle connection.
    pub idle_reset_ms: Option<u64>,
    /// When the event loop of a worker last stood still.
    pub frozen_ms: Option<u64>,
    /// When no worker could last take a request.
    pub short_ms: Option<u64>,
    /// When the clock last jumped.
    pub jumped_ms: Option<u64>,
    /// When the server began to stop.
    pub drained_ms: Option<u64>,
    /// When another proxy took over: what is here is finished, new connections are no business of this one.
    pub retired_ms: Option<u64>,
    /// Some connections vanish before they are accepted.
    pub accept_aborts: bool,
    /// Promises broken on purpose.
    pub canary: Canary,
    /// Print what happens.
    pub trace: bool,
    /// App answers seen whole by clients.
    pub answered: u64,
    /// Answers of the proxy itself.
    pub own_answers: u64,
    /// Requests delivered twice.
    pub retried: u64,
}

impl Ledger {
    /// An empty ledger.
    pub fn new(times: Times, port: &str, body_max: u64, trace: bool) -> Self {
        Self {
            now_ms: 0,
            records: Vec::new(),
            violations: Vec::new(),
            times,
            port: port.to_owned(),
            asks: false,
            body_max,
            lost_ms: None,
            losses_ms: Vec::new(),
            closings: Vec::new(),
            idle_reset_ms: None,
            frozen_ms: None,
            short_ms: None,
            jumped_ms: None,
            drained_ms: None,
            retired_ms: None,
            accept_aborts: false,
            canary: Canary::default(),
            trace,
            answered: 0,
            own_answers: 0,
            retried: 0,
        }
    }

    /// Notes a broken promise.
    pub fn violation(&mut self, what: impl Into<String>) {
        let what = format!("at {} ms: {}", self.now_ms, what.into());
        if self.trace {
            eprintln!("VIOLATION {what}");
        }
        self.violations.push(what);
    }

    /// Prints, when somebody watches.
    pub fn note(&self, what: impl FnOnce() -> String) {
        if self.trace {
            eprintln!("{:>8} {}", self.now_ms, what());
        }
    }

    /// The number of the next request.
    pub fn next_id(&self) -> usize {
        self.records.len()
    }

    /// Enters a request that a client means to send.
    pub fn enter(&mut self, request: Request, client: usize) {
        self.note(|| {
            let Request { id, method, body, body_len, close, .. } = &request;
            let more = [(request.http10, "1.0"), (request.expects, "expects"), (request.upgrade, "upgrade")];
            let more: Vec<_> = more.iter().filter(|(on, _)| *on).map(|(_, what)| *what).collect();
            format!("client {client} means to send {id}: {method} {body:?} {body_len} close={close} {more:?}")
        });
        self.records.push(Record {
            request,
            client,
            begun_ms: None,
            sent_ms: None,
            gap_ms: 0,
            deliveries: Vec::new(),
            answers: 0,
        });
    }

    /// A worker, a channel or a worker's connection is lost.
    pub fn note_loss(&mut self) {
        self.lost_ms = Some(self.now_ms);
        self.losses_ms.push(self.now_ms);
    }

    /// A request head reached app code: checks it, and gives the numbers of request and attempt.
    pub fn deliver(
        &mut self,
        worker: u32,
        plain: bool,
        method: &[u8],
        target: &[u8],
        fields: &[(Vec<u8>, Vec<u8>)],
    ) -> Option<(usize, usize)> {
        let fields = if self.canary.lost_field { &fields[1..] } else { fields };
        let id = Request::id_of_target(target).filter(|id| *id < self.records.len());
        let Some(id) = id else {
            self.violation(format!(
                "worker {worker} got a request that nobody sent: {:?}",
                String::from_utf8_lossy(target)
            ));
            return None;
        };
        self.note(|| {
            format!("worker {worker} gets request {id}{}", if plain { " (plain)" } else { "" })
        });
        let record = &self.records[id];
        let request = &record.request;
        let mut problems = Vec::new();
        if method != request.method.as_bytes() || target != request.target().as_bytes() {
            problems.push(format!("request {id}: method or target changed"));
        }
        if !request.refusals.is_empty() {
            problems.push(format!("request {id} is broken and was delivered"));
        }
        if record.begun_ms.is_none() {
            problems.push(format!("request {id} was delivered before it was sent"));
        }
        if let Some(difference) = fields_differ(&request.forwarded(plain, &self.port), fields) {
            problems.push(format!("request {id}: {difference}"));
        }
        if let Some(before) = record.deliveries.last() {
            if record.deliveries.len() > 1 || !request.is_repeatable() || before.seen {
                problems.push(format!("request {id} was delivered again after {before:?}"));
            }
            self.retried += 1;
        }
        for problem in problems {
            self.violation(problem);
        }
        let again = self.canary.deliver_twice && self.records[id].deliveries.is_empty();
        let deliveries = &mut self.records[id].deliveries;
        deliveries.push(Delivery { worker, plain, ..Delivery::default() });
        if again {
            return self.deliver(worker, plain, method, target, fields);
        }
        let deliveries = &self.records[id].deliveries;
        Some((id, deliveries.len() - 1))
    }

    /// Request body bytes reached app code.
    pub fn body_arrived(&mut self, id: usize, at: usize, bytes: &[u8]) {
        if !is_body(Request::body_key(id), at, bytes) {
            self.violation(format!("request {id}: wrong body bytes at {at}"));
        }
        if at + bytes.len() > self.records[id].request.body_len {
            self.violation(format!("request {id}: the body is longer than it was sent"));
        }
    }

    /// The request's end reached app code.
    pub fn request_arrived(
        &mut self,
        id: usize,
        delivery: usize,
        bytes: usize,
        trailers: Option<&[(Vec<u8>, Vec<u8>)]>,
    ) {
        let record = &mut self.records[id];
        record.deliveries[delivery].request_whole = true;
        let request = &record.request;
        let mut problem = None;
        if bytes != request.body_len {
            problem = Some(format!(
                "request {id}: {bytes} body bytes of {} and then the end",
                request.body_len
            ));
        } else if request.body_len > 0 && record.sent_ms.is_none() && request.refusals.is_empty() {
            problem = Some(format!("request {id}: its end arrived before it was sent"));
        } else if let Some(trailers) = trailers {
            let same = trailers.len() == request.trailers.len()
                && trailers
                    .iter()
                    .zip(&request.trailers)
                    .all(|(got, sent)| got.0 == sent.0.as_bytes() && got.1 == sent.1.as_bytes());
            if !same {
                problem = Some(format!("request {id}: trailers {trailers:?}"));
            }
        }
        if let Some(problem) = problem {
            self.violation(problem);
        }
    }
}

fn fields_differ(
    expected: &[(String, Option<String>)],
    got: &[(Vec<u8>, Vec<u8>)],
) -> Option<String> {
    let same = |want: &(String, Option<String>), have: &(Vec<u8>, Vec<u8>)| {
        want.0.as_bytes() == have.0
            && want.1.as_ref().is_none_or(|value| value.as_bytes() == have.1)
    };
    if expected.len() == got.len() && expected.iter().zip(got).all(|(want, have)| same(want, have))
    {
        return None;
    }
    let got: Vec<_> = got
        .iter()
        .map(|(name, value)| {
            format!("{}: {}", String::from_utf8_lossy(name), String::from_utf8_lossy(value))
        })
        .collect();
    Some(format!("fields {got:?} instead of {expected:?}"))
}
