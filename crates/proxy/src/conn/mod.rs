//! The state machine of one client connection.
//!
//! Owns: its states and the one entry, [`Conn::step`]. Must never know: that a ring, a socket, a thread, a clock
//! or a random number exists; those come as [`Event`]s, leave as [`Action`]s, or are passed in
//! the [`Context`]. Called by the shard, by unit tests and by the simulator.
//!
//! ```text
//!            first byte        head whole       worker granted
//!    IDL ────────────► HED ───────────► QUE ───────────────► EXC ──► TUN (after 101)
//!     ▲                 │ bad, late      │ full, late          │        │
//!     │                 ▼                ▼                     │        │
//!     └── keep-alive ◄─ own answer ◄─────┴─────────────────────┤        │
//!                       │                                      ▼        │
//!                       └──────────► CLO ──► LIN ──► closed ◄──┴────────┘
//! ```
//!
//! A refused request that the app answers itself goes from QUE to TUN at once, see `refused.rs`.
//!
//! Inside EXC the two directions have states of their own, [`Reading`] and [`Writing`]: the request may
//! still arrive while the response already leaves.

pub mod address;
mod close;
mod deadline;
mod event;
mod exchange;
mod farewell;
mod inbox;
mod log;
mod offered;
pub mod outbox;
mod read_head;
mod receive;
mod refused;
mod relay_request;
mod relay_response;
mod sent;
mod state;
mod sticky;
mod tunnel;
mod unchunk;
mod worker_end;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use hostler_driver::{Part, Pool, SocketId};
use hostler_protocol::http1::{RequestHead, ResponseHead};
use hostler_protocol::websocket::FrameBounds;
use smallvec::SmallVec;

pub use self::address::ClientAddress;
pub use self::event::{Action, Event, Keep, Link, ResponseEnd};
use self::farewell::Farewell;
use self::inbox::Inbox;
pub use self::offered::{Fin, Leaving, Offered};
use self::outbox::Outbox;
use self::read_head::Gather;
pub use self::refused::Refusal;
pub use self::state::{BodyAsk, BodyLeft, Phase, Reading, Request, TunnelFlow, Writing};
use crate::access_log::AccessLog;
use crate::clock::Now;
use crate::dispatch::limit::Began;
use crate::quarantine::RequestKey;
use crate::request_id::RequestIds;
use crate::settings::Settings;
use crate::stats::Stats;
use crate::sticky::Route;

/// What a step may look at and write to besides the connection itself.
pub struct Context<'a> {
    /// The moment of this turn.
    pub now: Now,
    /// Limits and time-outs.
    pub settings: &'a Settings,
    /// Output buffers.
    pub pool: &'a Pool,
    /// The head parsed in this step; valid until the step's actions are done.
    pub request_head: &'a mut RequestHead,
    /// Scratch for response heads.
    pub response_head: &'a mut ResponseHead,
    /// Wishes of this step.
    pub actions: &'a mut VecDeque<Action>,
    /// Counters.
    pub stats: &'a mut Stats,
    /// Request ids and the shard's random numbers.
    pub ids: &'a mut RequestIds,
    /// Lines of finished requests; `None` when nobody wants them.
    pub log: Option<&'a mut AccessLog>,
    /// Whether there is a next request for a connection.
    pub ending: Ending,
}

/// The end of the shard, as a connection has to know of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ending {
    /// There is none in sight.
    #[default]
    No,
    /// Each answer whose head is still to come is the last of its connection, and says so. Who has been told otherwise may ask once more.
    Retiring,
    /// The same, and a connection ends with its answer, whatever it was told.
    Stopping,
}

/// A stream that a worker holds for a client connection, also between requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenStream {
    /// Serial number of the channel.
    pub channel: u32,
    /// Generation of the last request on this stream; later ones may have gone to other workers.
    pub generation: u8,
}

