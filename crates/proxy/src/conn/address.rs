//! The client's address as text, formatted once per connection.
//!
//! Owns: the inline text. Must never know: sockets. Made by `accept`, read by `forward` and `worker`.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

/// Longest text of an IPv6 address (RFC 4291, IPv4-embedded form).
const TEXT_BYTES_MAX: usize = 45;

/// Address and port of a client; empty for unix sockets.
#[derive(Clone, Copy)]
pub struct ClientAddress {
    text: [u8; TEXT_BYTES_MAX],
    len: u8,
    port: u16,
}

impl std::fmt::Debug for ClientAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", String::from_utf8_lossy(self.ip()), self.port)
    }
}

impl ClientAddress {
    /// A client on a unix socket.
    pub const LOCAL: Self = Self { text: [0; TEXT_BYTES_MAX], len: 0, port: 0 };

    /// The address of a TCP client. IPv4-mapped IPv6 addresses are shown as IPv4, as apps expect.
    pub fn new(address: SocketAddr) -> Self {
        let ip = match address.ip() {
            IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4),
            v4 @ IpAddr::V4(_) => v4,
        };
        let mut this = Self { port: address.port(), ..Self::LOCAL };
        // The text always fits: `TEXT_BYTES_MAX` is the longest form of an address.
        write!(Cursor(&mut this), "{ip}").expect("an address fits");
        this
    }

    /// The IP address as text, empty for unix sockets.
    pub fn ip(&self) -> &[u8] {
        &self.text[..usize::from(self.len)]
    }

    /// The port, 0 for unix sockets.
    pub fn port(&self) -> u16 {
        self.port
    }
}

struct Cursor<'a>(&'a mut ClientAddress);

impl std::fmt::Write for Cursor<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let start = usize::from(self.0.len);
        let end = start + text.len();
        let room = self.0.text.get_mut(start..end).ok_or(std::fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.0.len = end as u8;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_all_kinds_of_addresses() {
        let ip = |text: &str| {
            let address = ClientAddress::new(text.parse().expect("valid"));
            (String::from_utf8(address.ip().to_vec()).expect("ascii"), address.port())
        };
        assert_eq!(ip("127.0.0.1:80"), ("127.0.0.1".into(), 80));
        assert_eq!(ip("[::1]:8080"), ("::1".into(), 8080));
        assert_eq!(ip("[::ffff:10.1.2.3]:1"), ("10.1.2.3".into(), 1));
        let long = "[1111:2222:3333:4444:5555:6666:7777:8888]:65535";
        assert_eq!(ip(long).0.len(), 39);
    }
}
