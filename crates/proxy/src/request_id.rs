//! Request ids: kept from the client when they are sane, else made here (UUID version 7, RFC 9562).
//!
//! Owns: the bytes of an id and the random numbers behind it. Must never know: where an id is written to. Called by
//! `conn/read_head.rs`.

/// Longest id that is kept from a client.
pub const REQUEST_ID_BYTES_MAX: usize = 64;

const HEX: &[u8; 16] = b"0123456789abcdef";
/// Where the two digits of each byte of a UUID stand, and where the dashes. As tables, for then the compiler checks every
/// place and the program none.
const DIGITS_AT: [usize; 16] = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];
const DASHES_AT: [usize; 4] = [8, 13, 18, 23];

/// One request id, inline.
#[derive(Clone, Copy)]
pub struct RequestId {
    bytes: [u8; REQUEST_ID_BYTES_MAX],
    len: u8,
}

impl std::fmt::Debug for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(std::str::from_utf8(self.as_bytes()).unwrap_or("?"))
    }
}

impl RequestId {
    /// No id yet.
    pub const NONE: Self = Self { bytes: [0; REQUEST_ID_BYTES_MAX], len: 0 };

    /// The client's id if it is harmless in logs and headers: 1 to 64 of `A-Z a-z 0-9 . _ : + / = @ -`.
    pub fn from_client(value: &[u8]) -> Option<Self> {
        let sane = |byte: &u8| byte.is_ascii_alphanumeric() || b"._:+/=@-".contains(byte);
        if value.is_empty() || value.len() > REQUEST_ID_BYTES_MAX || !value.iter().all(sane) {
            return None;
        }
        let mut id = Self { len: value.len() as u8, ..Self::NONE };
        id.bytes[..value.len()].copy_from_slice(value);
        Some(id)
    }

    /// The id as text, empty for [`RequestId::NONE`].
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// Makes ids. Time is passed in and randomness comes from a seed, so that a simulation repeats.
#[derive(Debug)]
pub struct RequestIds {
    state: u64,
}

impl RequestIds {
    /// Ids from this seed; any seed is good.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// SplitMix64 (Steele, Lea, Flood 2014): enough to tell requests apart; ids are not secrets.
    pub fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A new version 7 UUID for this wall-clock time.
    pub fn make(&mut self, unix_ms: u64) -> RequestId {
        let (a, b) = (self.random(), self.random());
        let high = (unix_ms << 16) | 0x7000 | (a & 0x0FFF);
        let low = (b & 0x3FFF_FFFF_FFFF_FFFF) | 0x8000_0000_0000_0000;
        let mut id = RequestId { len: 36, ..RequestId::NONE };
        let bytes = (u128::from(high) << 64 | u128::from(low)).to_be_bytes();
        for (byte, at) in bytes.into_iter().zip(DIGITS_AT) {
            id.bytes[at] = HEX[usize::from(byte >> 4)];
            id.bytes[at + 1] = HEX[usize::from(byte & 15)];
        }
        for at in DASHES_AT {
            id.bytes[at] = b'-';
        }
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_version_7_and_differ() {
        let mut ids = RequestIds::new(1);
        let one = ids.make(0x0191_2345_6789);
        let two = ids.make(0x0191_2345_6789);
        let text = std::str::from_utf8(one.as_bytes()).expect("ascii");
        assert!(text.starts_with("01912345-6789-7"), "{text}");
        assert_eq!(text.len(), 36);
        assert!(matches!(text.as_bytes()[19], b'8' | b'9' | b'a' | b'b'));
        assert_ne!(one.as_bytes(), two.as_bytes());
    }

    #[test]
    fn only_harmless_client_ids_are_kept() {
        assert_eq!(RequestId::from_client(b"abc-1.2:3").expect("sane").as_bytes(), b"abc-1.2:3");
        for bad in [&b""[..], b"a b", b"a\"b", b"\xff", &[b'a'; 65]] {
            assert!(RequestId::from_client(bad).is_none());
        }
    }
}
