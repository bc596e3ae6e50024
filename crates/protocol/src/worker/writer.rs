//! Writes frames to a worker into the caller's buffer.
//!
//! Owns: the layout of outgoing frames. Must never know: when a buffer is sent. Called by the
//! proxy's `dispatch` and `relay_request` stages. Every frame is written whole or not at all.

use serde::Serialize;
use smallvec::SmallVec;

use super::frame::encode_prefix;
use super::{
    CLOSE_BYTES_MAX, FRAME_PAYLOAD_BYTES_MAX, FRAME_PREFIX_BYTES, HEADERS_MAX, HeadFlags,
    JSON_BYTES_MAX, StreamTag, TUNNEL_BYTES_MAX, TUNNEL_FIXED_BYTES, ToWorker,
};
use crate::http1::Method;

/// Fixed part of a HEAD payload.
pub(super) const HEAD_FIXED_BYTES: usize = 12;
/// A HEAD payload's table entry.
pub(super) const HEAD_ENTRY_BYTES: usize = 4;

/// The buffer has no room for the frame; nothing of it was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no room for the frame")]
pub struct NoRoom;

/// A request head without its fields.
#[derive(Clone, Copy, Debug)]
pub struct HeadParts<'a> {
    /// The method.
    pub method: Method,
    /// The request target, at most 65,535 bytes.
    pub target: &'a [u8],
    /// Flags; `NEW_CONNECTION` is set by the writer.
    pub flags: HeadFlags,
    /// With the first HEAD of a stream: the client's address as text (empty for a unix client) and
    /// port.
    pub client: Option<(&'a [u8], u16)>,
    /// Which listener the client came to.
    pub listener: u8,
    /// How many fields will be written, exactly; at most [`HEADERS_MAX`].
    pub fields: usize,
}

/// Appends frames to a buffer.
#[derive(Debug)]
pub struct FrameWriter<'a> {
    buffer: &'a mut [u8],
    len: usize,
}

impl<'a> FrameWriter<'a> {
    /// Writes from the start of `buffer`.
    #[inline]
    pub fn new(buffer: &'a mut [u8]) -> Self {
        Self { buffer, len: 0 }
    }

    /// Bytes written.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Nothing is written yet.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that can still be written.
    #[inline]
    pub fn remaining(&self) -> usize {
        self.buffer.len() - self.len
    }

    /// What was written.
    #[inline]
    pub fn written(&self) -> &[u8] {
        &self.buffer[..self.len]
    }

    /// Request body bytes.
    #[inline]
    pub fn data(&mut self, tag: StreamTag, bytes: &[u8]) -> Result<(), NoRoom> {
        self.frame(ToWorker::Data, tag, bytes)
    }

    /// The prefix of a DATA frame whose `len` payload bytes the caller sends behind it.
    #[inline]
    pub fn data_prefix(&mut self, tag: StreamTag, len: usize) -> Result<(), NoRoom> {
        assert!(len <= FRAME_PAYLOAD_BYTES_MAX, "the caller splits bodies");
        self.append(&encode_prefix(ToWorker::Data as u8, tag, len))
    }

    /// End of the request body; `trailers` as [`push_trailer`](super::push_trailer) makes them.
    #[inline]
    pub fn end(&mut self, tag: StreamTag, trailers: &[u8]) -> Result<(), NoRoom> {
        self.frame(ToWorker::End, tag, trailers)
    }

    /// The client connection is gone; `why` is the name of its error (`ECONNRESET`), empty for an orderly end.
    #[inline]
    pub fn close(&mut self, tag: StreamTag, why: &str) -> Result<(), NoRoom> {
        debug_assert!(why.len() <= CLOSE_BYTES_MAX);
        self.frame(ToWorker::Close, tag, why.as_bytes())
    }

    /// The connection of `offer` is served as this stream.
    pub fn open(&mut self, tag: StreamTag, offer: u32) -> Result<(), NoRoom> {
        self.frame(ToWorker::Open, tag, &offer.to_le_bytes())
    }

    /// The connection of `offer` is Node's again; `read` are the bytes that were taken from it and not served, behind `lead`
    /// bytes that lead a parser to the place in a body where they go on. The tag is that of its stream, or the channel's if it
    /// never was one.
    pub fn give_back(
        &mut self,
        tag: StreamTag,
        offer: u32,
        lead: usize,
        read: &[u8],
    ) -> Result<(), NoRoom> {
        debug_assert!(lead <= read.len());
        let mut payload = Vec::with_capacity(8 + read.len());
        payload.extend_from_slice(&offer.to_le_bytes());
        payload.extend_from_slice(&(lead as u32).to_le_bytes());
        payload.extend_from_slice(read);
        self.frame(ToWorker::GiveBack, tag, &payload)
    }

