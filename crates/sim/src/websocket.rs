//! WebSocket frames as an app writes them and a client reads them, written apart from the proxy's code.
//!
//! Owns: the choice of frames, their bytes, and what a client makes of them. Must never know: who puts which frame between
//! them. Used by `plain` and `client`.

use crate::rng::Rng;

const CLOSE: u8 = 8;
/// The app's own close frame: 1000, a normal closure.
const APP_CLOSE: [u8; 4] = [0x88, 2, 3, 232];

/// The app's side: puts bytes into frames.
#[derive(Debug, Default)]
pub struct Speaker {
    /// Payload bytes that the frame in hand still wants.
    left: usize,
}

impl Speaker {
    /// Says these bytes, in any frames; the last one may want more.
    pub fn say(&mut self, mut bytes: &[u8], out: &mut Vec<u8>, rng: &mut Rng) {
        while !bytes.is_empty() {
            if self.left == 0 {
                if rng.chance(5) {
                    begin(rng.pick(&[0x89, 0x8a]), 3, out, rng);
                    out.extend_from_slice(b"hey");
                }
                self.left = match rng.below(20) {
                    0 => 0,
                    1 => rng.within(65_530, 65_540),
                    2..=7 => rng.within(1, 130),
                    8..=12 => bytes.len() + rng.within(1, 10),
                    _ => bytes.len(),
                };
                begin(rng.pick(&[0x01, 0x80, 0x81, 0x82, 0xc1, 0x02]), self.left, out, rng);
            }
            let (now, later) = bytes.split_at(self.left.min(bytes.len()));
            out.extend_from_slice(now);
            self.left -= now.len();
            bytes = later;
        }
    }

    /// Ends it, if that is possible now.
    pub fn close(&self, out: &mut Vec<u8>) -> bool {
        if self.left == 0 {
            out.extend_from_slice(&APP_CLOSE);
        }
        self.left == 0
    }
}

/// What stands in front of a payload. Masks are the proxy's no business; the key here changes nothing.
fn begin(first: u8, len: usize, out: &mut Vec<u8>, rng: &mut Rng) {
    let masked = rng.chance(10);
    let mask = if masked { 0x80 } else { 0 };
    out.push(first);
    if len > 65_535 || rng.chance(5) {
        out.push(mask | 127);
        out.extend_from_slice(&(len as u64).to_be_bytes());
    } else if len > 125 || rng.chance(10) {
        out.push(mask | 126);
        out.extend_from_slice(&(len as u16).to_be_bytes());
    } else {
        out.push(mask | len as u8);
    }
    if masked {
        out.extend_from_slice(&[0; 4]);
    }
}

/// The client's side.
#[derive(Debug, Default)]
pub struct Listener {
    /// Bytes that are no whole head of a frame yet, or no whole close frame.
    head: Vec<u8>,
    /// Payload bytes of the frame in hand that are to come, and whether they are the message's.
    left: u64,
    data: bool,
    /// What the close frame said: code and reason.
    closed: Option<(u16, Vec<u8>)>,
}

impl Listener {
    /// Bytes have come; gives what of them is payload of messages. An error is what no server may send.
    pub fn hear(&mut self, bytes: &[u8]) -> Result<Vec<u8>, String> {
        let mut heard = Vec::new();
        for &byte in bytes {
            if let Some(closed) = &self.closed {
                return Err(format!("{byte:#x} behind the close frame {closed:?}"));
            }
            if self.left > 0 {
                self.left -= 1;
                if self.data {
                    heard.push(byte);
                }
                continue;
            }
            self.head.push(byte);
            self.understand()?;
        }
        Ok(heard)
    }

    fn understand(&mut self) -> Result<(), String> {
        let [first, second, rest @ ..] = &self.head[..] else { return Ok(()) };
        let long = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let key = if second & 0x80 == 0 { 0 } else { 4 };
        if rest.len() < long + key {
            return Ok(());
        }
        let number = |bytes: &[u8]| bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        let len = if long == 0 { u64::from(second & 0x7f) } else { number(&rest[..long]) };
        if first & 0x0f == CLOSE {
            let payload = &rest[long + key..];
            if !(2..=125).contains(&len) {
                return Err(format!("a close frame of {len} bytes"));
            }
            if payload.len() as u64 == len {
                self.closed = Some((number(&payload[..2]) as u16, payload[2..].to_vec()));
            }
            return Ok(());
        }
        if !matches!(first & 0x0f, 0 | 1 | 2 | 9 | 10) || first & 0x30 != 0 {
            return Err(format!("no frame begins with {first:#x}"));
        }
        (self.left, self.data) = (len, first & 0x08 == 0);
        self.head.clear();
        Ok(())
    }

    /// Code and reason of the close frame, if it has come.
    pub fn closed(&self) -> Option<&(u16, Vec<u8>)> {
        self.closed.as_ref()
    }

    /// In the middle of a frame?
    pub fn is_inside(&self) -> bool {
        self.closed.is_none() && (self.left > 0 || !self.head.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_heard() {
        let mut rng = Rng::new(3);
        for _ in 0..300 {
            let (mut speaker, mut listener) = (Speaker::default(), Listener::default());
            let mut heard = Vec::new();
            let said: Vec<u8> = (0..rng.within(0, 3_000)).map(|at| at as u8).collect();
            let mut wire = Vec::new();
            for piece in said.chunks(rng.within(1, 900)) {
                speaker.say(piece, &mut wire, &mut rng);
            }
            let closes = speaker.close(&mut wire);
            for piece in wire.chunks(rng.within(1, 900)) {
                heard.extend(listener.hear(piece).expect("frames"));
            }
            assert_eq!(heard, said);
            assert_ne!(closes, listener.is_inside());
            assert_eq!(listener.closed().is_some(), closes);
            assert!(listener.hear(b"\x81").is_err() == closes);
        }
    }
}
