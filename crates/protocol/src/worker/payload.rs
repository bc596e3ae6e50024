//! Payloads with a structure: JSON, heartbeat, trailers.
//!
//! Owns: their fields and encodings. Must never know: what the numbers lead to. Called by the proxy's
//! channels and by the peer.

use serde::{Deserialize, Serialize};

/// HELLO of the worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerHello {
    /// [`PROTOCOL_VERSION`](super::PROTOCOL_VERSION) of the loader.
    pub protocol: u32,
    /// The supervisor's number of the process.
    pub worker: u32,
    /// The app's name.
    pub app: String,
    /// Which of the app's workers it is.
    pub slot: u32,
    /// Process id.
    pub pid: u32,
    /// Node's version, without `v`.
    pub node: String,
    /// The process runs under `hostler exec`: it offers connections, nobody announced it, `worker` means nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub exec: bool,
}

/// HELLO of the proxy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxyHello {
    /// [`PROTOCOL_VERSION`](super::PROTOCOL_VERSION) of the proxy.
    pub protocol: u32,
    /// Which shard this channel leads to.
    pub shard: u32,
    /// How many shards there are.
    pub shards: u32,
    /// Credit of each direction of a stream at HEAD.
    pub window: u32,
    /// What the HEAD frames' listener index points into.
    pub listeners: Vec<ListenerAddress>,
}

/// MOVE of the proxy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// The socket of the shard that takes the place of this one.
    pub channel: String,
}

/// A listener of the proxy, in Node's words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ListenerAddress {
    /// TCP.
    Tcp {
        /// The local address.
        address: String,
        /// The local port.
        port: u16,
        /// `IPv4` or `IPv6`.
        family: String,
    },
    /// A unix socket.
    Unix {
        /// Its path.
        path: String,
    },
}

/// LISTEN of the worker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listen {
    /// What the app asked `listen` for.
    #[serde(default)]
    pub requested: ListenRequest,
    /// Under `hostler exec`: the loader's number of the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<u32>,
}

/// What the app asked `listen` for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenRequest {
    /// TCP port.
    #[serde(default)]
    pub port: Option<u16>,
    /// Host name or address.
    #[serde(default)]
    pub host: Option<String>,
    /// Unix socket path.
    #[serde(default)]
    pub path: Option<String>,
}

/// UNLISTEN of the worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unlisten {
    /// Under `hostler exec`: the loader's number of the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<u32>,
}

/// COUNT of the worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// Requests that Node's own parser read, since the last COUNT.
    #[serde(default)]
    pub http: u64,
}

/// OFFER of the worker: a connection that Node accepted and reads nothing from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// The loader's number of this offer; the answer repeats it.
    pub offer: u32,
    /// The loader's number of the server that accepted.
    pub server: u32,
    /// The descriptor in the worker's process.
    pub fd: u32,
    /// `maxHeaderSize` of the server, bytes: larger heads are Node's to refuse.
    pub header_bytes_max: u32,
}

impl Offer {
    /// Bytes of the payload.
    pub const BYTES: usize = 16;

    /// The payload.
    pub fn encode(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let fields = [self.offer, self.server, self.fd, self.header_bytes_max];
        for (at, field) in bytes.chunks_exact_mut(4).zip(fields) {
            at.copy_from_slice(&field.to_le_bytes());
        }
        bytes
    }

    /// The offer of a payload.
    pub fn decode(bytes: [u8; Self::BYTES]) -> Self {
        let mut fields = [0; 4];
        for (field, at) in fields.iter_mut().zip(bytes.chunks_exact(4)) {
            *field = u32::from_le_bytes([at[0], at[1], at[2], at[3]]);
        }
        let [offer, server, fd, header_bytes_max] = fields;
        Self { offer, server, fd, header_bytes_max }
    }
}

/// SETTINGS of the worker: what the app changed of its server's time-outs and limits; 0 means none, as in Node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// `server.keepAliveTimeout`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_alive_ms: Option<u64>,
    /// `server.headersTimeout`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers_ms: Option<u64>,
    /// `server.requestTimeout`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_ms: Option<u64>,
    /// `maxHeaderSize`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header_bytes_max: Option<u64>,
    /// The app listens for `'clientError'`: what is malformed is its own to answer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub client_error: bool,
    /// `maxRequestsPerSocket`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_connection_max: Option<u64>,
}

/// HEARTBEAT of the worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heartbeat {
    /// Longest event-loop delay since the last beat, microseconds.
    pub loop_delay_us: u32,
    /// Event-loop utilisation since the last beat, 1/1000.
    pub utilisation_permille: u32,
    /// Requests in flight in the worker, all shards.
    pub in_flight: u32,
    /// V8 heap used, KiB.
    pub heap_kib: u32,
}

impl Heartbeat {
    /// Bytes of the payload.
    pub const BYTES: usize = 16;

    /// The payload.
    pub fn encode(&self) -> [u8; Self::BYTES] {
        let fields = [self.loop_delay_us, self.utilisation_permille, self.in_flight, self.heap_kib];
        let mut bytes = [0; Self::BYTES];
        for (at, field) in bytes.chunks_exact_mut(4).zip(fields) {
            at.copy_from_slice(&field.to_le_bytes());
        }
        bytes
    }

    /// The beat of a payload.
    pub fn decode(bytes: [u8; Self::BYTES]) -> Self {
        let mut fields = [0; 4];
        for (field, at) in fields.iter_mut().zip(bytes.chunks_exact(4)) {
            *field = u32::from_le_bytes([at[0], at[1], at[2], at[3]]);
        }
        let [loop_delay_us, utilisation_permille, in_flight, heap_kib] = fields;
        Self { loop_delay_us, utilisation_permille, in_flight, heap_kib }
    }
}

/// Appends one trailer field to an END payload. A name is a token and a value has no NUL: the
/// chunked decoder has seen to that.
pub fn push_trailer(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    debug_assert!(!name.contains(&0) && !value.contains(&0));
    out.extend_from_slice(name);
    out.push(0);
    out.extend_from_slice(value);
    out.push(0);
}

/// The trailer fields of an END payload, `None` when it is not `*( name NUL value NUL )`.
pub fn trailers(payload: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    if payload.is_empty() {
        return Some(Vec::new());
    }
    let parts: Vec<&[u8]> = payload.strip_suffix(b"\0")?.split(|&byte| byte == 0).collect();
    if !parts.len().is_multiple_of(2) {
        return None;
    }
    Some(parts.chunks_exact(2).map(|pair| (pair[0].to_vec(), pair[1].to_vec())).collect())
}
