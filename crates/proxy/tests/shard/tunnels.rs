//! Tunnels: their beginning, their windows, their ends.

use hostler_protocol::worker::peer::{PeerBody, put_tunnel_window};
use hostler_protocol::worker::{FromWorker, StreamTag, WINDOW_BYTES};
use hostler_proxy::ShardCommand;

use crate::world::{Client, Framed, GET, World};

const UPGRADE: &str = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n";
const AGREED: &str = "HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n";

/// What came since the last time, bytes of tunnels joined.
fn seen(worker: &mut Framed) -> (String, Vec<PeerBody>) {
    let (mut text, mut others) = (String::new(), Vec::new());
    for frame in worker.frames() {
        match frame.body {
            PeerBody::TunnelData(bytes) => text += &String::from_utf8(bytes).expect("ASCII"),
            other => others.push(other),
        }
    }
    (text, others)
}

/// The tag of the tunnel that has just begun with the request.
fn begun(worker: &mut Framed) -> StreamTag {
    let mut frames = worker.frames().into_iter();
    let first = frames.next().expect("a frame");
    assert!(matches!(first.body, PeerBody::Tunnel { listener: 0, .. }), "{first:?}");
    let mut text = Vec::new();
    for frame in frames {
        assert_eq!(frame.tag, first.tag);
        let PeerBody::TunnelData(bytes) = frame.body else { panic!("{frame:?}") };
        text.extend(bytes);
    }
    let text = String::from_utf8(text).expect("ASCII");
    assert!(
        text.starts_with("GET /chat HTTP/1.1\r\n") && text.contains("\r\nUpgrade: x\r\n"),
        "{text}"
    );
    first.tag
}

/// A client whose tunnel is open.
fn open(world: &mut World, worker: &mut Framed) -> (Client, StreamTag) {
    let client = world.client_with(UPGRADE);
    let tag = begun(worker);
    worker.put(FromWorker::TunnelData, tag, AGREED);
    world.settle();
    assert!(client.read().starts_with("HTTP/1.1 101 "));
    (client, tag)
}

fn grant(worker: &Framed, tag: StreamTag, bytes: u32) {
    let mut out = Vec::new();
    put_tunnel_window(&mut out, tag, bytes);
    worker.peer.write(&out);
}

#[test]
fn bytes_pass_and_fin_of_either_side_ends_it_in_order() {
    let mut world = World::new(|_| {});
    let mut worker = world.framed(1);
    let (client, tag) = open(&mut world, &mut worker);
    client.write("ping");
    world.settle();
    assert_eq!(seen(&mut worker), ("ping".into(), vec![]));
    worker.put(FromWorker::TunnelData, tag, "pong");
    world.settle();
    assert_eq!(client.read(), "pong");
    client.peer.finish();
    world.settle();
    assert_eq!(seen(&mut worker), (String::new(), vec![PeerBody::TunnelEnd]));
    worker.put(FromWorker::TunnelData, tag, "bye");
    worker.put(FromWorker::TunnelEnd, tag, "");
    world.settle();
    assert_eq!(client.read(), "bye");
    assert!(client.peer.is_closed());
    assert_eq!(seen(&mut worker), (String::new(), vec![PeerBody::TunnelClose(String::new())]));
    world.assert_no_leak(1);
}

#[test]
fn an_app_that_does_not_read_holds_its_client_back() {
    let mut world = World::new(|_| {});
    let mut worker = world.framed(1);
    let (client, tag) = open(&mut world, &mut worker);
    let piece = "x".repeat(10_000);
    let (mut sent, mut came) = (0, 0);
    while client.peer.write(piece.as_bytes()) > 0 {
        sent += piece.len();
        world.settle();
        // The worker has the bytes, and the app has not looked at them.
        came += seen(&mut worker).0.len();
        assert!(sent < 2_000_000, "nobody stops the client");
    }
    let window = WINDOW_BYTES as usize;
    assert!(came > window / 2 && came < window, "{came}");
    grant(&worker, tag, came as u32);
    world.settle();
    assert!(!seen(&mut worker).0.is_empty(), "the client is read again");
}