/// One client connection.
pub struct Conn {
    /// Its socket.
    pub socket: SocketId,
    /// Where it came from.
    pub address: ClientAddress,
    /// Which listener it came through.
    pub listener: u8,
    /// Marks the frames of the request in hand; see `docs/worker-protocol.md`.
    pub generation: u8,
    /// The way to the worker.
    pub link: Link,
    /// Facts about the request in hand.
    pub request: Request,
    /// The request head's bytes, kept until the response begins (for the queue and for a retry).
    pub head: Option<Part>,
    /// The channels on which this connection has a stream open.
    pub streams: SmallVec<[OpenStream; 4]>,
    /// Set when Node accepted the connection and offered it.
    pub offered: Option<Offered>,
    /// How far an offered connection is on its way back in the middle of an exchange.
    pub leaving: Leaving,
    /// How far the worker's own end of an offered connection is.
    pub fin: Fin,
    /// The app has written to an offered connection behind its last answer.
    raw: bool,
    /// The name of the error that ended the client's connection (`ECONNRESET`), for the worker.
    pub broken: &'static str,
    /// Requests that were given to a worker.
    pub requests: u64,
    /// The worker that had the last of them, by the supervisor's number.
    pub last_worker: Option<u32>,
    /// What its request says about its worker, in a sticky app; stale in others.
    pub route: Route,
    /// Output to the client.
    pub outbox: Outbox,
    /// How the two directions of its tunnel stand; the shard's.
    pub tunnel: TunnelFlow,
    /// When its request was given to a worker; the shard's.
    pub began: Began,
    /// Its request was in the hands of a worker that died or hung; the shard's.
    pub suspect: Option<RequestKey>,
    /// It is counted among its worker's suspects; the shard's.
    pub trial: bool,
    /// It is counted among its worker's upgraded connections; the shard's.
    pub upgraded: bool,
    /// What it has asked of the large buffers; the shard's.
    pub body_ask: BodyAsk,
    /// How long the worker keeps its plain connection idle after this response, milliseconds, where it says so.
    pub worker_idle_ms: Option<u32>,
    phase: Phase,
    reading: Reading,
    writing: Writing,
    inbox: Inbox,
    gather: Option<Box<Gather>>,
    /// A response head that came in pieces.
    response_gather: Option<Vec<u8>>,
    /// The beginning of an answer that may name a session.
    handshake: sticky::Handshake,
    trailers: Option<Vec<u8>>,
    /// Start of the phase or last progress within it, milliseconds.
    mark_ms: u64,
    /// When the request in hand began to arrive.
    began_ms: u64,
    /// Request body bytes the worker takes.
    window: u32,
    /// Request body bytes seen, for the size limit.
    body_bytes: u64,
    /// Response bytes taken from the worker that the client has not taken.
    unacknowledged: u32,
    /// Response bytes the client took, not yet credited to the worker.
    credit: u32,
    /// Request body bytes were given to the link and have not left.
    body_in_link: bool,
    /// The plain worker connection is held back until the client takes bytes.
    worker_held: bool,
    /// FIN received.
    receive_ended: bool,
    /// The connection ends after this response.
    close_after: bool,
    /// What the shard's sum knows of this connection's bytes on the heap.
    pub(crate) spill_counted: u32,
    /// The worker keeps its plain connection after this response.
    worker_keeps: bool,
    /// The client may still be sending what nobody will read.
    must_linger: bool,
    /// The connection ends by a reset.
    must_reset: bool,
    /// An interim response to the request in hand has been forwarded.
    interim_sent: bool,
    /// Where the worker's frames end, in a WebSocket.
    websocket: Option<FrameBounds>,
    /// How far the end of an upgraded connection is that has to end before its worker.
    farewell: Farewell,
}

impl std::fmt::Debug for Conn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "conn {:?} phase={} reading={:?} writing={:?} link={:?} waiting={} window={} mark={}",
            self.address,
            self.phase.short(),
            self.reading,
            self.writing,
            self.link,
            self.outbox.waiting(),
            self.window,
            self.mark_ms
        )
    }
}

impl Conn {
    /// A connection that was just accepted. The caller asks for [`ReceiveMode::Stream`].
    pub fn new(
        socket: SocketId,
        address: ClientAddress,
        listener: u8,
        generation: u8,
        now: Now,
    ) -> Self {
        Self {
            socket,
            address,
            listener,
            generation,
            link: Link::None,
            request: Request::NONE,
            head: None,
            streams: SmallVec::new(),
            offered: None,
            leaving: Leaving::No,
            fin: Fin::No,
            raw: false,
            broken: "",
            requests: 0,
            last_worker: None,
            route: Route::default(),
            outbox: Outbox::default(),
            tunnel: TunnelFlow::default(),
            began: Began::LONG_AGO,
            suspect: None,
            trial: false,
            upgraded: false,
            body_ask: BodyAsk::None,
            worker_idle_ms: None,
            phase: Phase::Idle,
            reading: Reading::Done,
            writing: Writing::Done,
            inbox: Inbox::default(),
            gather: None,
            response_gather: None,
            handshake: None,
            trailers: None,
            mark_ms: now.ms,
            began_ms: now.ms,
            window: 0,
            body_bytes: 0,
            unacknowledged: 0,
            credit: 0,
            body_in_link: false,
            worker_held: false,
            receive_ended: false,
            close_after: false,
            spill_counted: 0,
            worker_keeps: false,
            must_linger: false,
            must_reset: false,
            interim_sent: false,
            websocket: None,
            farewell: Farewell::No,
        }
    }

