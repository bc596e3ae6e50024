//! What a connection has to say to its worker, over a stream, a tunnel or a plain connection.
//!
//! Owns: the forms of each wish. Must never know: why the connection wishes it. Part of the shard.

use hostler_driver::{Driver, Part};
use hostler_protocol::http1::{BodyFraming, encode_chunk_head};
use hostler_protocol::worker::{FRAME_PREFIX_BYTES, FrameWriter, NoRoom, StreamTag};

use super::Shard;
use crate::conn::outbox::Outbox;
use crate::conn::{Keep, Link, Offered, OpenStream, Phase, Refusal};
use crate::forward::{Forwarding, write_client_line};
use crate::worker::channel::Channel;

/// Room that the proxy's own fields may need in a HEAD frame beside the client's head.
pub(super) const HEAD_FRAME_EXTRA: usize = 1024;

/// The stream number of a connection slot; 0 is the channel itself.
pub(super) fn stream_of(slot: u32) -> u32 {
    slot + 1
}

impl<D: Driver> Shard<D> {
    pub(super) fn worker_head(&mut self, slot: u32) {
        self.open_offered(slot);
        let Some(conn) = self.conns.get_mut(slot) else {
            return;
        };
        if let (Refusal::Asked(answer), Link::Plain { plain, .. }) =
            (conn.request.refusal, conn.link)
        {
            if let Some(entry) = self.plains.get_mut(plain) {
                let (pool, refused) = (self.driver.pool(), answer.status());
                write_client_line(&mut entry.outbox, pool, &conn.address, conn.listener, refused);
            }
            return;
        }
        let Some(head) = &conn.head else { return };
        let forwarding = Forwarding {
            bytes: head.as_slice(),
            head: &self.request_head,
            client: &conn.address,
            verbatim: conn.offered.is_some(),
            listener: &self.settings.listeners[usize::from(conn.listener)],
            listener_index: conn.listener,
            request_id: conn.request.id.as_bytes(),
        };
        match conn.link {
            Link::Stream { channel, .. } => {
                let Some(entry) = self.channels[usize::from(channel)].as_mut() else {
                    return;
                };
                let serial = entry.serial;
                let open = conn.streams.iter_mut().find(|open| open.channel == serial);
                let new_connection = open.is_none();
                if let Some(open) = open {
                    open.generation = conn.generation;
                }
                let tag = StreamTag { stream: stream_of(slot), generation: conn.generation };
                let pool = self.driver.pool();
                // Dispatch looked for room, but a long `Host` is written up to twice more than it is in the head.
                let bytes_max = 3 * head.len() + HEAD_FRAME_EXTRA;
                entry.write_at_most(pool, bytes_max, |out| {
                    forwarding.write_frame(out, tag, new_connection)
                });
                mark_dirty(&mut self.dirty, entry, channel);
                if new_connection {
                    self.stream_opened(slot, serial);
                }
            }
            Link::Tunnel { channel, .. } => {
                let mut text = Outbox::default();
                forwarding.write_text(&mut text, self.driver.pool());
                self.open_tunnel(slot, channel, text);
            }
            Link::Plain { plain, .. } => {
                let Some(entry) = self.plains.get_mut(plain) else {
                    return;
                };
                forwarding.write_text(&mut entry.outbox, self.driver.pool());
                // The chunks of a request that asks for another protocol come as the client wrote them.
                let head = &self.request_head;
                entry.chunked = head.framing == BodyFraming::Chunked && !conn.request.upgrade;
                self.flush_plain(plain);
            }
            Link::None => {}
        }
    }

    /// Notes the new stream; the ones on channels that are gone are forgotten, or a client that outlives many workers
    /// would collect them.
    fn stream_opened(&mut self, slot: u32, channel: u32) {
        let Some(conn) = self.conns.get_mut(slot) else {
            return;
        };
        if conn.streams.len() == conn.streams.inline_size() {
            let channels = &self.channels;
            conn.streams
                .retain(|open| channels.iter().flatten().any(|entry| entry.serial == open.channel));
        }
        conn.streams.push(OpenStream { channel, generation: conn.generation });
    }

