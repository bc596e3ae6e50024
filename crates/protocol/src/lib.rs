//! The meaning of bytes: everything that travels between a client, the proxy, a worker and the
//! supervisor is defined here and nowhere else.
//!
//! Must never know: sockets, files, clocks, threads, processes. Input is `&[u8]`, output goes into
//! a caller's buffer. Used by `proxy`, `spawner`, `sim` and the command line.
//!
//! * [`http1`]: the strict HTTP/1.1 codec, heads, body framing, chunked coding, limits
//! * [`worker`]: frames between the proxy and the loader in a Node worker
//! * [`websocket`]: where the frames of a WebSocket end
//! * [`control`]: messages between supervisor, proxy and command line
#![forbid(unsafe_code)]

pub mod control;
#[doc(hidden)]
#[path = "fuzz_bodies.rs"]
pub mod fuzzing;
pub mod http1;
pub mod websocket;
pub mod worker;
