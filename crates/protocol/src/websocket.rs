//! WebSocket frames, as far as a proxy needs them: where they end, and the one that it writes itself.
//!
//! Owns: the boundaries of the frames of one direction (RFC 6455 section 5.2). Must never know: what they hold; fragments
//! and extensions (both live inside of frames). Called by the proxy, which may put a control frame of its own between two frames, also
//! between two fragments of a message (section 5.4), but not into one.

/// The close frame of a server that restarts: code 1012 (section 7.4; Service Restart in IANA's WebSocket Close Code Number Registry)
/// and a reason. Servers do not mask.
pub const SERVICE_RESTART: &[u8] = b"\x88\x11\x03\xf4service restart";

const OPCODE: u8 = 0x0f;
const CLOSE: u8 = 0x08;
/// In the second byte: a key of four bytes stands in front of the payload.
const MASKED: u8 = 0x80;
const MASK_BYTES: u64 = 4;
/// Lengths in the second byte that stand for longer ones behind it.
const LENGTH_16: u8 = 126;
const LENGTH_64: u8 = 127;

/// Where a stream of frames stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// Between two frames.
    #[default]
    Boundary,
    /// Behind the first byte.
    Length,
    /// So many bytes of the long form of the length are missing.
    LongLength { missing: u8, length: u64, mask: u64 },
    /// So many bytes of the mask's key and of the payload are missing, at least one.
    Payload(u64),
}

/// Follows the frames of one direction of a WebSocket, however they are cut. Any bytes are frames: a length beyond what
/// the protocol allows only never ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameBounds {
    place: Place,
    closed: bool,
}

impl FrameBounds {
    /// No frame has begun that has not ended.
    pub fn is_at_boundary(&self) -> bool {
        self.place == Place::Boundary
    }

    /// A close frame has begun; no frame may follow it (section 5.5.1).
    pub fn has_close(&self) -> bool {
        self.closed
    }

    /// Follows all these bytes.
    #[inline]
    pub fn follow(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let taken = match self.place {
                Place::Boundary => self.whole_short_frame(rest),
                _ => None,
            };
            let taken = taken.unwrap_or_else(|| self.follow_frame(rest));
            rest = &rest[taken..];
        }
    }

    /// How long the frame is that these bytes begin with, if all of it is here and its length is a short one: most are.
    #[inline]
    fn whole_short_frame(&mut self, bytes: &[u8]) -> Option<usize> {
        let &[first, second, ..] = bytes else { return None };
        let length = second & !MASKED;
        let mask = if second & MASKED == 0 { 0 } else { MASK_BYTES as usize };
        let len = 2 + mask + usize::from(length);
        if length >= LENGTH_16 || len > bytes.len() {
            return None;
        }
        self.closed |= first & OPCODE == CLOSE;
        Some(len)
    }

    /// Follows these bytes to the end of the frame that they are in, or that begins with them, or as far as they go; says
    /// how many that are.
    pub fn follow_frame(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            match self.place {
                Place::Boundary => {
                    self.closed |= byte & OPCODE == CLOSE;
                    self.place = Place::Length;
                    at += 1;
                    continue;
                }
                Place::Length => {
                    at += 1;
                    let mask = if byte & MASKED == 0 { 0 } else { MASK_BYTES };
                    self.place = match byte & !MASKED {
                        LENGTH_16 => Place::LongLength { missing: 2, length: 0, mask },
                        LENGTH_64 => Place::LongLength { missing: 8, length: 0, mask },
                        short => payload(u64::from(short), mask),
                    };
                }
                Place::LongLength { missing, length, mask } => {
                    at += 1;
                    let length = length << 8 | u64::from(byte);
                    self.place = match missing {
                        1 => payload(length, mask),
                        _ => Place::LongLength { missing: missing - 1, length, mask },
                    };
                }
                Place::Payload(missing) => {
                    let here = missing.min((bytes.len() - at) as u64);
                    at += here as usize;
                    self.place = payload(missing - here, 0);
                }
            }
            if self.place == Place::Boundary {
                break;
            }
        }
        at
    }
}

/// The place in front of a payload.
fn payload(length: u64, mask: u64) -> Place {
    match length.saturating_add(mask) {
        0 => Place::Boundary,
        missing => Place::Payload(missing),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(bytes: &[u8]) -> FrameBounds {
        let mut frames = FrameBounds::default();
        frames.follow(bytes);
        frames
    }

    #[test]
    fn a_frame_ends_with_its_payload() {
        let cases: [(&str, Vec<u8>); 8] = [
            ("empty", vec![0x81, 0]),
            ("short", b"\x81\x05hello".to_vec()),
            ("masked and empty", b"\x8a\x80mask".to_vec()),
            ("masked", b"\x82\x82maskhi".to_vec()),
            ("compressed", b"\xc1\x01\x00".to_vec()),
            ("16 bits", [&b"\x82\x7e\x01\x00"[..], &[7; 256]].concat()),
            ("64 bits", [&b"\x82\x7f\0\0\0\0\0\x01\x00\x00"[..], &[7; 65_536]].concat()),
            ("a long form of a short length", b"\x82\x7e\x00\x01x".to_vec()),
        ];
        for (name, frame) in cases {
            assert!(after(&frame).is_at_boundary(), "{name}");
            for cut in 1..frame.len().min(20) {
                assert!(!after(&frame[..cut]).is_at_boundary(), "{name}, {cut} bytes of it");
            }
            assert!(!after(&frame[..frame.len() - 1]).is_at_boundary(), "{name}, but for a byte");
            let two = [&frame[..], &frame[..]].concat();
            assert_eq!(
                FrameBounds::default().follow_frame(&two),
                frame.len(),
                "{name}, one of two"
            );
            assert!(after(&two).is_at_boundary(), "{name}, twice");
        }
    }

    #[test]
    fn the_rest_of_a_frame_is_not_the_next_one() {
        let mut frames = after(b"\x01\x05he");
        assert_eq!(frames.follow_frame(b"llo\x80\x01!"), 3);
        assert!(frames.is_at_boundary(), "a control frame may stand between fragments");
    }

    #[test]
    fn a_close_frame_is_seen_with_its_first_byte() {
        assert!(!after(b"\x81\x05hello").has_close());
        assert!(after(b"\x81\x05hello\x88").has_close());
        assert!(after(SERVICE_RESTART).has_close() && after(SERVICE_RESTART).is_at_boundary());
        // Within a payload it is none.
        assert!(!after(b"\x82\x02\x88\x88").has_close());
    }

    #[test]
    fn the_largest_length_does_not_overflow() {
        let frames = after(&[0x82, 0xff, 255, 255, 255, 255, 255, 255, 255, 255, 1, 2, 3, 4, 5]);
        assert!(!frames.is_at_boundary());
    }
}