#[test]
fn a_client_that_does_not_read_gives_no_credit() {
    let mut world = World::new(|_| {});
    let mut worker = world.framed(1);
    let (client, tag) = open(&mut world, &mut worker);
    client.peer.limit_sends(1_000);
    let piece = "y".repeat(WINDOW_BYTES as usize / 8);
    for _ in 0..7 {
        worker.put(FromWorker::TunnelData, tag, &piece);
        world.settle();
    }
    assert_eq!(seen(&mut worker), (String::new(), vec![]));
    client.peer.limit_sends(1 << 20);
    world.settle();
    assert_eq!(client.read().len(), 7 * piece.len());
    world.settle();
    let (_, credit) = seen(&mut worker);
    let owed = 7 * WINDOW_BYTES / 8 + AGREED.len() as u32;
    assert_eq!(credit, [PeerBody::TunnelWindow(owed)]);
}

#[test]
fn an_app_that_exceeds_its_credit_loses_its_channel() {
    let mut world = World::new(|_| {});
    let mut worker = world.framed(1);
    let (client, tag) = open(&mut world, &mut worker);
    client.peer.limit_sends(1_000);
    for _ in 0..4 {
        worker.put(FromWorker::TunnelData, tag, &"y".repeat(WINDOW_BYTES as usize / 4));
        world.settle();
    }
    assert!(worker.peer.is_closed());
    assert!(format!("{:?}", world.bad_news()).contains("credit"), "{:?}", world.bad_news());
}

#[test]
fn what_is_late_reaches_nobody() {
    let mut world = World::new(|_| {});
    let mut worker = world.framed(1);
    let (client, tag) = open(&mut world, &mut worker);
    let old = StreamTag { generation: tag.generation.wrapping_sub(1), ..tag };
    worker.put(FromWorker::TunnelData, old, "late");
    worker.put(FromWorker::TunnelEnd, old, "");
    worker.put(FromWorker::Data, tag, "of no request");
    worker.put(FromWorker::Reset, tag, "");
    world.settle();
    assert_eq!(client.read(), "");
    assert!(!client.peer.is_closed());
    client.peer.reset();
    world.settle();
    let closed = PeerBody::TunnelClose("ECONNRESET".into());
    assert_eq!(seen(&mut worker), (String::new(), vec![closed]));
    worker.put(FromWorker::TunnelData, tag, "too late");
    world.assert_no_leak(1);
}

#[test]
fn a_refused_upgrade_leaves_the_connection_to_the_next_request() {
    let mut world = World::new(|_| {});
    let mut worker = world.framed(1);
    let client = world.client_with(UPGRADE);
    let tag = begun(&mut worker);
    worker.put(FromWorker::TunnelData, tag, "HTTP/1.1 426 No\r\nContent-Length: 2\r\n\r\nno");
    world.settle();
    assert!(client.read().ends_with("\r\n\r\nno"));
    assert_eq!(seen(&mut worker), (String::new(), vec![PeerBody::TunnelClose(String::new())]));
    client.write(GET);
    world.settle();
    let (next, head) = worker.head();
    assert!(head.client.is_some(), "a tunnel is none of the stream's requests");
    assert_ne!(next.generation, tag.generation);
    worker.answer(next, "yes");
    world.settle();
    assert!(client.read().ends_with("yes"));
}

#[test]
fn a_draining_worker_is_drained_when_its_tunnels_have_ended() {
    let mut world = World::new(|_| {});
    let mut worker = world.framed(1);
    let (client, tag) = open(&mut world, &mut worker);
    world.command(ShardCommand::WorkerDrain { worker: 1, drain: 1 });
    assert!(world.bad_news().is_empty(), "{:?}", world.bad_news());
    client.write("still there");
    world.settle();
    let (text, frames) = seen(&mut worker);
    assert_eq!((text.as_str(), frames), ("still there", vec![]));
    worker.put(FromWorker::TunnelEnd, tag, "");
    world.settle();
    assert!(client.peer.is_closed());
    assert!(format!("{:?}", world.bad_news()).contains("WorkerDrained"));
}

#[test]
fn the_loss_of_the_worker_closes_the_client() {
    let mut world = World::new(|_| {});
    let mut worker = world.framed(1);
    let (client, tag) = open(&mut world, &mut worker);
    worker.put(FromWorker::TunnelData, tag, "last words");
    worker.peer.close();
    world.settle();
    assert_eq!(client.read(), "last words");
    assert!(client.peer.is_closed());
    world.assert_no_leak(0);
}
