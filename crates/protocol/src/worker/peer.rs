//! The worker's side of the protocol, for tests and the simulator's fake worker: encodes frames to
//! the proxy, decodes frames to the worker.
//!
//! Must never know: how the proxy's side is written; it is written apart from it on purpose, so that
//! the two check each other. Allocates freely.

use serde::Serialize;

use super::frame::{decode_prefix, encode_prefix};
use super::writer::{HEAD_ENTRY_BYTES, HEAD_FIXED_BYTES};
use super::{
    CLOSE_BYTES_MAX, FRAME_PAYLOAD_BYTES_MAX, FRAME_PREFIX_BYTES, FromWorker, HEADER_NAMES,
    HEADERS_MAX, HeadFlags, Heartbeat, JSON_BYTES_MAX, Listen, METHODS, Move, Offer, ProxyHello,
    StreamTag, TUNNEL_BYTES_MAX, TUNNEL_FIXED_BYTES, ToWorker, WorkerHello,
};

/// Appends a frame to the proxy; for DATA, END, END_CLOSE and TUNNEL_DATA, which are any bytes.
pub fn put(out: &mut Vec<u8>, kind: FromWorker, tag: StreamTag, payload: &[u8]) {
    assert!(payload.len() <= FRAME_PAYLOAD_BYTES_MAX);
    out.extend_from_slice(&encode_prefix(kind as u8, tag, payload.len()));
    out.extend_from_slice(payload);
}

/// Appends HELLO, LISTEN, UNLISTEN or SETTINGS.
pub fn put_json<T: Serialize>(out: &mut Vec<u8>, kind: FromWorker, payload: &T) {
    let text = serde_json::to_vec(payload).expect("worker payloads always serialize");
    assert!(text.len() <= JSON_BYTES_MAX);
    put(out, kind, StreamTag::CHANNEL, &text);
}

/// What a worker says first on a channel: HELLO and LISTEN. `protocol` is the version it claims to speak.
#[must_use]
pub fn greeting(protocol: u32, worker: u32) -> Vec<u8> {
    let hello = WorkerHello {
        protocol,
        worker,
        app: "web".into(),
        slot: 0,
        pid: 1,
        node: "24".into(),
        exec: false,
    };
    let mut out = Vec::new();
    put_json(&mut out, FromWorker::Hello, &hello);
    put_json(&mut out, FromWorker::Listen, &Listen::default());
    out
}

/// Appends WINDOW.
pub fn put_window(out: &mut Vec<u8>, tag: StreamTag, bytes: u32) {
    put(out, FromWorker::Window, tag, &bytes.to_le_bytes());
}

/// Appends RESET.
pub fn put_reset(out: &mut Vec<u8>, tag: StreamTag) {
    put(out, FromWorker::Reset, tag, &[]);
}

/// Appends HELD.
pub fn put_held(out: &mut Vec<u8>, tag: StreamTag) {
    put(out, FromWorker::Held, tag, &[]);
}

/// Appends HEARTBEAT.
pub fn put_heartbeat(out: &mut Vec<u8>, beat: &Heartbeat) {
    put(out, FromWorker::Heartbeat, StreamTag::CHANNEL, &beat.encode());
}

/// Appends OFFER.
pub fn put_offer(out: &mut Vec<u8>, offer: &Offer) {
    put(out, FromWorker::Offer, StreamTag::CHANNEL, &offer.encode());
}

/// Appends TUNNEL_END.
pub fn put_tunnel_end(out: &mut Vec<u8>, tag: StreamTag) {
    put(out, FromWorker::TunnelEnd, tag, &[]);
}

/// Appends TUNNEL_WINDOW.
pub fn put_tunnel_window(out: &mut Vec<u8>, tag: StreamTag, bytes: u32) {
    put(out, FromWorker::TunnelWindow, tag, &bytes.to_le_bytes());
}

/// A frame to the worker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerFrame {
    /// The stream; the channel itself for HELLO and DRAIN.
    pub tag: StreamTag,
    /// What it says.
    pub body: PeerBody,
}

/// What a frame to the worker says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PeerBody {
    /// HEAD.
    Head(PeerHead),
    /// DATA.
    Data(Vec<u8>),
    /// END with its trailers.
    End(Vec<(Vec<u8>, Vec<u8>)>),
    /// CLOSE, with the name of the client's error.
    Close(String),
    /// HALF_CLOSE.
    HalfClose,
    /// WINDOW.
    Window(u32),
    /// HELLO.
    Hello(ProxyHello),
    /// OPEN, with the number of the offer.
    Open(u32),
    /// HOLD.
    Hold,
    /// BROKEN.
    Broken {
        /// What brings a parser to the place in the body.
        lead: Vec<u8>,
        /// What is not valid there.
        read: Vec<u8>,
    },
    /// TUNNEL.
    Tunnel {
        /// The client's address as text, empty for a unix client.
        address: Vec<u8>,
        /// Its port.
        port: u16,
        /// Which listener it came to.
        listener: u8,
    },
    /// TUNNEL_DATA.
    TunnelData(Vec<u8>),
    /// TUNNEL_END.
    TunnelEnd,
    /// TUNNEL_CLOSE, with the name of the client's error.
    TunnelClose(String),
    /// TUNNEL_WINDOW.
    TunnelWindow(u32),
    /// MOVE.
    Move(Move),
    /// GIVE_BACK.
    GiveBack {
        /// The number of the offer.
        offer: u32,
        /// How many of the bytes only lead a parser to the place in a body where the others go on.
        lead: u32,
        /// What was read and not served.
        read: Vec<u8>,
    },
}

