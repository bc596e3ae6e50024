//! Listen addresses as people write them.
//!
//! Owns: the text form of a listen address. Must never know: sockets. Used by the command line
//! (parsing) and by `listeners` (display in messages).

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where clients connect.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ListenAddress {
    /// `127.0.0.1:3000`, `[::1]:3000`; port 0 lets the kernel choose.
    Tcp(SocketAddr),
    /// `unix:/run/app.sock`.
    Unix(PathBuf),
}

impl ListenAddress {
    /// The TCP port, none for a unix socket.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Tcp(address) => Some(address.port()),
            Self::Unix(_) => None,
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(out, "{address}"),
            Self::Unix(path) => write!(out, "unix:{}", path.display()),
        }
    }
}

/// Why a text is not a listen address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// `unix:` with nothing behind it.
    #[error("`unix:` needs a path, for example unix:/run/app.sock")]
    NoPath,
    /// A path without `unix:`.
    #[error("`{0}` looks like a path; write unix:{0}")]
    BarePath(String),
    /// Only a port, or a host without one.
    #[error("`{0}` needs a host and a port, for example 127.0.0.1:3000 or 0.0.0.0:3000")]
    NoHostOrPort(String),
    /// An IPv6 address without brackets.
    #[error("`{0}` looks like IPv6; write it with brackets and a port, for example [::1]:3000")]
    NoBrackets(String),
    /// The port is not a number up to 65535.
    #[error("`{0}` is not a port: a number from 0 to 65535 is expected")]
    BadPort(String),
    /// The name has no address.
    #[error("the host name `{0}` has no address; write an IP address")]
    UnknownHost(String),
}

impl FromStr for ListenAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Some(path) = text.strip_prefix("unix:") {
            if path.is_empty() {
                return Err(AddressError::NoPath);
            }
            return Ok(Self::Unix(PathBuf::from(path)));
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(Self::Tcp(address));
        }
        if text.starts_with('/') || text.starts_with('.') {
            return Err(AddressError::BarePath(text.to_owned()));
        }
        if text.parse::<std::net::Ipv6Addr>().is_ok() {
            return Err(AddressError::NoBrackets(text.to_owned()));
        }
        let Some((host, port)) = text.rsplit_once(':').filter(|(host, _)| !host.is_empty()) else {
            return Err(AddressError::NoHostOrPort(text.to_owned()));
        };
        if port.parse::<u16>().is_err() {
            return Err(AddressError::BadPort(port.to_owned()));
        }
        // A name is resolved once, at start: a server that moves when DNS changes would surprise.
        let found = text.to_socket_addrs().ok().and_then(|mut list| list.next());
        found.map(Self::Tcp).ok_or_else(|| AddressError::UnknownHost(host.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_addresses_survive_a_round_trip() {
        for text in ["127.0.0.1:3000", "[::1]:0", "0.0.0.0:80", "unix:/run/app.sock"] {
            let address: ListenAddress = text.parse().expect(text);
            assert_eq!(address.to_string(), text);
        }
        let named: ListenAddress = "localhost:3000".parse().expect("localhost");
        assert_eq!(named.port(), Some(3000));
    }

    #[test]
    fn bad_addresses_say_what_to_write() {
        for (text, hint) in [
            ("unix:", "needs a path"),
            ("/run/app.sock", "write unix:/run/app.sock"),
            ("3000", "needs a host and a port"),
            (":3000", "needs a host and a port"),
            ("::1", "[::1]:3000"),
            ("127.0.0.1:x", "`x` is not a port"),
            ("127.0.0.1:70000", "`70000` is not a port"),
        ] {
            let error = text.parse::<ListenAddress>().expect_err(text).to_string();
            assert!(error.contains(hint), "{text}: {error}");
        }
    }
}
