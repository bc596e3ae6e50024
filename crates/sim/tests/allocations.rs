//! After warm-up a proxied request makes no heap allocation in the shard.
//!
//! Three times: without a kernel (the proxy alone), and over epoll and the ring with real sockets. Only the shard's thread
//! is counted, and without a kernel only its turns: clients and the worker allocate as they like.

#[path = "support/counting.rs"]
mod counting;
#[path = "support/rig.rs"]
mod rig;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use hostler_driver::fake::FakePeer;
use hostler_driver::{Driver, DriverConfig};
use hostler_protocol::control::Transport;
use hostler_protocol::worker::peer::{PeerBody, PeerReader, greeting, put};
use hostler_protocol::worker::{FromWorker, PROTOCOL_VERSION};
use hostler_proxy::clock::Clock;
use hostler_proxy::shard::ShardParts;
use hostler_proxy::{Settings, Shard, ShardCommand};
use rig::{Rig, address, setup};

#[global_allocator]
static ALLOCATOR: counting::Counting = counting::Counting;

const CLIENTS: usize = 64;
const WARM_UP: usize = 1_000;
const MEASURED: usize = 10_000;
/// With real sockets a list may still grow when the scheduler lets more pile up than it did while warming up.
const GROWTH_MAX: u64 = 4;
const REQUEST: &[u8] =
    b"GET / HTTP/1.1\r\nHost: localhost:3000\r\nUser-Agent: test\r\nAccept: */*\r\n\r\n";
const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nConnection: keep-alive\r\nContent-Length: 14\r\n\r\nHello, World!\n";

#[test]
fn a_proxied_request_allocates_nothing_after_warm_up() {
    counting::watch(true);
    drop(std::hint::black_box(Box::new(1)));
    counting::watch(false);
    assert_eq!(counting::allocations(), 1, "the counter counts");
    assert_eq!(without_a_kernel(), 0, "allocations of the proxy alone");
    let epoll = with_sockets(hostler_driver::epoll::EpollDriver::new);
    assert!(epoll <= GROWTH_MAX, "{epoll} allocations over epoll");
    match hostler_driver::probe::probe_uring() {
        Ok(_) => {
            let uring = with_sockets(hostler_driver::uring::UringDriver::new);
            assert!(uring <= GROWTH_MAX, "{uring} allocations over the ring");
        }
        Err(why) => eprintln!("SKIPPED: allocations over the ring: {why}"),
    }
}

fn without_a_kernel() -> u64 {
    let mut rig = Rig::new(&setup(), Transport::Frames);
    let clients: Vec<FakePeer> = (0..CLIENTS).map(|_| rig.client()).collect();
    let mut answers = Vec::new();
    let mut round = |rig: &mut Rig, watched: bool| {
        for client in &clients {
            assert_eq!(client.write(REQUEST), REQUEST.len());
        }
        let mut answered = 0;
        while answered < clients.len() {
            answered += rig.answer_all(ANSWER).len();
            counting::watch(watched);
            rig.turn();
            counting::watch(false);
        }
        for _ in 0..4 {
            rig.turn();
        }
        for client in &clients {
            answers.clear();
            client.read(&mut answers);
            assert!(
                answers.starts_with(b"HTTP/1.1 200 OK"),
                "{}",
                String::from_utf8_lossy(&answers)
            );
        }
    };
    for _ in 0..WARM_UP.div_ceil(CLIENTS) {
        round(&mut rig, false);
    }
    let before = counting::allocations();
    for _ in 0..MEASURED.div_ceil(CLIENTS) {
        round(&mut rig, true);
    }
    counting::allocations() - before
}

fn with_sockets<D: Driver + 'static>(make: fn(&DriverConfig) -> std::io::Result<D>) -> u64 {
    let clients_listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let to = clients_listener.local_addr().expect("bound");
    let folder = std::env::temp_dir().join(format!("hostler-allocations-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let channel_path = folder.join("shard.0.sock");
    // Left over from the backend before.
    let _ = std::fs::remove_file(&channel_path);
    let channel_listener = UnixListener::bind(&channel_path).expect("a path");
    clients_listener.set_nonblocking(true).expect("a listener");
    channel_listener.set_nonblocking(true).expect("a listener");
    let (commands, receiver) = sync_channel(4);
    let ready =
        ShardCommand::WorkerReady { address: address(Transport::Frames), gauge: Arc::default() };
    commands.send(ready).expect("room");
    let (stop, watched) = (AtomicBool::new(false), AtomicBool::new(false));
    let mut count = 0;
    std::thread::scope(|scope| {
        let (started, starts) = sync_channel(1);
        let (stop, watched) = (&stop, &watched);
        scope.spawn(move || {
            let settings = Settings::from_setup(&setup(), 0);
            let driver = make(&settings.driver_config()).expect("a driver");
            let waker = driver.waker();
            let parts = ShardParts {
                settings,
                client_listeners: vec![OwnedFd::from(clients_listener)],
                channel_listener: OwnedFd::from(channel_listener),
                commands: receiver,
                events: Box::new(|_| {}),
                seed: 1,
            };
            let clock = Clock::start();
            let mut shard = Shard::new(driver, parts, clock.now()).expect("listeners");
            waker.wake();
            started.send(()).expect("somebody waits");
            while !stop.load(Ordering::Relaxed) {
                counting::watch(watched.load(Ordering::Relaxed));
                shard.turn(Some(Duration::from_millis(20)), || clock.now()).expect("a turn");
                counting::watch(false);
            }
        });
        starts.recv().expect("the shard starts");
        let channel = UnixStream::connect(&channel_path).expect("the shard listens");
        scope.spawn(|| serve(channel));
        count = drive(to, watched);
        stop.store(true, Ordering::Relaxed);
    });
    let _ = std::fs::remove_dir_all(&folder);
    count
}

/// The worker: answers every request until the shard ends.
fn serve(mut channel: UnixStream) {
    channel.write_all(&greeting(PROTOCOL_VERSION, 1)).expect("the shard reads");
    let mut reader = PeerReader::default();
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let Ok(count @ 1..) = channel.read(&mut bytes) else { return };
        reader.push(&bytes[..count]);
        let mut out = Vec::new();
        while let Some(frame) = reader.next_frame().expect("well-formed frames") {
            if matches!(frame.body, PeerBody::Head(_)) {
                put(&mut out, FromWorker::End, frame.tag, ANSWER);
            }
        }
        if channel.write_all(&out).is_err() {
            return;
        }
    }
}

fn drive(to: std::net::SocketAddr, watched: &AtomicBool) -> u64 {
    let mut clients: Vec<TcpStream> =
        (0..CLIENTS).map(|_| TcpStream::connect(to).expect("accepted")).collect();
    let mut bytes = [0; 4096];
    let mut round = || {
        for client in &mut clients {
            client.write_all(REQUEST).expect("sent");
        }
        for client in &mut clients {
            let mut got = 0;
            while !bytes[..got].ends_with(b"World!\n") {
                let count = client.read(&mut bytes[got..]).expect("an answer");
                assert!(
                    count > 0 && bytes.starts_with(b"HTTP/1.1 200 OK"),
                    "{}",
                    String::from_utf8_lossy(&bytes[..got])
                );
                got += count;
            }
        }
    };
    for _ in 0..WARM_UP.div_ceil(CLIENTS) {
        round();
    }
    watched.store(true, Ordering::Relaxed);
    let before = counting::allocations();
    for _ in 0..MEASURED.div_ceil(CLIENTS) {
        round();
    }
    counting::allocations() - before
}
