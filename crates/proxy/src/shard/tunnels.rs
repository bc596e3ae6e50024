//! Tunnels: byte connections to the app through a framed channel, one for each request that asks for another protocol.
//!
//! Owns: their beginning and end, the credit of both directions. Must never know: what the bytes mean. Part of the shard.
//!
//! Everybody's tunnels share the channel's batches with everybody's requests: a thousand chatting WebSockets cost the
//! worker a few reads and writes for each turn of its loop instead of two for each message, and an idle one costs no descriptor.

use std::ops::Range;

use hostler_driver::{Buffer, Driver, Part};
use hostler_protocol::worker::{StreamTag, WINDOW_BYTES};

use super::Shard;
use super::links::{mark_dirty, mark_for_flush, stream_of};
use crate::conn::outbox::Outbox;
use crate::conn::{Conn, Event, Link, ResponseEnd, TunnelFlow};
use crate::dispatch::Suspicion;

/// Bytes that the worker may have and not have given back for the client to be read on. With what one receive brings this
/// stays within the window, and the worker gives back in quarters of it.
const AHEAD_BYTES_MAX: u32 = WINDOW_BYTES / 2;

impl<D: Driver> Shard<D> {
    /// Begins a tunnel for the connection in `slot`; `text` is the request head as Node's own parser will read it.
    pub(super) fn open_tunnel(&mut self, slot: u32, channel: u16, text: Outbox) {
        let Some(conn) = self.conns.get_mut(slot) else { return };
        let Some(entry) = self.channels[usize::from(channel)].as_mut() else { return };
        conn.tunnel = TunnelFlow { open: true, ..TunnelFlow::default() };
        let tag = StreamTag { stream: stream_of(slot), generation: conn.generation };
        let (address, port, listener) = (conn.address.ip(), conn.address.port(), conn.listener);
        let pool = self.driver.pool();
        entry.write_always(pool, |out| out.tunnel(tag, address, port, listener));
        for part in text.into_parts() {
            conn.tunnel.to_worker += part.len() as u32;
            entry.tunnel(pool, tag, part, slot);
        }
        mark_dirty(&mut self.dirty, entry, channel);
    }

    /// Bytes of the client.
    pub(super) fn tunnel_body(&mut self, slot: u32, channel: u16, part: Part) {
        let Some(conn) = self.conns.get_mut(slot) else { return };
        let Some(entry) = self.channels[usize::from(channel)].as_mut() else { return };
        conn.tunnel.to_worker += part.len() as u32;
        let tag = StreamTag { stream: stream_of(slot), generation: conn.generation };
        entry.tunnel(self.driver.pool(), tag, part, slot);
        mark_dirty(&mut self.dirty, entry, channel);
    }

    /// What the worker was to be sent has left.
    pub(super) fn tunnel_sent(&mut self, slot: u32) {
        let Some(conn) = self.conns.get_mut(slot) else { return };
        conn.tunnel.waits = conn.tunnel.to_worker > AHEAD_BYTES_MAX;
        if !conn.tunnel.waits {
            self.step(slot, Event::BodySent);
        }
    }

    /// The app has read that many bytes.
    pub(super) fn tunnel_window(&mut self, index: u16, tag: StreamTag, bytes: u32) {
        let Some(slot) = self.tunnel_slot(index, tag) else { return };
        let Some(conn) = self.conns.get_mut(slot) else { return };
        conn.tunnel.to_worker = conn.tunnel.to_worker.saturating_sub(bytes);
        if conn.tunnel.waits && conn.tunnel.to_worker <= AHEAD_BYTES_MAX {
            conn.tunnel.waits = false;
            self.step(slot, Event::BodySent);
        }
    }

    /// Bytes of the app.
    pub(super) fn tunnel_bytes(
        &mut self,
        index: u16,
        tag: StreamTag,
        buffer: &Buffer,
        range: Range<usize>,
        scarce: bool,
    ) {
        let Some(slot) = self.tunnel_slot(index, tag) else { return };
        let Some(conn) = self.conns.get_mut(slot) else { return };
        conn.tunnel.from_worker = conn.tunnel.from_worker.saturating_add(range.len() as u32);
        if conn.tunnel.from_worker > WINDOW_BYTES {
            self.channel_lost(index, "more bytes in a tunnel than it has credit for");
            return;
        }
        self.step(slot, Event::WorkerBytes { buffer, range, end: ResponseEnd::Open, scarce });
    }

    /// The client took what the app has written so far. Credit goes out in steps that are worth a frame; an app that waits for
    /// it has used up all of the window, and gets it at once.
    pub(super) fn tunnel_credit(&mut self, slot: u32, channel: u16) {
        let Some(conn) = self.conns.get_mut(slot) else { return };
        if conn.tunnel.from_worker < WINDOW_BYTES / 2 {
            return;
        }
        let bytes = std::mem::take(&mut conn.tunnel.from_worker);
        self.write_frame(slot, channel, |out, tag| out.tunnel_window(tag, bytes));
        if let Some(entry) = self.channels[usize::from(channel)].as_mut() {
            mark_for_flush(&mut self.dirty, entry, channel);
        }
    }

    /// The app ended the tunnel, or destroyed its socket.
    pub(super) fn tunnel_ended(&mut self, index: u16, tag: StreamTag) {
        let Some(slot) = self.tunnel_slot(index, tag) else { return };
        let Some(Link::Tunnel { worker, .. }) = self.conns.get(slot).map(|conn| conn.link) else {
            return;
        };
        if self.conns.get(slot).is_some_and(Conn::is_unanswered) {
            self.dispatch.suspect(worker, Suspicion::Unanswered, self.now.ms);
        }
        self.step(slot, Event::WorkerEnded);
    }

    /// The client is done with it.
    pub(super) fn close_tunnel(&mut self, slot: u32, channel: u16) {
        let Some(conn) = self.conns.get_mut(slot) else { return };
        // The request may have been given up in the step that would have opened it.
        if !std::mem::take(&mut conn.tunnel.open) {
            return;
        }
        let why = conn.broken;
        self.write_stream(slot, channel, |out, tag| out.tunnel_close(tag, why));
    }

    /// The connection that a tunnel's frame is for, unless the frame is late.
    fn tunnel_slot(&self, index: u16, tag: StreamTag) -> Option<u32> {
        let slot = tag.stream.checked_sub(1)?;
        let conn = self.conns.get(slot)?;
        let current = conn.generation == tag.generation
            && matches!(conn.link, Link::Tunnel { channel, .. } if channel == index);
        current.then_some(slot)
    }
}
