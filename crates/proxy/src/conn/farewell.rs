//! An upgraded connection ends before its worker does, at a moment that was chosen for it.
//!
//! Owns: the end of a WebSocket between two frames of the app, with a close frame of ours; the end of every other tunnel. Must
//! never know: which worker, and why it ends. Called by `conn`.
//!
//! A client that gets a close frame answers it (RFC 6455 section 5.5.1). The app gets the answer, and takes it for the beginning of a close by
//! the client: it answers too, which nobody needs any more, and ends its side, as servers do first (section 7.1.1). That ends the
//! connection; and if client or app do not play along, a short wait does.

use std::ops::Range;

use hostler_driver::Buffer;
use hostler_protocol::http1::{FieldName, ResponseHead};
use hostler_protocol::websocket::{FrameBounds, SERVICE_RESTART};

use super::{Action, Conn, Context, Keep, Phase};

/// How long client and app may take to end what was closed.
const ANSWER_MS_MAX: u64 = 1_000;

/// How far the end of an upgraded connection is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Farewell {
    /// Nobody has asked for it.
    #[default]
    No,
    /// It comes at this moment.
    Due {
        /// Milliseconds of the shard.
        at_ms: u64,
        /// The latest moment.
        until_ms: u64,
    },
    /// It is due, and the app is in the middle of a frame, which it may finish until then.
    AwaitsBoundary {
        /// Milliseconds of the shard.
        until_ms: u64,
    },
    /// The last frame for the client is written. Until then it may end by itself.
    Said {
        /// Milliseconds of the shard.
        until_ms: u64,
    },
}

/// Does this 101 begin a WebSocket? `bytes` begins with the head.
pub(super) fn begins_websocket(bytes: &[u8], head: &ResponseHead) -> bool {
    let named = head.fields().iter().find(|field| field.known == FieldName::Upgrade);
    named.is_some_and(|field| field.value.of(bytes).eq_ignore_ascii_case(b"websocket"))
}

impl Conn {
    /// It is to end: a WebSocket at `at_ms`, anything else at `until_ms`.
    pub(super) fn end_upgraded(&mut self, at_ms: u64, until_ms: u64) {
        if self.phase == Phase::Tunnel
            && matches!(self.farewell, Farewell::No | Farewell::Due { .. })
        {
            let at_ms = if self.websocket.is_some() { at_ms } else { until_ms };
            self.farewell = Farewell::Due { at_ms, until_ms };
        }
    }

    /// It need not end, if the client has not been told yet.
    pub(super) fn keep_upgraded(&mut self) {
        if !matches!(self.farewell, Farewell::Said { .. }) {
            self.farewell = Farewell::No;
        }
    }

    /// When the present step of the end has to be followed by the next one.
    pub(super) fn farewell_ms(&self) -> u64 {
        match self.farewell {
            _ if self.phase != Phase::Tunnel => u64::MAX,
            Farewell::No => u64::MAX,
            Farewell::Due { at_ms, .. } => at_ms,
            Farewell::AwaitsBoundary { until_ms } | Farewell::Said { until_ms } => until_ms,
        }
    }

    /// That moment has come.
    pub(super) fn farewell_due(&mut self, cx: &mut Context<'_>) {
        match (self.farewell, self.websocket) {
            // The app has ended it, and its last bytes are on their way.
            (Farewell::Due { .. }, Some(_)) if self.worker_held => self.end_tunnel(cx),
            (Farewell::Due { .. }, Some(frames)) if frames.is_at_boundary() => {
                self.say_farewell(frames, cx);
            }
            (Farewell::Due { until_ms, .. }, Some(_)) if cx.now.ms < until_ms => {
                self.farewell = Farewell::AwaitsBoundary { until_ms };
            }
            (Farewell::No, _) => {}
            (Farewell::Due { .. } | Farewell::AwaitsBoundary { .. } | Farewell::Said { .. }, _) => {
                self.end_tunnel(cx);
            }
        }
    }

    /// Nothing of the app goes out behind this.
    fn say_farewell(&mut self, frames: FrameBounds, cx: &mut Context<'_>) {
        if !frames.has_close() {
            self.outbox.write(cx.pool, SERVICE_RESTART);
        }
        // The client's answer may be unread when the connection ends, and must not make a reset of that.
        self.must_linger = true;
        self.farewell = Farewell::Said { until_ms: cx.now.ms + ANSWER_MS_MAX };
    }

    /// What the client has not taken still gets to it; the worker is free at once.
    fn end_tunnel(&mut self, cx: &mut Context<'_>) {
        // As above: it does not know that nobody reads on.
        self.must_linger = true;
        self.release(Keep::Cancel, cx);
        self.begin_close(cx);
    }

    /// Bytes of the app for the client, as far as it still gets any.
    pub(super) fn tunnel_to_client(
        &mut self,
        buffer: &Buffer,
        range: Range<usize>,
        scarce: bool,
        cx: &mut Context<'_>,
    ) {
        match (self.farewell, &mut self.websocket) {
            // The app may be waiting to say them; it is to hear what the client answers.
            (Farewell::Said { .. }, _) => cx.actions.push_back(Action::WorkerCredit(0)),
            (Farewell::AwaitsBoundary { .. }, Some(frames)) => {
                let taken = frames.follow_frame(&buffer[range.clone()]);
                let frames = *frames;
                self.outbox.push(cx.pool, buffer, range.start..range.start + taken, scarce);
                if frames.is_at_boundary() {
                    self.say_farewell(frames, cx);
                }
            }
            (_, frames) => {
                if let Some(frames) = frames {
                    frames.follow(&buffer[range.clone()]);
                }
                self.outbox.push(cx.pool, buffer, range, scarce);
            }
        }
    }
}
