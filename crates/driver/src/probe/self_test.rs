//! A connection's life in small, over a driver with the real flags.
//!
//! Owns: the steps. Must never know: which driver it is given. Used by the probe.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, bind, connect,
    getsockname, listen, recv, send, socket_with,
};

use crate::buffer::PoolSize;
use crate::{Completion, Driver, DriverConfig, Key, PoolClass, PoolSizes, ReceiveMode, SocketId};

/// A step takes microseconds; a machine that needs this many turns of this length does not work.
const TURNS: u32 = 20;
const TURN: Duration = Duration::from_millis(50);

const KEY: Key = Key(0);

type Failure = (&'static str, io::Error);

/// Small: the self-test costs next to no memory.
pub(super) fn config() -> DriverConfig {
    let few = PoolSize { count: 4, bytes: 1024 };
    DriverConfig {
        sockets_max: 4,
        pools: PoolSizes { head: few, body: few, channel: few, send: few, batch: few },
    }
}

/// Accepts, receives by stream and singly, sends, cancels, closes.
pub(super) fn run(driver: &mut impl Driver) -> Result<(), Failure> {
    let (listener, address) = listener().map_err(at("listen"))?;
    let listener = driver.listen(listener, KEY).map_err(at("listen"))?;
    let client = client(&address).map_err(at("connect"))?;
    let fd = accept(driver)?;
    let socket = driver.adopt(fd, KEY).map_err(|full| ("adopt", io::Error::other(full)))?;
    for mode in [ReceiveMode::Stream, ReceiveMode::Once(PoolClass::Body)] {
        echo(driver, socket, &client, mode)?;
    }
    driver.receive(socket, ReceiveMode::Stream);
    turn(driver, "receive")?;
    driver.receive(socket, ReceiveMode::Paused);
    until(driver, "cancel", |driver, _| driver.usage().operations <= 1)?;
    driver.receive(socket, ReceiveMode::Stream);
    turn(driver, "receive")?;
    driver.close(socket);
    driver.unlisten(listener);
    until(driver, "close", |driver, _| {
        let usage = driver.usage();
        (usage.sockets, usage.operations, usage.buffers_out) == (0, 0, 0)
    })?;
    turn(driver, "close")?;
    match recv(&client, &mut [0; 1], RecvFlags::DONTWAIT) {
        Ok((_, 0)) => Ok(()),
        Ok(_) => Err(("close", io::ErrorKind::InvalidData.into())),
        Err(error) => Err(("close", error.into())),
    }
}

fn accept(driver: &mut impl Driver) -> Result<OwnedFd, Failure> {
    let mut accepted = None;
    until(driver, "accept", |_, happened| {
        if let Some(Completion::Accepted { fd, .. }) = happened.pop() {
            accepted = Some(fd);
        }
        accepted.is_some()
    })?;
    accepted.ok_or(("accept", io::ErrorKind::NotFound.into()))
}

/// Bytes from the client to the driver and back.
fn echo(
    driver: &mut impl Driver,
    socket: SocketId,
    client: &OwnedFd,
    mode: ReceiveMode,
) -> Result<(), Failure> {
    const PING: &[u8] = b"hostler";
    driver.receive(socket, mode);
    turn(driver, "receive")?;
    send(client, PING, SendFlags::NOSIGNAL).map_err(|error| ("receive", io::Error::from(error)))?;
    let mut received = None;
    until(driver, "receive", |_, happened| {
        if let Some(Completion::Received { buffer, .. }) = happened.pop() {
            received = Some(buffer);
        }
        received.is_some()
    })?;
    let received = received.filter(|bytes| **bytes == *PING);
    let bytes = received.ok_or(("receive", io::ErrorKind::InvalidData.into()))?;
    driver.send(socket, bytes.into());
    until(driver, "send", |_, happened| matches!(happened.pop(), Some(Completion::Sent { .. })))?;
    let mut pong = [0; PING.len()];
    let (_, count) = recv(client, &mut pong, RecvFlags::DONTWAIT)
        .map_err(|error| ("send", io::Error::from(error)))?;
    if pong[..count] == *PING { Ok(()) } else { Err(("send", io::ErrorKind::InvalidData.into())) }
}

/// One turn that waits for nothing and in which nothing happens.
fn turn(driver: &mut impl Driver, step: &'static str) -> Result<(), Failure> {
    let mut happened = Vec::new();
    driver.turn(Some(Duration::ZERO), &mut happened).map_err(at(step))?;
    match happened.pop() {
        None => Ok(()),
        Some(completion) => Err((step, unexpected(completion))),
    }
}

/// Turns until the condition holds.
fn until<D: Driver>(
    driver: &mut D,
    step: &'static str,
    mut holds: impl FnMut(&mut D, &mut Vec<Completion>) -> bool,
) -> Result<(), Failure> {
    let mut happened = Vec::new();
    for _ in 0..TURNS {
        if holds(driver, &mut happened) {
            return Ok(());
        }
        if let Some(completion) = happened.pop() {
            return Err((step, unexpected(completion)));
        }
        driver.turn(Some(TURN), &mut happened).map_err(at(step))?;
    }
    Err((step, io::ErrorKind::TimedOut.into()))
}

/// The error in a completion that was not to come.
fn unexpected(completion: Completion) -> io::Error {
    match completion {
        Completion::AcceptFailed { error, .. } | Completion::Failed { error, .. } => error,
        other => io::Error::other(format!("unexpected: {other:?}")),
    }
}

/// A unix listener under a name that the kernel makes up: it needs neither a network nor a writable
/// folder, and is gone with its descriptor.
fn listener() -> io::Result<(OwnedFd, SocketAddrUnix)> {
    let socket = unix_socket()?;
    bind(&socket, &SocketAddrUnix::new_unnamed())?;
    listen(&socket, 1)?;
    let address = SocketAddrUnix::try_from(getsockname(&socket)?)?;
    Ok((socket, address))
}

fn client(address: &SocketAddrUnix) -> io::Result<OwnedFd> {
    let socket = unix_socket()?;
    connect(&socket, address)?;
    Ok(socket)
}

fn unix_socket() -> io::Result<OwnedFd> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    Ok(socket)
}

fn at(step: &'static str) -> impl Fn(io::Error) -> Failure {
    move |error| (step, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_that_works_passes() {
        let mut driver = crate::epoll::EpollDriver::new(&config()).expect("epoll");
        run(&mut driver).expect("self-test");
    }
}
