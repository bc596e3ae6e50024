//! Upgraded connections of a worker that is to end: when each of them ends, and how.

use hostler_driver::fake::{FakePeer, FakeRead};
use hostler_protocol::websocket::SERVICE_RESTART;
use hostler_protocol::worker::peer::{PeerBody, put};
use hostler_protocol::worker::{FromWorker, StreamTag, WINDOW_BYTES};
use hostler_proxy::ShardCommand;

use crate::reload::{drain, drained, resume};
use crate::world::{Client, Framed, World, read};

const UPGRADE: &str =
    "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
const AGREED: &str = "HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
const HELLO: &[u8] = b"\x81\x05hello";

fn close_upgraded(world: &mut World, worker: u32, within_ms: u32) {
    world.command(ShardCommand::CloseUpgraded { worker, within_ms });
}

fn bytes_of(peer: &FakePeer) -> Vec<u8> {
    let mut bytes = Vec::new();
    while peer.read(&mut bytes) == FakeRead::Bytes {}
    bytes
}

/// A worker of either transport, with WebSockets.
enum Worker {
    Framed(Framed),
    Plain(hostler_driver::fake::FakeServer),
}

/// The worker's end of a WebSocket.
enum End {
    Tunnel(StreamTag),
    Plain(FakePeer),
}

impl Worker {
    fn both(mut test: impl FnMut(&mut World, &mut Self)) {
        let mut world = World::new(|setup| setup.conns_max = 32);
        let mut worker = Self::Framed(world.framed(1));
        test(&mut world, &mut worker);
        let mut world = World::new(|setup| setup.conns_max = 32);
        let mut worker = Self::Plain(world.plain(1));
        test(&mut world, &mut worker);
    }

    /// The requests that ask for WebSockets, agreed to.
    fn agree(&mut self, world: &mut World) -> Vec<End> {
        let ends: Vec<End> = match self {
            Self::Framed(worker) => {
                let frames = worker.frames().into_iter();
                let begun = frames.filter(|frame| matches!(frame.body, PeerBody::Tunnel { .. }));
                begun.map(|frame| End::Tunnel(frame.tag)).collect()
            }
            Self::Plain(server) => std::iter::from_fn(|| server.accept()).map(End::Plain).collect(),
        };
        ends.iter().for_each(|end| self.write(end, AGREED.as_bytes()));
        world.settle();
        ends
    }

    fn open(&mut self, world: &mut World) -> (Client, End) {
        let client = world.client_with(UPGRADE);
        let end = self.agree(world).pop().expect("asked for");
        assert!(client.read().starts_with("HTTP/1.1 101 "));
        (client, end)
    }

    fn write(&self, end: &End, bytes: &[u8]) {
        match (self, end) {
            (Self::Framed(worker), End::Tunnel(tag)) => {
                let mut frame = Vec::new();
                put(&mut frame, FromWorker::TunnelData, *tag, bytes);
                assert_eq!(worker.peer.write(&frame), frame.len());
            }
            (_, End::Plain(peer)) => assert_eq!(peer.write(bytes), bytes.len()),
            _ => unreachable!("a tunnel is in a channel"),
        }
    }

    fn finish(&self, end: &End) {
        match (self, end) {
            (Self::Framed(worker), End::Tunnel(tag)) => {
                worker.put(FromWorker::TunnelEnd, *tag, "");
            }
            (_, End::Plain(peer)) => peer.finish(),
            _ => unreachable!("a tunnel is in a channel"),
        }
    }
}

#[test]
fn websockets_of_a_worker_are_closed_one_after_the_other() {
    Worker::both(|world, worker| {
        let sockets: Vec<_> = (0..20).map(|_| worker.open(world)).collect();
        drain(world, 1, 1);
        close_upgraded(world, 1, 10_000);
        let mut closed = 0;
        for second in 0..10 {
            for _ in 0..10 {
                world.later(100);
                for (client, _) in &sockets {
                    let bytes = bytes_of(&client.peer);
                    if bytes == SERVICE_RESTART {
                        client.peer.finish();
                        closed += 1;
                    } else {
                        assert!(bytes.is_empty());
                    }
                }
            }
            // Two of twenty have their moments in each second, some a tick of the timers late.
            assert!((2 * second..=2 * second + 4).contains(&closed), "{closed} in {second} s");
        }
        world.later(200);
        assert_eq!(drained(world), [0; 0], "the app has not ended");
        for (_, end) in &sockets {
            worker.finish(end);
        }
        world.later(1_000);
        assert_eq!(drained(world), [1]);
        assert!(sockets.iter().all(|(client, _)| client.peer.is_closed()));
        assert_eq!(world.shard.status().conns, 0);
    });
}

