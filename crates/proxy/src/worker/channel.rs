//! A framed channel to one worker.
//!
//! Owns: the frames waiting for it and the frame reader. Must never know: what a stream's bytes mean.
//! Called by the shard.
//!
//! Frames written during one turn leave together in one send at its end; that batch is why a worker pays one
//! read for many requests.

use std::collections::VecDeque;

use hostler_driver::{Buffer, BufferMut, Part, Parts, Pool, PoolClass, SocketId};
use hostler_protocol::worker::{FRAME_PREFIX_BYTES, FrameReader, FrameWriter, NoRoom, StreamTag};

use super::peer::Peer;

/// Body bytes up to this size are copied into the batch instead of being sent by reference.
const COPY_BYTES_MAX: usize = 2048;
/// Parts that may wait behind a send. A worker whose loop is blocked must not collect the batch buffers that
/// the others need. Eight are the request bodies that may wait, with their prefixes.
const WAITING_PARTS_MAX: usize = 12;
/// Request body bytes that may wait for a worker to read. More only leave the cache before they are sent.
pub const BODY_BYTES_MAX: usize = 256 * 1024;
/// Parts in one send.
const PARTS_PER_SEND_MAX: usize = 32;

/// Where a channel is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelPhase {
    /// Connected; the worker has not said who it is.
    Greeting,
    /// Streams may be opened.
    Open,
    /// The worker takes no new streams (its server closed).
    Silent,
}

/// A DATA frame to which bytes of the same body may be added.
#[derive(Clone, Copy, Debug)]
struct LastData {
    tag: StreamTag,
    /// Where its prefix begins.
    start: usize,
    /// Payload bytes so far.
    len: usize,
}

/// One channel.
pub struct Channel {
    /// Its socket.
    pub socket: SocketId,
    /// Never reused within the shard.
    pub serial: u32,
    /// Where it is in its life.
    pub phase: ChannelPhase,
    /// The worker at the other end, once it has said so.
    pub worker: Option<u32>,
    /// The process at the other end, where connections are taken from it.
    pub peer: Option<Peer>,
    /// Decodes what arrives.
    pub reader: FrameReader,
    /// Marked for a flush at the end of the turn.
    pub dirty: bool,
    /// Something of what waits is more than credit.
    pub urgent: bool,
    parts: VecDeque<Part>,
    tail: Option<BufferMut>,
    sending: bool,
    /// Number of the batch being filled; batches below it have been handed to the kernel.
    batch: u32,
    owners: Vec<u32>,
    owners_sending: Vec<u32>,
    /// The DATA frame that `tail` ends with, as long as nothing is written behind it.
    last_data: Option<LastData>,
    /// Body bytes in `parts` and `tail`.
    body_bytes: usize,
    /// Those of the send in flight.
    body_bytes_sending: usize,
    /// Connections that were told to receive a large buffer of body bytes and will at once.
    pub bodies_ready: u32,
    /// Connections that wait until there is less to send; one that is gone may still be in it.
    pub bodies_waiting: VecDeque<u32>,
}

impl Channel {
    /// A channel on a socket that was just accepted.
    pub fn new(socket: SocketId, serial: u32) -> Self {
        Self {
            socket,
            serial,
            phase: ChannelPhase::Greeting,
            worker: None,
            peer: None,
            reader: FrameReader::new(),
            dirty: false,
            urgent: false,
            parts: VecDeque::with_capacity(2 * PARTS_PER_SEND_MAX),
            tail: None,
            sending: false,
            batch: 1,
            owners: Vec::with_capacity(PARTS_PER_SEND_MAX),
            owners_sending: Vec::with_capacity(PARTS_PER_SEND_MAX),
            last_data: None,
            body_bytes: 0,
            body_bytes_sending: 0,
            bodies_ready: 0,
            bodies_waiting: VecDeque::new(),
        }
    }

    /// The number of the batch that the next frame joins.
    pub fn batch(&self) -> u32 {
        self.batch
    }

    /// Has the batch with this number been handed to the kernel, even in part?
    pub fn has_sent(&self, batch: u32) -> bool {
        // Batches number upwards and wrap after 2^32 sends; the difference stays small.
        (self.batch.wrapping_sub(batch) as i32) > 0
    }

