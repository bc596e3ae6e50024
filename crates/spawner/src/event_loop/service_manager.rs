//! Telling a service manager (systemd, or whatever speaks sd_notify(3)) how the instance is.
//!
//! Owns: the socket that `NOTIFY_SOCKET` names, the text of the messages, and what was told last. Must never know: why the instance
//! is as it is. Without the variable nothing happens at all.
//!
//! The messages are our own: the call of a library may wait for a manager that does not read, and we never wait.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::{self, ErrorKind};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use rustix::time::{ClockId, clock_gettime};

use crate::supervisor::ServiceState;

/// Messages that wait for a manager that does not read.
const PENDING_MAX: usize = 16;

/// systemd cuts a longer status by itself.
const STATUS_CHARS_MAX: usize = 500;

/// The manager, if there is one.
#[derive(Debug)]
pub(super) struct ServiceManager {
    socket: Option<(UnixDatagram, SocketAddr)>,
    told: Option<(ServiceState, String)>,
    pending: VecDeque<String>,
}

impl ServiceManager {
    /// The one that the variable `NOTIFY_SOCKET` names.
    pub(super) fn new(notify_socket: Option<&OsStr>) -> Self {
        let name = notify_socket.filter(|name| !name.is_empty());
        let socket = name.and_then(|name| match open(name) {
            Ok(socket) => Some(socket),
            Err(error) => {
                tracing::warn!("NOTIFY_SOCKET={} is of no use: {error}", name.display());
                None
            }
        });
        Self { socket, told: None, pending: VecDeque::new() }
    }

    /// Somebody wants to know.
    pub(super) fn is_there(&self) -> bool {
        self.socket.is_some()
    }

    /// Tells what has changed since the last time.
    pub(super) fn tell(&mut self, state: ServiceState, text: String) {
        let now = (state, text);
        if self.socket.is_none() || self.told.as_ref() == Some(&now) {
            return;
        }
        let before = self.told.as_ref().map(|(state, _)| *state);
        self.pending.push_back(message(before, now.0, &now.1, monotonic_us()));
        if self.pending.len() > PENDING_MAX {
            // The newest say how it is; the oldest how it was.
            self.pending.pop_front();
        }
        self.told = Some(now);
        self.flush();
    }

    /// Sends what the manager takes now.
    pub(super) fn flush(&mut self) {
        let Some((socket, address)) = &self.socket else { return };
        while let Some(text) = self.pending.front() {
            match socket.send_to_addr(text.as_bytes(), address) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // A manager that is gone is no reason to stop serving.
                Err(error) => {
                    tracing::debug!(%error, "the service manager is not reached");
                    self.pending.pop_front();
                }
                Ok(_) => drop(self.pending.pop_front()),
            }
        }
    }
}

/// A path, or `@name` for an abstract socket.
fn open(name: &OsStr) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        [b'/', ..] => SocketAddr::from_pathname(name)?,
        _ => return Err(io::Error::new(ErrorKind::Unsupported, "neither a path nor @name")),
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}

/// The assignments of sd_notify(3), one a line.
fn message(before: Option<ServiceState>, now: ServiceState, text: &str, now_us: u64) -> String {
    let state = match (before, now) {
        (before, now) if before == Some(now) => String::new(),
        (_, ServiceState::Starting) => String::new(),
        (_, ServiceState::Ready) => "READY=1\n".to_owned(),
        // `Type=notify-reload` compares the time with that of its signal.
        (_, ServiceState::Reloading) => format!("RELOADING=1\nMONOTONIC_USEC={now_us}\n"),
        (_, ServiceState::Stopping) => "STOPPING=1\n".to_owned(),
    };
    // A line break would begin another assignment.
    let text: String = text
        .chars()
        .map(|char| if char.is_control() { ' ' } else { char })
        .take(STATUS_CHARS_MAX)
        .collect();
    format!("{state}STATUS={text}")
}

fn monotonic_us() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let us = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1_000;
    u64::try_from(us).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_change_of_state_is_an_assignment_of_its_own() {
        use ServiceState::*;
        let text = |before, now| message(before, now, "as it is", 7);
        assert_eq!(text(None, Starting), "STATUS=as it is");
        assert_eq!(text(Some(Starting), Ready), "READY=1\nSTATUS=as it is");
        assert_eq!(text(Some(Ready), Ready), "STATUS=as it is");
        assert_eq!(text(Some(Ready), Reloading), "RELOADING=1\nMONOTONIC_USEC=7\nSTATUS=as it is");
        assert_eq!(text(Some(Reloading), Stopping), "STOPPING=1\nSTATUS=as it is");
    }

    #[test]
    fn a_status_cannot_say_ready() {
        let text = message(Some(ServiceState::Starting), ServiceState::Starting, "a\nREADY=1", 0);
        assert_eq!(text, "STATUS=a READY=1");
    }

    #[test]
    fn a_manager_that_does_not_read_costs_old_messages_and_no_time() {
        let name = format!("@hostler-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name[1..]).expect("short");
        let manager = UnixDatagram::bind_addr(&address).expect("bound");
        let mut service = ServiceManager::new(Some(OsStr::new(&name)));
        for round in 0..5_000 {
            service.tell(ServiceState::Ready, round.to_string());
        }
        assert_eq!(service.pending.len(), PENDING_MAX);
        manager.set_nonblocking(true).expect("set");
        let mut buffer = [0; 600];
        let mut last = String::new();
        while !service.pending.is_empty() {
            while let Ok(count) = manager.recv(&mut buffer) {
                last = String::from_utf8_lossy(&buffer[..count]).into_owned();
            }
            service.flush();
        }
        while let Ok(count) = manager.recv(&mut buffer) {
            last = String::from_utf8_lossy(&buffer[..count]).into_owned();
        }
        assert_eq!(last, "STATUS=4999");
    }

    #[test]
    fn nobody_listens() {
        for name in ["", "relative", "@nobody-is-here", "/nonexistent/notify"] {
            let mut service = ServiceManager::new(Some(OsStr::new(name)));
            service.tell(ServiceState::Ready, String::new());
            assert!(service.pending.is_empty(), "{name}");
        }
    }
}