#[test]
fn what_the_app_says_behind_the_close_frame_is_dropped() {
    Worker::both(|world, worker| {
        let (client, end) = worker.open(world);
        drain(world, 1, 1);
        worker.write(&end, &HELLO[..3]);
        world.settle();
        close_upgraded(world, 1, 1_000);
        world.later(1_000 - 100);
        worker.write(&end, &[&HELLO[3..], HELLO].concat());
        world.settle();
        worker.write(&end, HELLO);
        world.settle();
        assert_eq!(bytes_of(&client.peer), [HELLO, SERVICE_RESTART].concat());
        client.write("close");
        world.settle();
        match (&mut *worker, &end) {
            (Worker::Framed(worker), _) => {
                let sent: Vec<u8> = worker
                    .frames()
                    .into_iter()
                    .flat_map(|frame| match frame.body {
                        PeerBody::TunnelData(bytes) => bytes,
                        _ => Vec::new(),
                    })
                    .collect();
                assert!(sent.ends_with(b"close"));
            }
            (_, End::Plain(peer)) => assert!(read(peer).ends_with("close")),
            _ => unreachable!("a tunnel is in a channel"),
        }
        worker.finish(&end);
        world.settle();
        assert_eq!(drained(world), [1]);
        client.peer.close();
        world.settle();
        assert_eq!(world.shard.status().buffers_out, 0);
    });
}

#[test]
fn an_app_that_does_not_stop_talking_keeps_its_credit_and_loses_the_client() {
    let mut world = World::new(|_| {});
    let mut worker = Worker::Framed(world.framed(1));
    let (client, end) = worker.open(&mut world);
    drain(&mut world, 1, 1);
    close_upgraded(&mut world, 1, 0);
    world.later(100);
    assert_eq!(bytes_of(&client.peer), SERVICE_RESTART);
    for _ in 0..3 {
        worker.write(&end, &vec![0; WINDOW_BYTES as usize / 2]);
        world.settle();
    }
    let Worker::Framed(framed) = &mut worker else { unreachable!("it is") };
    let credit = framed.frames().into_iter().filter_map(|frame| match frame.body {
        PeerBody::TunnelWindow(bytes) => Some(bytes),
        _ => None,
    });
    assert!(credit.sum::<u32>() >= WINDOW_BYTES, "dropped bytes are read bytes");
    world.later(1_000);
    assert_eq!(drained(&world), [1]);
    client.peer.close();
    world.assert_no_leak(1);
}

#[test]
fn a_websocket_that_is_agreed_to_meanwhile_ends_in_time_too() {
    Worker::both(|world, worker| {
        let client = world.client_with(UPGRADE);
        drain(world, 1, 1);
        close_upgraded(world, 1, 2_000);
        // Said again without more ado.
        drain(world, 1, 2);
        world.later(500);
        let end = worker.agree(world).pop().expect("asked for");
        assert!(client.read().starts_with("HTTP/1.1 101 "));
        world.later(1_600);
        assert_eq!(bytes_of(&client.peer), SERVICE_RESTART);
        worker.finish(&end);
        world.settle();
        assert_eq!(drained(world), [2]);
    });
}

#[test]
fn a_worker_that_serves_on_keeps_its_websockets() {
    Worker::both(|world, worker| {
        let (client, end) = worker.open(world);
        drain(world, 1, 1);
        close_upgraded(world, 1, 2_000);
        resume(world, 1);
        let (second, _) = worker.open(world);
        world.later(10_000);
        worker.write(&end, HELLO);
        world.settle();
        assert_eq!(bytes_of(&client.peer), HELLO);
        // Without a drain those that are there end, and no others.
        close_upgraded(world, 1, 0);
        let (third, _) = worker.open(world);
        world.later(100);
        let got = [&client, &second, &third].map(|client| bytes_of(&client.peer));
        assert_eq!(got, [SERVICE_RESTART, SERVICE_RESTART, b""]);
        close_upgraded(world, 7, 0);
        assert_eq!(drained(world), [0; 0]);
    });
}
