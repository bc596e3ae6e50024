//! Frames between the proxy and the loader inside a Node worker; `docs/worker-protocol.md` is the
//! contract.
//!
//! Owns: the layout of every frame, its limits, the JSON payloads, the tables of numbered names, and
//! the constants of the JavaScript side, which are generated from here. Must never know: sockets,
//! streams' states, windows' levels. Called by the proxy ([`FrameWriter`], [`FrameReader`]), and by
//! the simulator and the tests, which play the worker ([`peer`]).

mod frame;
mod names;
mod payload;
pub mod peer;
mod reader;
mod writer;

pub use frame::{
    CLOSE_BYTES_MAX, FRAME_PAYLOAD_BYTES_MAX, FRAME_PREFIX_BYTES, FromWorker, HEADERS_MAX,
    HeadFlags, JSON_BYTES_MAX, PROTOCOL_VERSION, StreamTag, TUNNEL_BYTES_MAX, TUNNEL_FIXED_BYTES,
    ToWorker, WINDOW_BYTES,
};
pub use names::{HEADER_NAMES, METHODS, constants_cjs, name_number};
pub use payload::{
    Count, Heartbeat, Listen, ListenRequest, ListenerAddress, Move, Offer, ProxyHello, Settings,
    Unlisten, WorkerHello, push_trailer, trailers,
};
pub use reader::{BodyEnd, FrameError, FrameReader, Incoming};
pub use writer::{FrameWriter, HeadParts, HeadWriter, NoRoom};