    /// Where the connection is in its life.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// A worker has the request, and no final head has come back.
    pub fn is_unanswered(&self) -> bool {
        self.phase == Phase::Exchange && matches!(self.writing, Writing::AwaitHead)
    }

    /// The end of the worker's connection means something: it ends the response in hand, or is all the answer that a refused
    /// request gets.
    pub fn ends_with_worker(&self) -> bool {
        matches!(self.writing, Writing::Body(BodyLeft::UntilClose))
            || matches!(self.request.refusal, Refusal::Asked(_))
    }

    /// The one entry: something happened.
    pub fn step(&mut self, event: Event<'_>, cx: &mut Context<'_>) {
        match event {
            Event::Received(buffer) => self.received(Part::whole(buffer), cx),
            Event::ReceiveEnded => self.receive_ended(cx),
            Event::Failed(why) => {
                self.broken = why;
                self.cut(cx);
            }
            Event::SendProgress => self.mark_sent(cx),
            Event::Sent => self.sent(cx),
            Event::Granted(link) => self.granted(link, cx),
            Event::Refused(answer) => self.answer(answer, cx),
            Event::WorkerBytes { buffer, range, end, scarce } => {
                self.worker_bytes(buffer, range, end, scarce, cx);
            }
            Event::WorkerEnded => self.worker_ended(cx),
            Event::WorkerReset => self.worker_reset(cx),
            Event::WorkerLost { unsent } => self.worker_lost(unsent, cx),
            Event::WorkerHangs => self.worker_hangs(cx),
            Event::WorkerWindow(bytes) => self.worker_window(bytes, cx),
            Event::BodySent => self.body_sent(cx),
            Event::Deadline => self.deadline_passed(cx),
            Event::GiveBackDue => self.give_back_due(cx),
            Event::WorkerHeld => self.worker_held(cx),
            Event::GoBackDue => self.go_back(cx),
            Event::EndUpgraded { at_ms, until_ms } => self.end_upgraded(at_ms, until_ms),
            Event::KeepUpgraded => self.keep_upgraded(),
            Event::Drain => self.drain(cx),
            Event::Cut => self.cut(cx),
        }
        self.count_spill(cx);
        self.check_invariants();
    }

    /// Keeps the shard's sum of bytes on the heap.
    fn count_spill(&mut self, cx: &mut Context<'_>) {
        let spilled = self.outbox.spilled();
        cx.stats.spilled_bytes += u64::from(spilled);
        cx.stats.spilled_bytes -= u64::from(self.spill_counted);
        self.spill_counted = spilled;
    }

    /// The one place where the phase changes.
    fn set_phase(&mut self, phase: Phase, cx: &Context<'_>) {
        use Phase::{Closing, Exchange, Head, Idle, Lingering, Queued, Tunnel};
        debug_assert!(
            matches!(
                (self.phase, phase),
                (Idle, Head | Queued)
                    | (Head, Queued)
                    | (Queued, Exchange | Idle | Tunnel)
                    | (Exchange, Idle | Queued | Tunnel)
                    | (Idle | Head | Queued | Exchange | Tunnel, Closing)
                    | (Closing, Lingering)
            ),
            "no way from {} to {}",
            self.phase.short(),
            phase.short()
        );
        if self.phase == Idle {
            self.began_ms = cx.now.ms;
        }
        self.phase = phase;
        self.mark_ms = cx.now.ms;
    }

    fn drain(&mut self, cx: &mut Context<'_>) {
        if self.phase == Phase::Idle {
            self.begin_close(cx);
        }
    }

    fn check_invariants(&self) {
        debug_assert!(self.gather.is_none() || self.phase == Phase::Head, "{self:?}");
    }
}
