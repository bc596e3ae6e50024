//! The states of a connection, all of them printable.
//!
//! Owns: the enums and the facts about the request in hand. Must never know: what moves them; transitions are in
//! `conn/mod.rs` and the stages.

use hostler_protocol::http1::{BodyFraming, ChunkedDecoder, Method, Version};

use super::Refusal;
use crate::request_id::RequestId;

/// Where a connection is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Between requests.
    Idle,
    /// Part of a request head is here.
    Head,
    /// The head is whole; no worker yet.
    Queued,
    /// A worker has the request.
    Exchange,
    /// Upgraded: bytes pass in both directions.
    Tunnel,
    /// The last bytes are leaving.
    Closing,
    /// FIN is sent; what the client still sends is thrown away, so that it can read our last words (RFC 9112 section 9.6).
    Lingering,
}

impl Phase {
    /// Three letters for logs and dumps.
    pub fn short(self) -> &'static str {
        match self {
            Self::Idle => "IDL",
            Self::Head => "HED",
            Self::Queued => "QUE",
            Self::Exchange => "EXC",
            Self::Tunnel => "TUN",
            Self::Closing => "CLO",
            Self::Lingering => "LIN",
        }
    }
}

/// The request direction of an exchange.
#[derive(Debug)]
pub enum Reading {
    /// No request, or it is complete.
    Done,
    /// This many body bytes are missing.
    Length(u64),
    /// A chunked body is under way.
    Chunked(ChunkedDecoder),
}

/// The response direction of an exchange.
#[derive(Debug)]
pub enum Writing {
    /// No response, or it is complete.
    Done,
    /// No final head yet.
    AwaitHead,
    /// The head has been forwarded, the body follows.
    Body(BodyLeft),
}

/// What is missing of a response body.
#[derive(Debug)]
pub enum BodyLeft {
    /// There is none.
    None,
    /// This many bytes.
    Length(u64),
    /// Chunks up to the last one.
    Chunked(ChunkedDecoder),
    /// The same, forwarded without the coding: the client speaks HTTP/1.0 and takes the end of its connection for the
    /// end of the answer.
    Decoded(ChunkedDecoder),
    /// Everything up to the end of the worker's connection.
    UntilClose,
}

/// Facts about the request in hand.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// Its method.
    pub method: Method,
    /// Its version.
    pub version: Version,
    /// The client would keep the connection.
    pub keep_alive: bool,
    /// It needs a byte connection to the worker (Upgrade, CONNECT, a refused request).
    pub upgrade: bool,
    /// Whether it is refused by the app itself.
    pub refusal: Refusal,
    /// How its body is framed.
    pub framing: BodyFraming,
    /// Its id.
    pub id: RequestId,
    /// Workers it was given to before this one.
    pub retries: u8,
    /// The worker that had it was killed by somebody.
    pub blameless: bool,
    /// When its head was whole, milliseconds.
    pub started_ms: u64,
    /// Status of the answer, 0 before there is one.
    pub status: u16,
    /// The worker that answers.
    pub worker: Option<u32>,
    /// Body bytes handed to the client's socket.
    pub body_bytes_out: u64,
}

impl Request {
    pub(super) const NONE: Self = Self {
        method: Method::Get,
        version: Version::Http11,
        keep_alive: false,
        upgrade: false,
        refusal: Refusal::No,
        framing: BodyFraming::None,
        id: RequestId::NONE,
        retries: 0,
        blameless: false,
        started_ms: 0,
        status: 0,
        worker: None,
        body_bytes_out: 0,
    };
}

/// How the two directions of a tunnel through a channel stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TunnelFlow {
    /// The worker knows of it.
    pub open: bool,
    /// Bytes that the worker has sent, and the client's side has not given back as credit.
    pub from_worker: u32,
    /// Bytes that the worker has been sent, and has not given back.
    pub to_worker: u32,
    /// What the worker was sent has left, and the client is read again when the worker has given some back.
    pub waits: bool,
}

/// What a connection has asked of the large buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyAsk {
    /// Nothing.
    None,
    /// One, for when bytes come.
    Asked,
    /// One, for bytes that are there; counted by the channel with this index and serial number.
    Ready {
        /// Its index.
        channel: u16,
        /// Its serial number.
        serial: u32,
    },
    /// It waits for its turn at this channel.
    Waiting {
        /// The channel's index.
        channel: u16,
    },
}