    /// The connection will be given back as soon as the worker has said that it writes no more to the stream.
    pub fn hold(&mut self, tag: StreamTag) -> Result<(), NoRoom> {
        self.frame(ToWorker::Hold, tag, &[])
    }

    /// The request body goes on with `read`, which is not valid, behind `lead`: what brings a parser to that place.
    pub fn broken(&mut self, tag: StreamTag, lead: &[u8], read: &[u8]) -> Result<(), NoRoom> {
        let mut payload = Vec::with_capacity(4 + lead.len() + read.len());
        payload.extend_from_slice(&(lead.len() as u32).to_le_bytes());
        payload.extend_from_slice(lead);
        payload.extend_from_slice(read);
        self.frame(ToWorker::Broken, tag, &payload)
    }

    /// A tunnel begins; `address` is the client's as text, empty for a unix client.
    pub fn tunnel(
        &mut self,
        tag: StreamTag,
        address: &[u8],
        port: u16,
        listener: u8,
    ) -> Result<(), NoRoom> {
        debug_assert!(TUNNEL_FIXED_BYTES + address.len() <= TUNNEL_BYTES_MAX);
        let [low, high] = port.to_le_bytes();
        let mut payload = SmallVec::<[u8; TUNNEL_BYTES_MAX]>::new();
        payload.extend_from_slice(&[listener, 0, low, high]);
        payload.extend_from_slice(address);
        self.frame(ToWorker::Tunnel, tag, &payload)
    }

    /// Bytes of a tunnel.
    #[inline]
    pub fn tunnel_data(&mut self, tag: StreamTag, bytes: &[u8]) -> Result<(), NoRoom> {
        self.frame(ToWorker::TunnelData, tag, bytes)
    }

    /// The prefix of a TUNNEL_DATA frame whose `len` payload bytes the caller sends behind it.
    #[inline]
    pub fn tunnel_data_prefix(&mut self, tag: StreamTag, len: usize) -> Result<(), NoRoom> {
        assert!(len <= FRAME_PAYLOAD_BYTES_MAX, "the caller splits what it received");
        self.append(&encode_prefix(ToWorker::TunnelData as u8, tag, len))
    }

    /// The client sent FIN into a tunnel.
    pub fn tunnel_end(&mut self, tag: StreamTag) -> Result<(), NoRoom> {
        self.frame(ToWorker::TunnelEnd, tag, &[])
    }

    /// A tunnel is over; `why` is the name of the client's error, empty for an orderly end.
    pub fn tunnel_close(&mut self, tag: StreamTag, why: &str) -> Result<(), NoRoom> {
        debug_assert!(why.len() <= CLOSE_BYTES_MAX);
        self.frame(ToWorker::TunnelClose, tag, why.as_bytes())
    }

    /// Credit for bytes that the app writes into a tunnel.
    pub fn tunnel_window(&mut self, tag: StreamTag, bytes: u32) -> Result<(), NoRoom> {
        self.frame(ToWorker::TunnelWindow, tag, &bytes.to_le_bytes())
    }

    /// The client sent FIN.
    #[inline]
    pub fn half_close(&mut self, tag: StreamTag) -> Result<(), NoRoom> {
        self.frame(ToWorker::HalfClose, tag, &[])
    }

    /// Credit for response bytes.
    #[inline]
    pub fn window(&mut self, tag: StreamTag, bytes: u32) -> Result<(), NoRoom> {
        self.frame(ToWorker::Window, tag, &bytes.to_le_bytes())
    }

    /// A JSON frame on the channel itself (HELLO). Allocates: not for the request path.
    pub fn json<T: Serialize>(&mut self, kind: ToWorker, payload: &T) -> Result<(), NoRoom> {
        let text = serde_json::to_vec(payload).expect("worker payloads always serialize");
        assert!(text.len() <= JSON_BYTES_MAX, "our own JSON is short");
        self.frame(kind, StreamTag::CHANNEL, &text)
    }