    pub(super) fn worker_body(&mut self, slot: u32, part: Part) {
        let Some(conn) = self.conns.get_mut(slot) else {
            return;
        };
        match conn.link {
            Link::Stream { channel, .. } => {
                let Some(entry) = self.channels[usize::from(channel)].as_mut() else {
                    return;
                };
                let tag = StreamTag { stream: stream_of(slot), generation: conn.generation };
                let joins = matches!(conn.request.framing, BodyFraming::Length(_));
                entry.body(self.driver.pool(), tag, part, slot, joins);
                mark_dirty(&mut self.dirty, entry, channel);
            }
            Link::Tunnel { channel, .. } => self.tunnel_body(slot, channel, part),
            Link::Plain { plain, .. } => {
                let tunnel = conn.phase() == Phase::Tunnel;
                let Some(entry) = self.plains.get_mut(plain) else {
                    return;
                };
                let chunked = entry.chunked && !tunnel;
                let pool = self.driver.pool();
                if chunked {
                    let mut size = [0; hostler_protocol::http1::CHUNK_HEAD_BYTES_MAX];
                    entry.outbox.write(pool, encode_chunk_head(&mut size, part.len()));
                }
                entry.outbox.push(pool, part.buffer(), part.range(), false);
                if chunked {
                    entry.outbox.write(pool, b"\r\n");
                }
                self.flush_plain(plain);
            }
            Link::None => {}
        }
    }

    pub(super) fn worker_end(&mut self, slot: u32, trailers: &[u8]) {
        match self.link_of(slot) {
            Link::Stream { channel, .. } => {
                self.write_stream(slot, channel, |out, tag| out.end(tag, trailers));
            }
            Link::Plain { plain, .. } => self.end_chunked(plain, trailers),
            // The chunks came as the client wrote them.
            Link::Tunnel { .. } | Link::None => {}
        }
    }

    /// The last chunk, if the request's body is chunked.
    fn end_chunked(&mut self, plain: u32, trailers: &[u8]) {
        let Some(entry) = self.plains.get_mut(plain).filter(|entry| entry.chunked) else {
            return;
        };
        let pool = self.driver.pool();
        entry.outbox.write(pool, b"0\r\n");
        let mut pieces = trailers.split(|byte| *byte == 0);
        while let (Some(name), Some(value)) = (pieces.next(), pieces.next()) {
            for piece in [name, b": ", value, b"\r\n"] {
                entry.outbox.write(pool, piece);
            }
        }
        entry.outbox.write(pool, b"\r\n");
        self.flush_plain(plain);
    }

    pub(super) fn worker_half_close(&mut self, slot: u32) {
        if let Some(channel) = self.stream_channel(slot) {
            self.write_stream(slot, channel, |out, tag| out.half_close(tag));
        } else if let Link::Tunnel { channel, .. } = self.link_of(slot) {
            self.write_stream(slot, channel, |out, tag| out.tunnel_end(tag));
        } else if let Link::Plain { plain, .. } = self.link_of(slot) {
            if let Some(entry) = self.plains.get_mut(plain) {
                entry.half_close = true;
            }
            self.flush_plain(plain);
        }
    }

    pub(super) fn worker_credit(&mut self, slot: u32, bytes: u32) {
        if let Some(channel) = self.stream_channel(slot) {
            self.write_frame(slot, channel, |out, tag| out.window(tag, bytes));
            if let Some(entry) = self.channels[usize::from(channel)].as_mut() {
                mark_for_flush(&mut self.dirty, entry, channel);
            }
        } else if let Link::Tunnel { channel, .. } = self.link_of(slot) {
            self.tunnel_credit(slot, channel);
        } else if let Link::Plain { plain, .. } = self.link_of(slot) {
            self.plain_receive(plain);
        }
    }

    /// The channel that has something to say about a connection, between two requests too if the connection was offered.
    fn stream_channel(&self, slot: u32) -> Option<u16> {
        let conn = self.conns.get(slot)?;
        match (conn.link, conn.offered) {
            (Link::Stream { channel, .. }, _) | (Link::None, Some(Offered { channel, .. })) => {
                Some(channel)
            }
            (Link::Tunnel { .. } | Link::Plain { .. }, _) | (Link::None, None) => None,
        }
    }

