//! The faults that a script can inject, and that the fake keeps the contract under them.

use std::io::ErrorKind;
use std::path::Path;

use super::*;
use crate::{Buffer, PoolSizes};

const LISTENER: Key = Key(1);

fn fake() -> (FakeDriver, FakeNet) {
    let config = DriverConfig { sockets_max: 8, pools: PoolSizes::default() };
    FakeDriver::new(&config).expect("fake")
}

fn turn(driver: &mut FakeDriver) -> Vec<Completion> {
    let mut out = Vec::new();
    driver.turn(None, &mut out).expect("turn");
    out
}

fn pair(driver: &mut FakeDriver, net: &FakeNet) -> (SocketId, FakePeer) {
    let (fd, peer) = net.pair().expect("pair");
    (driver.adopt(fd, Key(2)).expect("room"), peer)
}

fn listen(driver: &mut FakeDriver, net: &FakeNet) -> ListenerId {
    driver.listen(net.listener_fd().expect("descriptor"), LISTENER).expect("listen")
}

fn bytes(completion: &Completion) -> &[u8] {
    match completion {
        Completion::Received { buffer, .. } => buffer,
        other => panic!("expected bytes: {other:?}"),
    }
}

#[test]
fn every_write_is_a_delivery() {
    let (mut driver, net) = fake();
    let (socket, peer) = pair(&mut driver, &net);
    for cut in [&b"GE"[..], b"T / HT", b"TP/1.1"] {
        assert_eq!(peer.write(cut), cut.len());
    }
    driver.receive(socket, ReceiveMode::Stream);
    assert_eq!(bytes(&turn(&mut driver)[0]), b"GE");
    assert_eq!(bytes(&turn(&mut driver)[0]), b"T / HT");
    assert_eq!(bytes(&turn(&mut driver)[0]), b"TP/1.1");
    assert!(turn(&mut driver).is_empty());
}

#[test]
fn a_write_longer_than_a_buffer_is_cut() {
    let (mut driver, net) = fake();
    let (socket, peer) = pair(&mut driver, &net);
    peer.write(&[7; 3000]);
    driver.receive(socket, ReceiveMode::Stream);
    assert_eq!(bytes(&turn(&mut driver)[0]).len(), 2048);
    assert_eq!(bytes(&turn(&mut driver)[0]).len(), 952);
}

#[test]
fn short_sends_and_stalls() {
    let (mut driver, net) = fake();
    let (socket, peer) = pair(&mut driver, &net);
    peer.short_sends(3);
    driver.send(socket, Buffer::from_vec(b"12345678".to_vec()).into());
    assert!(matches!(turn(&mut driver)[..], [Completion::SendProgress { .. }]));
    peer.stall(true);
    assert!(turn(&mut driver).is_empty());
    peer.stall(false);
    assert!(matches!(turn(&mut driver)[..], [Completion::SendProgress { .. }]));
    assert!(matches!(turn(&mut driver)[..], [Completion::Sent { .. }]));
    let mut read = Vec::new();
    assert_eq!(peer.read_at_most(5, &mut read), FakeRead::Bytes);
    assert_eq!(read, b"12345");
    assert_eq!(peer.read(&mut read), FakeRead::Bytes);
    assert_eq!(read, b"12345678");
    assert_eq!(peer.read(&mut read), FakeRead::Nothing);
}

#[test]
fn limited_room_holds_back_both_sides() {
    let (mut driver, net) = fake();
    let (socket, peer) = pair(&mut driver, &net);
    peer.limit_sends(4);
    peer.limit_writes(2);
    assert_eq!(peer.write(b"abc"), 2);
    assert_eq!(peer.write(b"c"), 0);
    driver.send(socket, Buffer::from_vec(b"123456".to_vec()).into());
    assert!(matches!(turn(&mut driver)[..], [Completion::SendProgress { .. }]));
    assert!(turn(&mut driver).is_empty());
    let mut read = Vec::new();
    peer.read(&mut read);
    assert!(matches!(turn(&mut driver)[..], [Completion::Sent { .. }]));
    peer.read(&mut read);
    assert_eq!(read, b"123456");
}

#[test]
fn resets_and_vanished_peers() {
    let (mut driver, net) = fake();
    let (socket, peer) = pair(&mut driver, &net);
    driver.receive(socket, ReceiveMode::Stream);
    driver.send(socket, Buffer::from_vec(b"x".to_vec()).into());
    peer.reset();
    let errors: Vec<_> = turn(&mut driver)
        .into_iter()
        .map(|completion| match completion {
            Completion::Failed { error, .. } => error.kind(),
            other => panic!("expected failures: {other:?}"),
        })
        .collect();
    assert_eq!(errors, [ErrorKind::ConnectionReset, ErrorKind::ConnectionReset]);
    assert!(turn(&mut driver).is_empty(), "reported once");
    driver.close(socket);
    assert!(peer.is_closed());
    assert_eq!(driver.usage(), Usage::default());
}