/// A request head as the worker sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerHead {
    /// The method's text.
    pub method: Vec<u8>,
    /// The request target.
    pub target: Vec<u8>,
    /// The flags.
    pub flags: HeadFlags,
    /// Address and port, with `NEW_CONNECTION`.
    pub client: Option<(Vec<u8>, u16)>,
    /// Which listener the client came to.
    pub listener: u8,
    /// Names and values as the client sent them.
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What a proxy did wrong.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct PeerError(pub &'static str);

/// Reads frames to the worker.
#[derive(Clone, Debug, Default)]
pub struct PeerReader {
    bytes: Vec<u8>,
}

impl PeerReader {
    /// Adds received bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Bytes of a frame that is not whole.
    pub fn pending(&self) -> usize {
        self.bytes.len()
    }

    /// The next whole frame.
    pub fn next_frame(&mut self) -> Result<Option<PeerFrame>, PeerError> {
        let Some(prefix) = self.bytes.first_chunk::<FRAME_PREFIX_BYTES>() else {
            return Ok(None);
        };
        let (number, tag, len) = decode_prefix(*prefix);
        let kind = ToWorker::from_number(number).ok_or(PeerError("unknown frame type"))?;
        check_prefix(kind, tag, len)?;
        let end = FRAME_PREFIX_BYTES + len;
        let Some(payload) = self.bytes.get(FRAME_PREFIX_BYTES..end) else {
            return Ok(None);
        };
        let body = decode_body(kind, payload)?;
        self.bytes.drain(..end);
        Ok(Some(PeerFrame { tag, body }))
    }
}

fn check_prefix(kind: ToWorker, tag: StreamTag, len: usize) -> Result<(), PeerError> {
    let len_max = match kind {
        ToWorker::Head | ToWorker::Data | ToWorker::End | ToWorker::TunnelData => {
            FRAME_PAYLOAD_BYTES_MAX
        }
        ToWorker::Tunnel => TUNNEL_BYTES_MAX,
        ToWorker::Hello | ToWorker::Move => JSON_BYTES_MAX,
        ToWorker::GiveBack | ToWorker::Broken => FRAME_PAYLOAD_BYTES_MAX,
        ToWorker::Window | ToWorker::Open | ToWorker::TunnelWindow => 4,
        ToWorker::Close | ToWorker::TunnelClose => CLOSE_BYTES_MAX,
        ToWorker::HalfClose | ToWorker::Hold | ToWorker::TunnelEnd => 0,
    };
    let len_min = match kind {
        ToWorker::Window
        | ToWorker::Open
        | ToWorker::Broken
        | ToWorker::Tunnel
        | ToWorker::TunnelWindow => 4,
        ToWorker::GiveBack => 8,
        _ => 0,
    };
    if len > len_max || len < len_min {
        return Err(PeerError("payload of a length that its type does not allow"));
    }
    let on_channel = matches!(kind, ToWorker::Hello | ToWorker::Move);
    // A connection that is given back may have been a stream or not.
    let either = kind == ToWorker::GiveBack && tag.generation == 0;
    if (on_channel != (tag.stream == 0) && !either) || (on_channel && tag.generation != 0) {
        return Err(PeerError("stream number that its type does not allow"));
    }
    Ok(())
}

fn decode_body(kind: ToWorker, payload: &[u8]) -> Result<PeerBody, PeerError> {
    Ok(match kind {
        ToWorker::Head => PeerBody::Head(decode_head(payload)?),
        ToWorker::Data => PeerBody::Data(payload.to_vec()),
        ToWorker::End => {
            PeerBody::End(super::trailers(payload).ok_or(PeerError("trailers are not pairs"))?)
        }
        ToWorker::Close => PeerBody::Close(String::from_utf8_lossy(payload).into_owned()),
        ToWorker::HalfClose => PeerBody::HalfClose,
        ToWorker::Window => PeerBody::Window(credit(payload)?),
        ToWorker::TunnelWindow => PeerBody::TunnelWindow(credit(payload)?),
        ToWorker::Tunnel => {
            let (fixed, address) = payload.split_at(TUNNEL_FIXED_BYTES);
            if fixed[1] != 0 {
                return Err(PeerError("TUNNEL has a value that is not allowed"));
            }
            let port = u16::from_le_bytes([fixed[2], fixed[3]]);
            PeerBody::Tunnel { address: address.to_vec(), port, listener: fixed[0] }
        }
        ToWorker::TunnelData => PeerBody::TunnelData(payload.to_vec()),
        ToWorker::TunnelEnd => PeerBody::TunnelEnd,
        ToWorker::TunnelClose => {
            PeerBody::TunnelClose(String::from_utf8_lossy(payload).into_owned())
        }
        ToWorker::Hello => {
            let hello = serde_json::from_slice(payload);
            PeerBody::Hello(hello.map_err(|_| PeerError("HELLO is not understood"))?)
        }
        ToWorker::Move => {
            let to = serde_json::from_slice(payload);
            PeerBody::Move(to.map_err(|_| PeerError("MOVE is not understood"))?)
        }
        ToWorker::Open => PeerBody::Open(offer_number(payload)?),
        ToWorker::Hold => PeerBody::Hold,
        ToWorker::Broken => {
            let lead = offer_number(payload)? as usize;
            let (lead, read) = payload[4..]
                .split_at_checked(lead)
                .ok_or(PeerError("BROKEN is shorter than it says"))?;
            PeerBody::Broken { lead: lead.to_vec(), read: read.to_vec() }
        }
        ToWorker::GiveBack => {
            let lead = offer_number(&payload[4..])?;
            let read = payload[8..].to_vec();
            if lead as usize > read.len() {
                return Err(PeerError("GIVE_BACK is shorter than it says"));
            }
            PeerBody::GiveBack { offer: offer_number(payload)?, lead, read }
        }
    })
}

fn credit(payload: &[u8]) -> Result<u32, PeerError> {
    let bytes = payload.try_into().map_err(|_| PeerError("credit is four bytes"))?;
    Ok(u32::from_le_bytes(bytes))
}

fn offer_number(payload: &[u8]) -> Result<u32, PeerError> {
    let bytes = payload.first_chunk().ok_or(PeerError("an offer's number is four bytes"))?;
    Ok(u32::from_le_bytes(*bytes))
}

fn decode_head(payload: &[u8]) -> Result<PeerHead, PeerError> {
    const SHORT: PeerError = PeerError("HEAD is shorter than it says");
    let fixed = payload.get(..HEAD_FIXED_BYTES).ok_or(SHORT)?;
    let flags = HeadFlags(fixed[1]);
    let fields = usize::from(fixed[2]);
    let u16_at = |bytes: &[u8], at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
    let text_start = HEAD_FIXED_BYTES + HEAD_ENTRY_BYTES * fields;
    let table = payload.get(HEAD_FIXED_BYTES..text_start).ok_or(SHORT)?;
    let mut text = &payload[text_start..];
    let mut take = |len: usize| -> Result<Vec<u8>, PeerError> {
        let (part, rest) = text.split_at_checked(len).ok_or(SHORT)?;
        text = rest;
        Ok(part.to_vec())
    };

    if fields > HEADERS_MAX || flags.0 > 31 || u16_at(fixed, 10) != 0 {
        return Err(PeerError("HEAD has a value that is not allowed"));
    }
    let method_text = take(usize::from(fixed[3]))?;
    let method = numbered(fixed[0], method_text, |number| {
        METHODS.get(number).map(|name| name.as_bytes().to_vec())
    })?;
    let target = take(usize::from(u16_at(fixed, 4)))?;
    let address = take(usize::from(fixed[6]))?;
    let port = u16_at(fixed, 8);
    let is_new = flags.has(HeadFlags::NEW_CONNECTION);
    if !is_new && (!address.is_empty() || port != 0) {
        return Err(PeerError("a client address without NEW_CONNECTION"));
    }
    let mut pairs = Vec::new();
    for entry in table.chunks_exact(HEAD_ENTRY_BYTES) {
        let name = numbered(entry[0], take(usize::from(entry[1]))?, header_name)?;
        pairs.push((name, take(usize::from(u16_at(entry, 2)))?));
    }
    if !text.is_empty() {
        return Err(PeerError("HEAD is longer than it says"));
    }
    let client = is_new.then_some((address, port));
    Ok(PeerHead { method, target, flags, client, listener: fixed[7], fields: pairs })
}

/// A number, or text when the number is 0; never both, never neither.
fn numbered(
    number: u8,
    text: Vec<u8>,
    look_up: impl Fn(usize) -> Option<Vec<u8>>,
) -> Result<Vec<u8>, PeerError> {
    match (number, text.is_empty()) {
        (0, true) => Err(PeerError("a name without number and text")),
        (0, false) => Ok(text),
        (_, false) => Err(PeerError("a name with number and text")),
        (number, true) => look_up(usize::from(number)).ok_or(PeerError("unknown name number")),
    }
}

fn header_name(number: usize) -> Option<Vec<u8>> {
    let usual = HEADER_NAMES.get((number - 1) / 2)?;
    Some(if number % 2 == 1 {
        usual.as_bytes().to_vec()
    } else {
        usual.to_ascii_lowercase().into_bytes()
    })
}
