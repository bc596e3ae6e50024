//! Reads frames from a worker out of receive buffers.
//!
//! Owns: the checks of incoming frames and the state of a frame that is cut between two buffers.
//! Must never know: streams' states. Called by the proxy's `relay_response` stage. Response bytes
//! are never copied here; only small frames are, and only when they are cut.

use std::ops::Range;

use super::frame::decode_prefix;
use super::{
    FRAME_PAYLOAD_BYTES_MAX, FRAME_PREFIX_BYTES, FromWorker, Heartbeat, JSON_BYTES_MAX, Offer,
    StreamTag,
};

/// What a worker did wrong; the channel is closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FrameError {
    /// A type number that the protocol does not have.
    #[error("unknown frame type {0}")]
    UnknownType(u8),
    /// A payload longer than its type allows, or not of its fixed length.
    #[error("a {} frame of {len} bytes", kind.as_str())]
    Length {
        /// The frame's type.
        kind: FromWorker,
        /// What its prefix says.
        len: u32,
    },
    /// A stream's frame on the channel, or the channel's on a stream.
    #[error("a {} frame on stream {}", kind.as_str(), tag.stream)]
    Stream {
        /// The frame's type.
        kind: FromWorker,
        /// What its prefix says.
        tag: StreamTag,
    },
}

/// What the last byte of a body frame means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BodyEnd {
    /// DATA: more frames follow.
    More,
    /// END: the response is over.
    End,
    /// END_CLOSE: the response is over, and the client connection is closed after it.
    EndClose,
    /// TUNNEL_DATA: the bytes are none of a response's but of a tunnel's.
    Tunnel,
}

/// What came in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Incoming<'a> {
    /// Bytes: all or a part of a DATA, END, END_CLOSE or TUNNEL_DATA frame.
    Body {
        /// The stream.
        tag: StreamTag,
        /// What the frame means; it applies once `last` is true.
        end: BodyEnd,
        /// Where the bytes are in the buffer.
        range: Range<usize>,
        /// The frame is whole with this piece.
        last: bool,
    },
    /// The app ended a tunnel.
    TunnelEnd {
        /// The stream.
        tag: StreamTag,
    },
    /// Credit for bytes of the client in a tunnel.
    TunnelWindow {
        /// The stream.
        tag: StreamTag,
        /// How many more bytes.
        bytes: u32,
    },
    /// Credit for request body bytes.
    Window {
        /// The stream.
        tag: StreamTag,
        /// How many more bytes.
        bytes: u32,
    },
    /// The app destroyed the socket.
    Reset {
        /// The stream.
        tag: StreamTag,
    },
    /// Nothing more comes on the stream; its connection shall be given back.
    Held {
        /// The stream.
        tag: StreamTag,
    },
    /// How the worker is.
    Heartbeat(Heartbeat),
    /// A connection for the proxy to take.
    Offer(Offer),
    /// HELLO, LISTEN, UNLISTEN, SETTINGS or COUNT; the text is for `serde_json`.
    Json {
        /// Which of them.
        kind: FromWorker,
        /// The payload.
        bytes: &'a [u8],
    },
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    kind: FromWorker,
    tag: StreamTag,
    left: usize,
}

/// Reads the frames of one channel. After an error the channel is lost; the reader is not used
/// again.
#[derive(Clone, Debug, Default)]
pub struct FrameReader {
    frame: Option<Frame>,
    prefix: [u8; FRAME_PREFIX_BYTES],
    prefix_len: u8,
    /// A small frame that is cut between buffers; bounded by [`JSON_BYTES_MAX`].
    small: Vec<u8>,
}

impl FrameReader {
    /// Before the first byte.
    pub const fn new() -> Self {
        Self { frame: None, prefix: [0; FRAME_PREFIX_BYTES], prefix_len: 0, small: Vec::new() }
    }

    /// Nothing of a frame is pending: the channel may end here.
    pub fn is_between_frames(&self) -> bool {
        self.frame.is_none() && self.prefix_len == 0
    }