    /// Writes frames into the open batch; takes a further buffer when it is full.
    pub fn write(
        &mut self,
        pool: &Pool,
        mut frames: impl FnMut(&mut FrameWriter<'_>) -> Result<(), NoRoom>,
    ) -> Result<(), NoRoom> {
        for _ in 0..2 {
            if self.tail.is_none() {
                self.tail = pool.take(PoolClass::Batch);
            }
            let Some(tail) = &mut self.tail else {
                return Err(NoRoom);
            };
            let mut writer = FrameWriter::new(tail.spare_mut());
            if frames(&mut writer).is_ok() {
                let written = writer.len();
                tail.advance(written);
                return Ok(());
            }
            if tail.is_empty() {
                return Err(NoRoom);
            }
            self.seal();
        }
        Err(NoRoom)
    }

    /// Writes small frames that must not get lost: from the heap when batch buffers are short.
    pub fn write_always(
        &mut self,
        pool: &Pool,
        frames: impl FnMut(&mut FrameWriter<'_>) -> Result<(), NoRoom>,
    ) {
        let bytes_max = hostler_protocol::worker::JSON_BYTES_MAX + FRAME_PREFIX_BYTES;
        self.write_at_most(pool, bytes_max, frames);
    }

    /// As [`Channel::write_always`], for frames that are together never longer than `bytes_max`.
    pub fn write_at_most(
        &mut self,
        pool: &Pool,
        bytes_max: usize,
        mut frames: impl FnMut(&mut FrameWriter<'_>) -> Result<(), NoRoom>,
    ) {
        if self.write(pool, &mut frames).is_ok() {
            return;
        }
        self.seal();
        let mut bytes = vec![0; bytes_max];
        let mut writer = FrameWriter::new(&mut bytes);
        frames(&mut writer).expect("the caller knows the largest frame");
        let written = writer.len();
        bytes.truncate(written);
        bytes.shrink_to_fit();
        self.parts.push_back(Part::whole(Buffer::from_vec(bytes)));
    }

    /// Appends request body bytes of the connection in slot `owner`, which hears of it when they have left. `joins`: where the
    /// body is cut means nothing, so that short pieces that follow each other may become one frame.
    pub fn body(&mut self, pool: &Pool, tag: StreamTag, part: Part, owner: u32, joins: bool) {
        self.note_bytes(&part, owner);
        let bytes = part.as_slice();
        if bytes.len() <= COPY_BYTES_MAX {
            if joins && self.extend_data(tag, bytes) {
                return;
            }
            if self.write(pool, |out| out.data(tag, bytes)).is_ok() {
                let end = self.tail.as_ref().map_or(0, BufferMut::len);
                let start = end.saturating_sub(FRAME_PREFIX_BYTES + bytes.len());
                self.last_data = Some(LastData { tag, start, len: bytes.len() });
                return;
            }
        }
        self.write_always(pool, |out| out.data_prefix(tag, part.len()));
        self.push_part(part);
    }

    /// Appends bytes of the tunnel of the connection in slot `owner`, which hears of it when they have left.
    pub fn tunnel(&mut self, pool: &Pool, tag: StreamTag, part: Part, owner: u32) {
        self.note_bytes(&part, owner);
        let bytes = part.as_slice();
        if bytes.len() <= COPY_BYTES_MAX
            && self.write(pool, |out| out.tunnel_data(tag, bytes)).is_ok()
        {
            return;
        }
        self.write_always(pool, |out| out.tunnel_data_prefix(tag, part.len()));
        self.push_part(part);
    }

    /// Counts them, and who hears of it when they have left.
    fn note_bytes(&mut self, part: &Part, owner: u32) {
        // Told twice is harmless; looking through the list for each part would not be.
        if self.owners.last() != Some(&owner) {
            self.owners.push(owner);
        }
        self.body_bytes += part.len();
    }

    /// By reference, behind its prefix.
    fn push_part(&mut self, part: Part) {
        self.seal();
        self.parts.push_back(part);
    }

    /// Adds to the frame at the end of the batch if it is of the same body.
    fn extend_data(&mut self, tag: StreamTag, bytes: &[u8]) -> bool {
        let (Some(last), Some(tail)) = (&mut self.last_data, &mut self.tail) else {
            return false;
        };
        let is_last = tail.len() == last.start + FRAME_PREFIX_BYTES + last.len;
        if last.tag != tag || !is_last || !tail.try_extend(bytes) {
            return false;
        }
        last.len += bytes.len();
        let prefix = &mut tail.as_mut_slice()[last.start..last.start + FRAME_PREFIX_BYTES];
        FrameWriter::new(prefix).data_prefix(tag, last.len).expect("it had a prefix before");
        true
    }

    /// Body bytes that have not left, those included that will come at once, each in a buffer of `buffer_bytes`.
    pub fn body_load(&self, buffer_bytes: usize) -> usize {
        self.body_bytes + self.body_bytes_sending + self.bodies_ready as usize * buffer_bytes
    }

    fn seal(&mut self) {
        self.last_data = None;
        if let Some(tail) = self.tail.take()
            && !tail.is_empty()
        {
            self.parts.push_back(Part::whole(tail.freeze()));
        }
    }

    /// Is there anything to send?
    pub fn has_output(&self) -> bool {
        !self.parts.is_empty() || self.tail.as_ref().is_some_and(|tail| !tail.is_empty())
    }

    /// Is there room for a frame of `bytes` now? A worker that does not read lets its batches pile up; then
    /// requests wait in the queue, where they can still go elsewhere.
    pub fn has_room(&self, pool: &Pool, bytes: usize) -> bool {
        if self.sending && self.parts.len() >= WAITING_PARTS_MAX {
            return false;
        }
        self.tail.as_ref().is_some_and(|tail| tail.spare_capacity() >= bytes)
            || pool.free(PoolClass::Batch) > 0
    }

    /// The next batch, `None` when one is in flight or nothing waits.
    pub fn take(&mut self) -> Option<Parts> {
        if self.sending || !self.has_output() {
            return None;
        }
        self.seal();
        let mut parts = Parts::new();
        for _ in 0..PARTS_PER_SEND_MAX {
            let Some(part) = self.parts.pop_front() else {
                break;
            };
            parts.push(part);
        }
        self.sending = true;
        // What stays behind is counted with what goes: only a batch of more than can leave at once has a rest.
        self.body_bytes_sending = std::mem::take(&mut self.body_bytes);
        self.batch = self.batch.wrapping_add(1);
        if self.parts.is_empty() {
            std::mem::swap(&mut self.owners, &mut self.owners_sending);
        }
        Some(parts)
    }

    /// The batch has left; gives the slots of the connections whose body bytes went with it.
    pub fn sent(&mut self, owners: &mut Vec<u32>) {
        self.sending = false;
        self.body_bytes_sending = 0;
        owners.append(&mut self.owners_sending);
    }
}

#[cfg(test)]
mod tests;
