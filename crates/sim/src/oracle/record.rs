//! What is known about one request.
//!
//! Owns: the facts. Must never know: what follows from them. Part of `oracle`.

use crate::request::Request;

/// Time-outs of the world under test.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// For a whole request head.
    pub head_ms: u64,
    /// Idle keep-alive.
    pub idle_ms: u64,
    /// Silence of the client.
    pub client_ms: u64,
    /// Silence of the worker.
    pub worker_ms: u64,
    /// In the queue.
    pub queue_ms: u64,
}

/// One attempt to answer a request.
#[derive(Clone, Debug, Default)]
pub struct Delivery {
    /// The worker's number.
    pub worker: u32,
    /// Over the plain path.
    pub plain: bool,
    /// What the app answers.
    pub status: u16,
    /// Length of the answer's body.
    pub body_len: usize,
    /// The answer's end is the end of the connection.
    pub until_close: bool,
    /// The app means to answer properly.
    pub honest: bool,
    /// The app takes longer than the proxy waits.
    pub too_slow: bool,
    /// All of the answer has been written to the socket.
    pub finished: bool,
    /// The app writes more than its answer; the connection ends after it.
    pub surplus: bool,
    /// The app destroyed the socket.
    pub reset: bool,
    /// The app has closed a WebSocket itself.
    pub says_close: bool,
    /// The app has begun to write its answer.
    pub wrote: bool,
    /// The worker, its channel or its connection was lost, or the app destroyed the socket, before or while it answered.
    pub lost: bool,
    /// Its process died while it answered.
    pub died: bool,
    /// The client has seen the answer's head.
    pub seen: bool,
    /// The whole request body has arrived.
    pub request_whole: bool,
}

/// One request's story.
#[derive(Clone, Debug)]
pub struct Record {
    /// The request.
    pub request: Request,
    /// The client's number.
    pub client: usize,
    /// When its first byte was written.
    pub begun_ms: Option<u64>,
    /// When its last byte was written.
    pub sent_ms: Option<u64>,
    /// The longest pause of the client within it.
    pub gap_ms: u64,
    /// Attempts to answer it.
    pub deliveries: Vec<Delivery>,
    /// Final answers that the client got.
    pub answers: u32,
}

/// The supervisor asked that the upgraded connections of a worker end.
#[derive(Clone, Copy, Debug)]
pub struct Closing {
    /// The worker's number.
    pub worker: u32,
    /// The last one ends then.
    pub until_ms: u64,
}

/// Promises that a test breaks on purpose, to see that it is noticed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Canary {
    /// Apps write wrong bytes.
    pub wrong_body: bool,
    /// Requests are delivered twice.
    pub deliver_twice: bool,
    /// Answers are shorter than apps meant them to be.
    pub short_answer: bool,
    /// Apps that seem healthy never answer.
    pub no_answer: bool,
    /// A field is lost.
    pub lost_field: bool,
    /// Apps say that the server restarts, and nobody has asked for it.
    pub close_frame: bool,
}