    /// The next thing in `bytes` from `*at` on, which is moved behind it; `None` when the buffer is
    /// used up. Then the next buffer is read, from 0.
    #[inline]
    pub fn next<'a>(
        &'a mut self,
        bytes: &'a [u8],
        at: &mut usize,
    ) -> Result<Option<Incoming<'a>>, FrameError> {
        let frame = match self.frame {
            Some(frame) => frame,
            None => {
                let Some(prefix) = self.take_prefix(bytes, at) else {
                    return Ok(None);
                };
                check_prefix(prefix)?
            }
        };
        let end = match frame.kind {
            FromWorker::Data => BodyEnd::More,
            FromWorker::End => BodyEnd::End,
            FromWorker::EndClose => BodyEnd::EndClose,
            FromWorker::TunnelData => BodyEnd::Tunnel,
            _ => return Ok(self.take_small(frame, bytes, at)),
        };
        let taken = frame.left.min(bytes.len() - *at);
        let last = taken == frame.left;
        self.frame = if last { None } else { Some(Frame { left: frame.left - taken, ..frame }) };
        if taken == 0 && !last {
            return Ok(None);
        }
        let range = *at..*at + taken;
        *at = range.end;
        Ok(Some(Incoming::Body { tag: frame.tag, end, range, last }))
    }

    #[inline]
    fn take_prefix(&mut self, bytes: &[u8], at: &mut usize) -> Option<[u8; FRAME_PREFIX_BYTES]> {
        if self.prefix_len == 0
            && let Some(prefix) = bytes[*at..].first_chunk()
        {
            *at += FRAME_PREFIX_BYTES;
            return Some(*prefix);
        }
        self.join_prefix(bytes, at)
    }

    #[cold]
    fn join_prefix(&mut self, bytes: &[u8], at: &mut usize) -> Option<[u8; FRAME_PREFIX_BYTES]> {
        let have = usize::from(self.prefix_len);
        let taken = (FRAME_PREFIX_BYTES - have).min(bytes.len() - *at);
        self.prefix[have..have + taken].copy_from_slice(&bytes[*at..*at + taken]);
        *at += taken;
        if have + taken < FRAME_PREFIX_BYTES {
            self.prefix_len = (have + taken) as u8;
            return None;
        }
        self.prefix_len = 0;
        Some(self.prefix)
    }

    /// A small frame, given out whole.
    fn take_small<'a>(
        &'a mut self,
        frame: Frame,
        bytes: &'a [u8],
        at: &mut usize,
    ) -> Option<Incoming<'a>> {
        if self.frame.is_none() {
            if let Some(payload) = bytes[*at..].get(..frame.left) {
                *at += frame.left;
                return Some(small_frame(frame, payload));
            }
            self.small.clear();
        }
        let taken = frame.left.min(bytes.len() - *at);
        self.small.extend_from_slice(&bytes[*at..*at + taken]);
        *at += taken;
        if taken < frame.left {
            self.frame = Some(Frame { left: frame.left - taken, ..frame });
            return None;
        }
        self.frame = None;
        Some(small_frame(frame, &self.small))
    }
}

/// The rules of `docs/worker-protocol.md` that a prefix alone can break.
#[inline]
fn check_prefix(prefix: [u8; FRAME_PREFIX_BYTES]) -> Result<Frame, FrameError> {
    let (number, tag, len) = decode_prefix(prefix);
    let kind = FromWorker::from_number(number).ok_or(FrameError::UnknownType(number))?;
    let (lengths, on_channel) = match kind {
        FromWorker::Data | FromWorker::End | FromWorker::EndClose | FromWorker::TunnelData => {
            (0..=FRAME_PAYLOAD_BYTES_MAX, false)
        }
        FromWorker::Window | FromWorker::TunnelWindow => (4..=4, false),
        FromWorker::Reset | FromWorker::Held | FromWorker::TunnelEnd => (0..=0, false),
        FromWorker::Heartbeat => (Heartbeat::BYTES..=Heartbeat::BYTES, true),
        FromWorker::Offer => (Offer::BYTES..=Offer::BYTES, true),
        FromWorker::Hello
        | FromWorker::Listen
        | FromWorker::Unlisten
        | FromWorker::Settings
        | FromWorker::Count => (0..=JSON_BYTES_MAX, true),
    };
    if !lengths.contains(&len) {
        return Err(FrameError::Length { kind, len: len as u32 });
    }
    if on_channel != (tag.stream == 0) || (on_channel && tag != StreamTag::CHANNEL) {
        return Err(FrameError::Stream { kind, tag });
    }
    Ok(Frame { kind, tag, left: len })
}

/// `payload` has the length that [`check_prefix`] checked.
fn small_frame(frame: Frame, payload: &[u8]) -> Incoming<'_> {
    match frame.kind {
        FromWorker::Window => Incoming::Window { tag: frame.tag, bytes: credit(payload) },
        FromWorker::TunnelWindow => {
            Incoming::TunnelWindow { tag: frame.tag, bytes: credit(payload) }
        }
        FromWorker::TunnelEnd => Incoming::TunnelEnd { tag: frame.tag },
        FromWorker::Reset => Incoming::Reset { tag: frame.tag },
        FromWorker::Held => Incoming::Held { tag: frame.tag },
        FromWorker::Heartbeat => {
            let beat = payload.first_chunk().map(|bytes| Heartbeat::decode(*bytes));
            Incoming::Heartbeat(beat.unwrap_or_default())
        }
        FromWorker::Offer => {
            let offer = payload.first_chunk().map(|bytes| Offer::decode(*bytes));
            Incoming::Offer(offer.unwrap_or_default())
        }
        kind => Incoming::Json { kind, bytes: payload },
    }
}

fn credit(payload: &[u8]) -> u32 {
    payload.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}
