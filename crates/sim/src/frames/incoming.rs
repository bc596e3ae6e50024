//! Frames of the proxy, each checked against the protocol.
//!
//! Owns: what is allowed when. Must never know: apps. Part of `frames`.

use hostler_protocol::worker::peer::{PeerBody, PeerFrame, PeerHead, put_reset};
use hostler_protocol::worker::{HeadFlags, StreamTag, WINDOW_BYTES};

use super::{FramesSide, Stream};
use crate::app::Exchange;
use crate::oracle::Ledger;
use crate::request::BodyKind;

impl FramesSide {
    pub(super) fn frames(&mut self, ledger: &mut Ledger) -> Result<(), String> {
        while let Some(frame) = self.reader.next_frame().map_err(|error| error.to_string())? {
            if !self.greeted && !matches!(frame.body, PeerBody::Hello(_)) {
                return Err("the first frame is not HELLO".into());
            }
            self.frame(frame, ledger)?;
        }
        Ok(())
    }

    fn frame(&mut self, frame: PeerFrame, ledger: &mut Ledger) -> Result<(), String> {
        let tag = frame.tag;
        match frame.body {
            PeerBody::Hello(hello) => {
                if self.greeted || hello.window != WINDOW_BYTES {
                    return Err(format!("{hello:?}"));
                }
                self.greeted = true;
                return Ok(());
            }
            PeerBody::Head(head) => return self.head(tag, &head, ledger),
            PeerBody::Tunnel { .. }
            | PeerBody::TunnelData(_)
            | PeerBody::TunnelEnd
            | PeerBody::TunnelClose(_)
            | PeerBody::TunnelWindow(_) => return self.tunnel_frame(tag, &frame.body),
            _ => {}
        }
        let Some(stream) = self.streams.get_mut(&tag.stream) else {
            let late = self.reset.contains_key(&tag.stream);
            return if late {
                Ok(())
            } else {
                Err(format!("{:?} on stream {tag:?}, which is not open", frame.body))
            };
        };
        // CLOSE counts whatever its generation.
        if stream.generation != tag.generation && !matches!(frame.body, PeerBody::Close(_)) {
            return Err(format!(
                "{:?} on stream {tag:?}, whose generation is {}",
                frame.body, stream.generation
            ));
        }
        match frame.body {
            PeerBody::Close(_) => {
                if let Some(exchange) = &stream.exchange {
                    exchange.lost(ledger);
                }
                self.streams.remove(&tag.stream);
                Ok(())
            }
            PeerBody::HalfClose => {
                stream.half_closed = true;
                Ok(())
            }
            PeerBody::Window(bytes) => {
                stream.credit += i64::from(bytes);
                stream.unacknowledged -= i64::from(bytes);
                if stream.unacknowledged < 0 || stream.credit > i64::from(WINDOW_BYTES) {
                    return Err(format!("credit for bytes never sent on {tag:?}"));
                }
                Ok(())
            }
            PeerBody::Data(bytes) => Self::data(stream, tag, &bytes, ledger),
            PeerBody::End(trailers) => Self::end(stream, tag, &trailers, ledger),
            PeerBody::Broken { .. } => Err("no client here breaks a body".to_owned()),
            PeerBody::Open(_) | PeerBody::Hold | PeerBody::GiveBack { .. } => {
                Err(format!("{:?} without an offer", frame.body))
            }
            _ => {
                unreachable!("handled above")
            }
        }
    }

    fn head(&mut self, tag: StreamTag, head: &PeerHead, ledger: &mut Ledger) -> Result<(), String> {
        let is_new = head.flags.has(HeadFlags::NEW_CONNECTION);
        let delivered =
            ledger.deliver(self.worker, false, &head.method, &head.target, &head.fields);
        let Some((id, delivery)) = delivered else {
            return Err("a HEAD that nobody sent".into());
        };
        check_flags(head.flags, id, ledger);
        match self.streams.get(&tag.stream) {
            None if is_new => {
                self.reset.remove(&tag.stream);
            }
            None if self.reset.contains_key(&tag.stream) => {
                // The app destroyed the socket while this HEAD was on its way.
                ledger.records[id].deliveries[delivery].lost = true;
                ledger.records[id].deliveries[delivery].reset = true;
                let mut bytes = Vec::new();
                put_reset(&mut bytes, tag);
                self.put(&bytes);
                return Ok(());
            }
            None => return Err(format!("HEAD on {tag:?}, which is not open")),
            Some(_) if is_new => return Err(format!("NEW_CONNECTION on {tag:?}, which is in use")),
            Some(stream)
                if stream
                    .exchange
                    .as_ref()
                    .is_some_and(|exchange| !(exchange.ended && exchange.request_done)) =>
            {
                return Err(format!(
                    "HEAD on {tag:?} before the last request and its answer were over"
                ));
            }
            Some(stream) if stream.generation == tag.generation => {
                return Err(format!("HEAD on {tag:?} with the generation of the last request"));
            }
            Some(_) => {}
        }
        let mut exchange = Exchange::choose(id, delivery, &self.wishes, &mut self.rng, ledger);
        if head.flags.has(HeadFlags::NO_BODY) {
            exchange.request_done = true;
            ledger.request_arrived(id, delivery, 0, None);
        }
        let stream = Stream {
            generation: tag.generation,
            exchange: Some(exchange),
            credit: i64::from(WINDOW_BYTES),
            unacknowledged: 0,
            window: i64::from(WINDOW_BYTES),
            half_closed: false,
        };
        self.streams.insert(tag.stream, stream);
        Ok(())
    }

    fn data(
        stream: &mut Stream,
        tag: StreamTag,
        bytes: &[u8],
        ledger: &mut Ledger,
    ) -> Result<(), String> {
        let Some(exchange) = &mut stream.exchange else {
            return Err(format!("DATA on {tag:?} after the end of the request"));
        };
        if exchange.request_done {
            return Err(format!("DATA on {tag:?} after END"));
        }
        let len = bytes.len() as i64;
        let alone = exchange.received == exchange.credited && stream.window > 0;
        if len > stream.window && !(alone && len <= i64::from(WINDOW_BYTES)) {
            return Err(format!("{len} bytes into a window of {} on {tag:?}", stream.window));
        }
        stream.window -= len;
        exchange.body_arrived(bytes, ledger);
        Ok(())
    }

    fn end(
        stream: &mut Stream,
        tag: StreamTag,
        trailers: &[(Vec<u8>, Vec<u8>)],
        ledger: &mut Ledger,
    ) -> Result<(), String> {
        let Some(exchange) = stream.exchange.as_mut().filter(|exchange| !exchange.request_done)
        else {
            return Err(format!("a second END on {tag:?}"));
        };
        exchange.request_done = true;
        ledger.request_arrived(exchange.id, exchange.delivery, exchange.received, Some(trailers));
        Ok(())
    }
}

fn check_flags(flags: HeadFlags, id: usize, ledger: &mut Ledger) {
    let request = &ledger.records[id].request;
    let keeps = if request.http10 { !request.close } else { !request.close || request.upgrade };
    let bodiless = match request.body {
        BodyKind::None => true,
        BodyKind::Length => request.body_len == 0,
        BodyKind::Chunked(_) => false,
    };
    let wrong = flags.has(HeadFlags::NO_BODY) != bodiless
        || flags.has(HeadFlags::HTTP_1_0) != request.http10
        || flags.has(HeadFlags::EXPECT_CONTINUE) != request.expects
        || flags.has(HeadFlags::KEEP_ALIVE) != keeps;
    if wrong {
        ledger.violation(format!("request {id}: flags {flags:?}"));
    }
}
