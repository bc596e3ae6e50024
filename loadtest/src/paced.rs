//! The load at a fixed rate: requests come when their time comes, whatever the server does.
//!
//! Owns: the plan of arrivals, one epoll loop in the place of the load, what an answer's end is. Must never know: who
//! answers.
//!
//! Arrivals are independent of each other, as those of many users are: the gaps between them are exponential, from a
//! fixed seed, so that every peer gets the same ones. A request that finds no free connection waits, and latency counts
//! from its arrival: a server that stalls cannot slow its own load down.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::epoll;
use rustix::fd::OwnedFd;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use crate::Outcome;
use crate::generator::{Load, Order, Request, percentiles};
use crate::http::answer_end;
use crate::place::on_place;

/// No answer for so long means that it was lost.
const STALL: Duration = Duration::from_secs(5);

/// An answer beyond that is not what this load is for.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// The event of the timer; connections count from zero.
const TIMER: u64 = u64::MAX;

/// So many requests a second, and what each waited since its time came.
pub(crate) fn run(order: Order<'_>, per_second: f64) -> Outcome<Load> {
    let request = match Request::of(order.address, order.load) {
        Ok(request) if request.is_one_get() => request,
        _ => return Err("only a GET on connections that stay can have a fixed rate".to_owned()),
    };
    let head = format!("GET {} HTTP/1.1\r\nHost: {}\r\n\r\n", request.target, order.address);
    let arrivals = Arrivals::new(per_second);
    let run = || Paced::open(order, head.into_bytes(), arrivals)?.run(order.duration);
    on_place(order.place, run)?
}

/// When requests come, from the start on.
struct Arrivals {
    next: Duration,
    gap_mean: Duration,
    random: u64,
}

impl Arrivals {
    fn new(per_second: f64) -> Self {
        let gap_mean = Duration::from_secs_f64(1.0 / per_second.max(1.0));
        let mut arrivals = Self { next: Duration::ZERO, gap_mean, random: 0x9E37_79B9_7F4A_7C15 };
        arrivals.advance();
        arrivals
    }

    /// Goes to the next one.
    fn advance(&mut self) {
        // Xorshift: good enough for gaps, and the same on each machine.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        // From (0, 1], whose logarithm is finite.
        let unit = ((self.random >> 11) + 1) as f64 / (1_u64 << 53) as f64;
        self.next += self.gap_mean.mul_f64(-unit.ln());
    }
}

struct Client {
    stream: TcpStream,
    /// When the request that it waits for an answer to came.
    arrived: Duration,
    answer: Vec<u8>,
}

struct Paced {
    poll: OwnedFd,
    timer: OwnedFd,
    clients: Vec<Client>,
    /// Connections without a request.
    free: Vec<usize>,
    head: Vec<u8>,
    arrivals: Arrivals,
    latencies: Vec<u32>,
}