#[test]
fn accept_faults() {
    let (mut driver, net) = fake();
    let listener = listen(&mut driver, &net);
    let _client = net.client(LISTENER).expect("listening");
    net.fail_accept(LISTENER, libc::EMFILE);
    match &turn(&mut driver)[..] {
        [Completion::AcceptFailed { id, error, .. }] => {
            assert_eq!((*id, error.raw_os_error()), (listener, Some(libc::EMFILE)));
        }
        other => panic!("expected a failure: {other:?}"),
    }
    assert!(turn(&mut driver).is_empty(), "accepting is off");
    driver.accept(listener, true);
    assert!(matches!(turn(&mut driver)[..], [Completion::Accepted { .. }]));
    net.fail_accept(LISTENER, libc::ECONNABORTED);
    let aborted = net.client(LISTENER).expect("listening");
    let _other = net.client(LISTENER).expect("listening");
    assert!(matches!(turn(&mut driver)[..], [Completion::Accepted { .. }]));
    assert!(aborted.is_closed());
    driver.unlisten(listener);
    assert!(net.client(LISTENER).is_none());
}

#[test]
fn a_dropped_connection_ends_for_its_client() {
    let (mut driver, net) = fake();
    listen(&mut driver, &net);
    let client = net.client(LISTENER).expect("listening");
    let mut accepted = turn(&mut driver);
    assert!(matches!(accepted.pop(), Some(Completion::Accepted { .. })));
    turn(&mut driver);
    assert_eq!(client.read(&mut Vec::new()), FakeRead::End);
}

#[test]
fn connects_succeed_and_are_refused() {
    let (mut driver, net) = fake();
    let path = Path::new("/run/worker");
    driver.connect(path.into(), Key(3)).expect("socket");
    assert!(matches!(turn(&mut driver)[..], [Completion::Failed { .. }]));
    let server = net.serve(path);
    let socket = driver.connect(path.into(), Key(4)).expect("socket");
    assert!(matches!(turn(&mut driver)[..], [Completion::Connected { key: Key(4), .. }]));
    let worker = server.accept().expect("connected");
    driver.send(socket, Buffer::from_vec(b"hello".to_vec()).into());
    turn(&mut driver);
    let mut read = Vec::new();
    worker.read(&mut read);
    assert_eq!(read, b"hello");
    server.refuse(Some(libc::EAGAIN));
    driver.connect(path.into(), Key(5)).expect("socket");
    match &turn(&mut driver)[..] {
        [Completion::Failed { error, .. }] => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        other => panic!("expected a refusal: {other:?}"),
    }
    server.stop();
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], 80));
    driver.connect(address.into(), Key(6)).expect("socket");
    match &turn(&mut driver)[..] {
        [Completion::Failed { error, .. }] => {
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused)
        }
        other => panic!("expected a refusal: {other:?}"),
    }
    let server = net.serve_tcp(address);
    driver.connect(address.into(), Key(7)).expect("socket");
    assert!(matches!(turn(&mut driver)[..], [Completion::Connected { key: Key(7), .. }]));
    assert!(server.accept().is_some());
}

#[test]
fn starvation_is_counted_once_and_ends() {
    let (mut driver, net) = fake();
    let (socket, peer) = pair(&mut driver, &net);
    net.starve(PoolClass::Head, true);
    peer.write(b"waits");
    driver.receive(socket, ReceiveMode::Stream);
    assert!(turn(&mut driver).is_empty());
    assert!(turn(&mut driver).is_empty());
    assert_eq!(driver.usage().starved, 1);
    net.starve(PoolClass::Head, false);
    assert_eq!(bytes(&turn(&mut driver)[0]), b"waits");
}

#[test]
fn late_deliveries_are_like_those_of_the_ring() {
    let (mut driver, net) = fake();
    let (socket, peer) = pair(&mut driver, &net);
    net.deliver_late(true);
    driver.receive(socket, ReceiveMode::Stream);
    peer.write(b"under way");
    driver.receive(socket, ReceiveMode::Paused);
    assert_eq!(bytes(&turn(&mut driver)[0]), b"under way");
    peer.write(b"held back");
    assert!(turn(&mut driver).is_empty());
    net.deliver_late(false);
    driver.receive(socket, ReceiveMode::Stream);
    driver.receive(socket, ReceiveMode::Paused);
    assert!(turn(&mut driver).is_empty());
}
