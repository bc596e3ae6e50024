//! Slow clients: some read a large answer bit by bit, some send a large body byte by byte.
//!
//! Owns: one thread that paces them all, connecting anew where a client is done or was cut. Must never know: who
//! answers. Receive buffers are kept small, or the kernel would take a whole answer at once and nobody were slow.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::Outcome;
use crate::place::{Place, on_place};

const READ_STEP: Duration = Duration::from_millis(100);
const CONNECT_MAX: Duration = Duration::from_secs(5);
const RECEIVE_BUFFER_BYTES: usize = 4096;

/// What a slow client does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Manner {
    /// Reads an answer of so many bytes at this pace.
    Reads { bytes: u64, bytes_per_second: u64 },
    /// Sends a body of so many bytes, one at a time.
    Writes { bytes: u64, pause_ms: u64 },
}

/// Who should be slow.
#[derive(Clone, Copy)]
pub(crate) struct Order<'a> {
    pub(crate) address: SocketAddr,
    pub(crate) place: Place,
    pub(crate) clients: u32,
    pub(crate) target: &'a str,
    pub(crate) manner: Manner,
}

/// What they saw.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) clients: u32,
    /// Connections that ended before their client was done.
    pub(crate) cut: u32,
    /// Bytes read or sent.
    pub(crate) bytes: u64,
}

/// The running clients.
pub(crate) struct Slow {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Outcome<Seen>>,
}

impl Slow {
    /// Connects them and lets them go on until `end`.
    pub(crate) fn start(order: Order<'_>) -> Outcome<Self> {
        let head = head(order);
        let clients = (0..order.clients)
            .map(|_| Client::open(order.address, &head))
            .collect::<Outcome<_>>()?;
        let stop = Arc::new(AtomicBool::new(false));
        let crew = Crew {
            address: order.address,
            head,
            manner: order.manner,
            clients,
            stop: stop.clone(),
        };
        // A thread inherits the place of its maker.
        let thread = on_place(order.place, || std::thread::spawn(move || crew.work()))?;
        Ok(Self { stop, thread })
    }

    /// Stops them; an error if they moved nothing, for then they burdened nobody.
    pub(crate) fn end(self) -> Outcome<Seen> {
        self.stop.store(true, Ordering::Relaxed);
        let seen = self.thread.join().map_err(|_| "the slow clients failed")??;
        if seen.bytes == 0 { Err("the slow clients moved no byte".to_owned()) } else { Ok(seen) }
    }
}

fn head(order: Order<'_>) -> String {
    let target = order.target;
    match order.manner {
        Manner::Reads { .. } => format!("GET {target} HTTP/1.1\r\nHost: loadtest\r\n\r\n"),
        Manner::Writes { bytes, .. } => {
            format!("POST {target} HTTP/1.1\r\nHost: loadtest\r\nContent-Length: {bytes}\r\n\r\n")
        }
    }
}

struct Crew {
    address: SocketAddr,
    head: String,
    manner: Manner,
    clients: Vec<Client>,
    stop: Arc<AtomicBool>,
}

impl Crew {
    fn work(mut self) -> Outcome<Seen> {
        let clients = u32::try_from(self.clients.len()).unwrap_or(u32::MAX);
        let mut seen = Seen { clients, ..Seen::default() };
        let (pause, step, whole) = match self.manner {
            Manner::Reads { bytes, bytes_per_second } => {
                (READ_STEP, (bytes_per_second / 10).max(1), bytes)
            }
            Manner::Writes { bytes, pause_ms } => (Duration::from_millis(pause_ms), 1, bytes),
        };
        let mut due = Instant::now();
        while !self.stop.load(Ordering::Relaxed) {
            for client in &mut self.clients {
                let moved = match self.manner {
                    Manner::Reads { .. } => client.read(step),
                    Manner::Writes { .. } => client.write_byte(),
                };
                seen.bytes += moved.unwrap_or(0);
                if moved.is_err() {
                    seen.cut += 1;
                }
                if moved.is_err() || client.moved >= whole {
                    *client = Client::open(self.address, &self.head)?;
                }
            }
            due += pause;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        Ok(seen)
    }
}

struct Client {
    stream: TcpStream,
    moved: u64,
}

impl Client {
    /// Connects and sends the head.
    fn open(address: SocketAddr, head: &str) -> Outcome<Self> {
        let open = || -> std::io::Result<TcpStream> {
            let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
            socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
            socket.set_tcp_nodelay(true)?;
            socket.connect_timeout(&address.into(), CONNECT_MAX)?;
            let mut stream = TcpStream::from(socket);
            stream.write_all(head.as_bytes())?;
            stream.set_nonblocking(true)?;
            Ok(stream)
        };
        let stream = open().map_err(|error| format!("a slow client: {error}"))?;
        Ok(Self { stream, moved: 0 })
    }

    /// Reads up to so many bytes; an error if the server has closed.
    fn read(&mut self, step: u64) -> Result<u64, ()> {
        let mut buffer = [0; 8192];
        let room = usize::try_from(step).unwrap_or(usize::MAX).min(buffer.len());
        match self.stream.read(&mut buffer[..room]) {
            Ok(0) => Err(()),
            Ok(count) => {
                self.moved += count as u64;
                Ok(count as u64)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            Err(_) => Err(()),
        }
    }

    /// Sends one byte if there is room; an error if the server has closed.
    fn write_byte(&mut self) -> Result<u64, ()> {
        match self.stream.write(b"x") {
            Ok(count) => {
                self.moved += count as u64;
                Ok(count as u64)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            Err(_) => Err(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::place::{Cores, Layout};

    fn order(listener: &TcpListener, manner: Manner) -> Order<'static> {
        let address = listener.local_addr().expect("bound");
        let cores = Cores { front: 0, worker: 0 };
        let place = Layout::new(cores, 1).expect("one worker").load();
        Order { address, place, clients: 1, target: "/", manner }
    }

    fn read_until(stream: &mut TcpStream, end: &[u8]) -> Vec<u8> {
        let mut text = Vec::new();
        while !text.ends_with(end) {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("more comes");
            text.extend(byte);
        }
        text
    }

    #[test]
    fn a_reader_takes_no_more_than_its_pace_and_comes_back_when_it_is_cut() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let manner = Manner::Reads { bytes: 1 << 20, bytes_per_second: 10_000 };
        let slow = Slow::start(order(&listener, manner)).expect("connected");
        let (mut first, _) = listener.accept().expect("the client");
        // With the request unread, closing would be a reset that takes the answer with it.
        read_until(&mut first, b"\r\n\r\n");
        first.write_all(&[b'x'; 2500]).expect("there is room");
        drop(first);
        let (second, _) = listener.accept().expect("it came back");
        drop(second);
        let seen = slow.end().expect("it read");
        assert!(seen.cut >= 1 && seen.bytes > 0, "{seen:?}");
    }

    #[test]
    fn a_writer_sends_its_body_byte_by_byte() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let manner = Manner::Writes { bytes: 1 << 20, pause_ms: 1 };
        let slow = Slow::start(order(&listener, manner)).expect("connected");
        let (mut stream, _) = listener.accept().expect("the client");
        let text = read_until(&mut stream, b"\r\n\r\nxxx");
        assert!(text.starts_with(b"POST / HTTP/1.1\r\n"));
        assert!(slow.end().expect("it wrote").bytes >= 3);
    }
}