impl Paced {
    fn open(order: Order<'_>, head: Vec<u8>, arrivals: Arrivals) -> Outcome<Self> {
        let text = |error: rustix::io::Errno| error.to_string();
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(text)?;
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags).map_err(text)?;
        // Edge: it is armed anew before each wait and never read.
        let of_timer = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&poll, &timer, epoll::EventData::new_u64(TIMER), of_timer).map_err(text)?;
        let mut clients = Vec::new();
        for index in 0..order.connections {
            let stream = connect(order.address).map_err(|error| error.to_string())?;
            let data = epoll::EventData::new_u64(index.into());
            epoll::add(&poll, &stream, data, epoll::EventFlags::IN).map_err(text)?;
            clients.push(Client { stream, arrived: Duration::ZERO, answer: Vec::new() });
        }
        let (free, latencies) = ((0..clients.len()).collect(), Vec::with_capacity(1 << 18));
        Ok(Self { poll, timer, clients, free, head, arrivals, latencies })
    }

    fn run(mut self, duration: Duration) -> Outcome<Load> {
        let start = Instant::now();
        let mut heard = start;
        let mut events = Vec::with_capacity(256);
        loop {
            self.send_due(start, duration)?;
            if self.free.len() == self.clients.len() && self.arrivals.next >= duration {
                return Ok(percentiles(self.latencies, start.elapsed()));
            }
            self.arm(start)?;
            events.clear();
            let limit = rustix::event::Timespec { tv_sec: STALL.as_secs() as i64, tv_nsec: 0 };
            epoll::wait(&self.poll, rustix::buffer::spare_capacity(&mut events), Some(&limit))
                .map_err(|error| error.to_string())?;
            for event in events.iter().filter(|event| event.data.u64() != TIMER) {
                heard = Instant::now();
                self.receive(event.data.u64() as usize, start)?;
            }
            if self.free.len() < self.clients.len() && heard.elapsed() > STALL {
                return Err(format!("no answer for {} s", STALL.as_secs()));
            }
        }
    }

    /// Sends the requests whose time has come, as far as connections are free.
    fn send_due(&mut self, start: Instant, duration: Duration) -> Outcome<()> {
        while self.arrivals.next < duration && self.arrivals.next <= start.elapsed() {
            let Some(index) = self.free.pop() else {
                return Ok(());
            };
            let client = &mut self.clients[index];
            client.arrived = self.arrivals.next;
            self.arrivals.advance();
            // The buffer of a socket with nothing in flight takes a short request whole.
            match client.stream.write(&self.head) {
                Ok(count) if count == self.head.len() => {}
                Ok(count) => return Err(format!("only {count} bytes of a request were taken")),
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(())
    }

    /// Sets the timer to the next arrival that this client can serve; an answer wakes it in any case.
    fn arm(&self, start: Instant) -> Outcome<()> {
        if self.free.is_empty() {
            return Ok(());
        }
        // Zero would disarm it.
        let wait = self.arrivals.next.saturating_sub(start.elapsed()).max(Duration::from_nanos(1));
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let wait = Timespec::try_from(wait).map_err(|error| error.to_string())?;
        let once = Itimerspec { it_interval: zero, it_value: wait };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once)
            .map_err(|error| error.to_string())?;
        Ok(())
    }

    fn receive(&mut self, index: usize, start: Instant) -> Outcome<()> {
        let client = &mut self.clients[index];
        let mut buffer = [0; 4096];
        match client.stream.read(&mut buffer) {
            Ok(0) => return Err("the server closed a connection".to_owned()),
            Ok(count) => client.answer.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.to_string()),
        }
        if client.answer.len() > ANSWER_BYTES_MAX {
            return Err(format!("an answer of more than {ANSWER_BYTES_MAX} bytes"));
        }
        match answer_end(&client.answer)? {
            None => return Ok(()),
            Some(end) if end == client.answer.len() => {}
            Some(_) => return Err("more came than one answer".to_owned()),
        }
        client.answer.clear();
        let took = start.elapsed().saturating_sub(client.arrived);
        self.latencies.push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
        self.free.push(index);
        Ok(())
    }
}

fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, STALL)?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_have_the_rate_and_are_the_same_each_time() {
        let times = |count: usize| -> Vec<Duration> {
            let mut arrivals = Arrivals::new(1000.0);
            let next = |_| {
                arrivals.advance();
                arrivals.next
            };
            (0..count).map(next).collect()
        };
        let times_once = times(100_000);
        assert_eq!(times_once, times(100_000));
        let whole = times_once.last().expect("not empty").as_secs_f64();
        assert!((98.0..102.0).contains(&whole), "{whole}");
        // Of exponential gaps 63 % are shorter than the mean.
        let gaps = times_once.windows(2).filter(|two| two[1] - two[0] < Duration::from_millis(1));
        let short = gaps.count() as f64 / times_once.len() as f64;
        assert!((0.62..0.64).contains(&short), "{short}");
    }
}
