//! Tunnels of a channel: frames become bytes and back, within their windows.
//!
//! Owns: what is allowed when. Must never know: what the bytes mean; `plain` reads them. Part of `frames`.

use hostler_protocol::worker::peer::{PeerBody, put, put_tunnel_end, put_tunnel_window};
use hostler_protocol::worker::{FromWorker, StreamTag, WINDOW_BYTES};

use super::FramesSide;
use crate::oracle::Ledger;
use crate::wire::TunnelEnd;

/// One tunnel as the channel sees it.
pub(super) struct Tunnel {
    generation: u8,
    end: TunnelEnd,
    /// Bytes that the app may write, and those that are not acknowledged.
    credit: i64,
    unacknowledged: i64,
    /// Bytes that the proxy may send.
    window: i64,
}

impl FramesSide {
    /// Tunnels that have begun since this was last asked.
    pub fn take_opened(&mut self) -> Vec<TunnelEnd> {
        std::mem::take(&mut self.opened)
    }

    /// A frame of a tunnel.
    pub(super) fn tunnel_frame(&mut self, tag: StreamTag, body: &PeerBody) -> Result<(), String> {
        if let PeerBody::Tunnel { .. } = body {
            let tunnel = Tunnel {
                generation: tag.generation,
                end: TunnelEnd::default(),
                credit: i64::from(WINDOW_BYTES),
                unacknowledged: 0,
                window: i64::from(WINDOW_BYTES),
            };
            self.opened.push(tunnel.end.clone());
            self.ended.remove(&tag.stream);
            return match self.tunnels.insert(tag.stream, tunnel) {
                None => Ok(()),
                Some(_) => Err(format!("TUNNEL on {tag:?}, which has one")),
            };
        }
        let Some(tunnel) = self.tunnels.get_mut(&tag.stream) else {
            let late = self.ended.get(&tag.stream) == Some(&tag.generation);
            return if late { Ok(()) } else { Err(format!("{body:?} on {tag:?}: no tunnel")) };
        };
        if tunnel.generation != tag.generation {
            return Err(format!("{body:?} on {tag:?}: generation {}", tunnel.generation));
        }
        match body {
            PeerBody::TunnelData(bytes) => {
                tunnel.window -= bytes.len() as i64;
                if tunnel.window < 0 {
                    return Err(format!("{} bytes too many on {tag:?}", -tunnel.window));
                }
                tunnel.end.arrive(bytes);
            }
            PeerBody::TunnelEnd if !tunnel.end.end() => {
                return Err(format!("a second TUNNEL_END on {tag:?}"));
            }
            PeerBody::TunnelEnd => {}
            PeerBody::TunnelWindow(bytes) => {
                tunnel.credit += i64::from(*bytes);
                tunnel.unacknowledged -= i64::from(*bytes);
                if tunnel.unacknowledged < 0 {
                    return Err(format!("credit for bytes never sent on {tag:?}"));
                }
            }
            _ => {
                tunnel.end.go();
                self.tunnels.remove(&tag.stream);
            }
        }
        Ok(())
    }

    /// What apps wrote and read goes out.
    pub(super) fn work_tunnels(&mut self, happened: &mut bool) {
        let mut bytes = Vec::new();
        let mut over = Vec::new();
        for (&stream, tunnel) in &mut self.tunnels {
            let tag = StreamTag { stream, generation: tunnel.generation };
            if let Some(owed) = tunnel.end.take_owed(WINDOW_BYTES as usize / 4) {
                tunnel.window += owed as i64;
                put_tunnel_window(&mut bytes, tag, owed as u32);
            }
            let most = tunnel.end.waiting().min(tunnel.credit as usize);
            let count = if self.rng.chance(60) { most } else { self.rng.within(0, most) };
            if count > 0 {
                tunnel.credit -= count as i64;
                tunnel.unacknowledged += count as i64;
                put(&mut bytes, FromWorker::TunnelData, tag, &tunnel.end.take(count));
            }
            if self.rng.chance(1) {
                // Late bytes of an older request must reach nobody.
                let old = StreamTag { generation: tag.generation.wrapping_sub(1), ..tag };
                put(&mut bytes, FromWorker::TunnelData, old, b"late");
            }
            if tunnel.end.is_over() {
                put_tunnel_end(&mut bytes, tag);
                over.push(tag);
            }
        }
        *happened |= !bytes.is_empty();
        self.put(&bytes);
        for tag in over {
            let requests = self.tunnels.remove(&tag.stream).map(|tunnel| tunnel.end.requests());
            for (id, delivery) in requests.into_iter().flatten() {
                self.ends.push_back((self.queued, id, delivery));
            }
            self.ended.insert(tag.stream, tag.generation);
        }
    }

    /// The channel is gone, and its tunnels with it.
    pub(super) fn lose_tunnels(&mut self, ledger: &mut Ledger) {
        for tunnel in self.tunnels.values() {
            tunnel.end.go();
            for (id, delivery) in tunnel.end.requests() {
                ledger.records[id].deliveries[delivery].lost = true;
            }
        }
        self.tunnels.clear();
    }
}