    /// Streams only: on the plain path Node's own parser sees what is wrong.
    pub(super) fn worker_broken(&mut self, slot: u32, lead: &[u8], read: &[u8]) {
        let Some(conn) = self.conns.get(slot) else { return };
        let Link::Stream { channel, .. } = conn.link else { return };
        let tag = StreamTag { stream: stream_of(slot), generation: conn.generation };
        let Some(entry) = self.channels[usize::from(channel)].as_mut() else { return };
        let bytes_max = FRAME_PREFIX_BYTES + 4 + lead.len() + read.len();
        entry.write_at_most(self.driver.pool(), bytes_max, |out| out.broken(tag, lead, read));
        mark_dirty(&mut self.dirty, entry, channel);
    }

    fn link_of(&self, slot: u32) -> Link {
        self.conns.get(slot).map_or(Link::None, |conn| conn.link)
    }

    /// A small frame of the request in hand, which must not get lost.
    pub(super) fn write_stream(
        &mut self,
        slot: u32,
        channel: u16,
        frame: impl Fn(&mut FrameWriter<'_>, StreamTag) -> Result<(), NoRoom>,
    ) {
        self.write_frame(slot, channel, frame);
        if let Some(entry) = self.channels[usize::from(channel)].as_mut() {
            mark_dirty(&mut self.dirty, entry, channel);
        }
    }

    pub(super) fn write_frame(
        &mut self,
        slot: u32,
        channel: u16,
        frame: impl Fn(&mut FrameWriter<'_>, StreamTag) -> Result<(), NoRoom>,
    ) {
        let generation = self.conns.get(slot).map_or(0, |conn| conn.generation);
        let Some(entry) = self.channels[usize::from(channel)].as_mut() else {
            return;
        };
        let tag = StreamTag { stream: stream_of(slot), generation };
        entry.write_always(self.driver.pool(), |out| frame(out, tag));
    }

    /// The request left its worker.
    pub(super) fn release_link(&mut self, slot: u32, keep: Keep) {
        let Some(conn) = self.conns.get_mut(slot) else {
            return;
        };
        let link = std::mem::replace(&mut conn.link, Link::None);
        match link {
            Link::None => return,
            Link::Stream { worker, channel, .. } => {
                if keep == Keep::Cancel
                    && let Some(entry) = self.channels[usize::from(channel)].as_mut()
                    && let Some(at) =
                        conn.streams.iter().position(|open| open.channel == entry.serial)
                {
                    // Not the connection's generation: the HEAD may have been given up before it was written.
                    let open = conn.streams.remove(at);
                    let tag = StreamTag { stream: stream_of(slot), generation: open.generation };
                    entry.write_always(self.driver.pool(), |out| out.close(tag, conn.broken));
                    mark_dirty(&mut self.dirty, entry, channel);
                }
                self.unload(worker, slot);
            }
            Link::Tunnel { worker, channel, .. } => {
                self.upgrade_over(slot, worker);
                self.close_tunnel(slot, channel);
                self.unload(worker, slot);
            }
            Link::Plain { worker, plain } => {
                let idle_ms = conn.worker_idle_ms.take();
                self.upgrade_over(slot, worker);
                self.release_plain(plain, keep, idle_ms);
                self.unload(worker, slot);
            }
        }
        if keep != Keep::Cancel {
            self.dispatch.queue.done(self.now.ms);
        }
        self.pump |= !self.dispatch.queue.is_empty();
    }
}

/// Marks a channel for the flush at the end of the turn.
pub(super) fn mark_dirty(dirty: &mut Vec<u16>, channel: &mut Channel, index: u16) {
    channel.urgent = true;
    mark_for_flush(dirty, channel, index);
}

/// The same for credit alone, which may wait for more of it.
pub(super) fn mark_for_flush(dirty: &mut Vec<u16>, channel: &mut Channel, index: u16) {
    if !channel.dirty {
        channel.dirty = true;
        dirty.push(index);
    }
}