    /// Begins a HEAD frame. It counts only once [`HeadWriter::finish`] says so; dropping the
    /// `HeadWriter` before leaves this writer as it was.
    #[inline]
    pub fn begin_head(
        &mut self,
        tag: StreamTag,
        parts: &HeadParts<'_>,
    ) -> Result<HeadWriter<'_>, NoRoom> {
        assert!(parts.fields <= HEADERS_MAX && parts.target.len() <= usize::from(u16::MAX));
        let (address, port) = parts.client.unwrap_or_default();
        assert!(address.len() <= usize::from(u8::MAX), "addresses are short");
        let room = &mut self.buffer[self.len..];
        let text = FRAME_PREFIX_BYTES + HEAD_FIXED_BYTES + HEAD_ENTRY_BYTES * parts.fields;
        let fields_text = text + parts.target.len() + address.len();
        if fields_text > room.len() {
            return Err(NoRoom);
        }
        let flags = parts.flags.with(HeadFlags::NEW_CONNECTION, parts.client.is_some());
        let [target_low, target_high] = (parts.target.len() as u16).to_le_bytes();
        let [port_low, port_high] = port.to_le_bytes();
        room[FRAME_PREFIX_BYTES..FRAME_PREFIX_BYTES + HEAD_FIXED_BYTES].copy_from_slice(&[
            parts.method.number(),
            flags.0,
            parts.fields as u8,
            0,
            target_low,
            target_high,
            address.len() as u8,
            parts.listener,
            port_low,
            port_high,
            0,
            0,
        ]);
        let (target_room, rest) = room[text..].split_at_mut(parts.target.len());
        target_room.copy_from_slice(parts.target);
        rest[..address.len()].copy_from_slice(address);
        Ok(HeadWriter {
            room,
            written: &mut self.len,
            tag,
            entry: FRAME_PREFIX_BYTES + HEAD_FIXED_BYTES,
            entries_end: text,
            text: fields_text,
        })
    }

    #[inline]
    fn frame(&mut self, kind: ToWorker, tag: StreamTag, payload: &[u8]) -> Result<(), NoRoom> {
        assert!(payload.len() <= FRAME_PAYLOAD_BYTES_MAX, "the caller splits bodies");
        let frame_bytes = FRAME_PREFIX_BYTES + payload.len();
        let Some(room) = self.buffer[self.len..].get_mut(..frame_bytes) else {
            return Err(NoRoom);
        };
        let (prefix_room, payload_room) = room.split_at_mut(FRAME_PREFIX_BYTES);
        prefix_room.copy_from_slice(&encode_prefix(kind as u8, tag, payload.len()));
        payload_room.copy_from_slice(payload);
        self.len += frame_bytes;
        Ok(())
    }

    #[inline]
    fn append(&mut self, bytes: &[u8]) -> Result<(), NoRoom> {
        let Some(room) = self.buffer[self.len..].get_mut(..bytes.len()) else {
            return Err(NoRoom);
        };
        room.copy_from_slice(bytes);
        self.len += bytes.len();
        Ok(())
    }
}

/// Writes the fields of a HEAD frame, table and text in one pass.
#[derive(Debug)]
pub struct HeadWriter<'w> {
    /// From the frame's first byte to the end of the buffer.
    room: &'w mut [u8],
    /// The frame writer's length.
    written: &'w mut usize,
    tag: StreamTag,
    entry: usize,
    entries_end: usize,
    text: usize,
}

impl HeadWriter<'_> {
    /// The next field: `number` is that of exactly this spelling, or 0, and then `name` is written
    /// as text (at most 255 bytes; `value` at most 65,535).
    #[inline]
    pub fn field(&mut self, number: u8, name: &[u8], value: &[u8]) -> Result<(), NoRoom> {
        assert!(self.entry < self.entries_end, "more fields than promised");
        assert!(name.len() <= usize::from(u8::MAX) && value.len() <= usize::from(u16::MAX));
        let name = if number == 0 { name } else { &[] };
        let end = self.text + name.len() + value.len();
        if end > self.room.len() {
            return Err(NoRoom);
        }
        let [value_low, value_high] = (value.len() as u16).to_le_bytes();
        self.room[self.entry..self.entry + HEAD_ENTRY_BYTES].copy_from_slice(&[
            number,
            name.len() as u8,
            value_low,
            value_high,
        ]);
        let (name_room, value_room) = self.room[self.text..end].split_at_mut(name.len());
        // Most names have a number: not even a call to copy nothing.
        if !name.is_empty() {
            name_room.copy_from_slice(name);
        }
        value_room.copy_from_slice(value);
        self.entry += HEAD_ENTRY_BYTES;
        self.text = end;
        Ok(())
    }

    /// The head is whole.
    #[inline]
    pub fn finish(self) -> Result<(), NoRoom> {
        assert!(self.entry == self.entries_end, "fewer fields than promised");
        let len = self.text - FRAME_PREFIX_BYTES;
        if len > FRAME_PAYLOAD_BYTES_MAX {
            return Err(NoRoom);
        }
        let prefix = encode_prefix(ToWorker::Head as u8, self.tag, len);
        self.room[..FRAME_PREFIX_BYTES].copy_from_slice(&prefix);
        *self.written += self.text;
        Ok(())
    }
}
