//! The load generator for WebSockets: on each connection one message is sent and its echo awaited, then the next.
//!
//! Owns: the handshake, masked frames, one epoll loop in the place of the load. Must never know: who answers.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::epoll;

use crate::Outcome;
use crate::generator::{Load, percentiles};
use crate::place::{Place, on_place};

/// A client must mask (RFC 6455 section 5.3); an unpredictable key protects intermediaries, of which a test has none.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// No echo for so long means that it was lost.
const STALL: Duration = Duration::from_secs(5);

/// What to do.
#[derive(Clone, Copy)]
pub(crate) struct Order<'a> {
    pub(crate) address: SocketAddr,
    pub(crate) target: &'a str,
    pub(crate) connections: u32,
    /// 125 bytes at most: a frame of the short form.
    pub(crate) message_bytes: u16,
    pub(crate) duration: Duration,
    pub(crate) place: Place,
}

struct Client {
    stream: TcpStream,
    sent: Instant,
    /// Bytes of the echo that have come.
    received: usize,
}

/// Loads the server; an error of any kind makes the run worthless.
pub(crate) fn run(order: Order<'_>) -> Outcome<Load> {
    on_place(order.place, || load(order))?
}

fn load(order: Order<'_>) -> Outcome<Load> {
    let messages = Messages::new(order.message_bytes)?;
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|error| error.to_string())?;
    let mut clients = Vec::new();
    for index in 0..order.connections {
        let stream = open(order.address, order.target)?;
        let data = epoll::EventData::new_u64(index.into());
        epoll::add(&poll, &stream, data, epoll::EventFlags::IN)
            .map_err(|error| error.to_string())?;
        clients.push(Client { stream, sent: Instant::now(), received: 0 });
    }
    let start = Instant::now();
    for client in &mut clients {
        client.send(&messages)?;
    }
    let mut latencies: Vec<u32> = Vec::with_capacity(1 << 20);
    let mut events = Vec::with_capacity(256);
    while start.elapsed() < order.duration {
        events.clear();
        let limit = rustix::event::Timespec { tv_sec: STALL.as_secs() as i64, tv_nsec: 0 };
        epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), Some(&limit))
            .map_err(|error| error.to_string())?;
        if events.is_empty() {
            return Err(format!("no echo for {} s", STALL.as_secs()));
        }
        for event in &events {
            let client = &mut clients[event.data.u64() as usize];
            if let Some(took) = client.receive(&messages)? {
                latencies.push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
                client.send(&messages)?;
            }
        }
    }
    Ok(percentiles(latencies, start.elapsed()))
}

/// The one message, as it is sent and as it comes back.
struct Messages {
    masked: Vec<u8>,
    echo: Vec<u8>,
}

impl Messages {
    fn new(bytes: u16) -> Outcome<Self> {
        let length = u8::try_from(bytes).ok().filter(|&bytes| (1..=125).contains(&bytes));
        let length = length.ok_or("a message has 1 to 125 bytes")?;
        let payload: Vec<u8> = (0..length).map(|index| b'a' + index % 26).collect();
        // FIN and opcode 1: one text frame.
        let mut masked = vec![0x81, 0x80 | length];
        masked.extend(MASK);
        masked.extend(payload.iter().enumerate().map(|(index, byte)| byte ^ MASK[index % 4]));
        let mut echo = vec![0x81, length];
        echo.extend(payload);
        Ok(Self { masked, echo })
    }
}

impl Client {
    fn send(&mut self, messages: &Messages) -> Outcome<()> {
        self.sent = Instant::now();
        // The buffer of a socket with nothing in flight takes a short message whole.
        match self.stream.write(&messages.masked) {
            Ok(count) if count == messages.masked.len() => Ok(()),
            Ok(count) => Err(format!("only {count} bytes of a message were taken")),
            Err(error) => Err(error.to_string()),
        }
    }

    /// The time an echo took, once it is whole.
    fn receive(&mut self, messages: &Messages) -> Outcome<Option<Duration>> {
        let mut buffer = [0; 256];
        let room = messages.echo.len() - self.received;
        let count = match self.stream.read(&mut buffer[..=room]) {
            Ok(0) => return Err("the server closed a WebSocket".to_owned()),
            Ok(count) if count > room => return Err("more than the echo came".to_owned()),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        if buffer[..count] != messages.echo[self.received..self.received + count] {
            return Err("the echo differs from the message".to_owned());
        }
        self.received += count;
        if self.received < messages.echo.len() {
            return Ok(None);
        }
        self.received = 0;
        Ok(Some(self.sent.elapsed()))
    }
}

/// A WebSocket after its handshake, non-blocking.
pub(crate) fn open(address: SocketAddr, target: &str) -> Outcome<TcpStream> {
    let shake = || -> std::io::Result<(TcpStream, String)> {
        let mut stream = TcpStream::connect_timeout(&address, STALL)?;
        stream.set_read_timeout(Some(STALL))?;
        stream.set_nodelay(true)?;
        write!(
            stream,
            "GET {target} HTTP/1.1\r\nHost: loadtest\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )?;
        // Byte by byte, so that nothing behind the head is taken.
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && head.len() < 4096 {
            stream.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        stream.set_nonblocking(true)?;
        Ok((stream, String::from_utf8_lossy(&head).into_owned()))
    };
    match shake() {
        Ok((stream, head)) if head.starts_with("HTTP/1.1 101 ") => Ok(stream),
        Ok((_, head)) => Err(format!("the handshake was refused: {head}")),
        Err(error) => Err(format!("the handshake failed: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_short_frames() {
        let messages = Messages::new(125).expect("fits");
        assert_eq!((messages.masked.len(), messages.echo.len()), (131, 127));
        let unmasked: Vec<u8> =
            messages.masked[6..].iter().enumerate().map(|(i, byte)| byte ^ MASK[i % 4]).collect();
        assert_eq!(unmasked, messages.echo[2..]);
        assert!(Messages::new(126).is_err() && Messages::new(0).is_err());
    }
}
