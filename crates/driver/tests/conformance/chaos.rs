//! Many sockets living short and random lives: nothing is lost, mixed up or kept.

use hostler_driver::buffer::PoolSize;
use hostler_driver::{Buffer, Completion, Driver, DriverConfig, Parts, PoolClass, ReceiveMode};

use crate::bench::{self, Bench};
use crate::world::{Got, Peer, World};

crate::rules!(random_lives);

/// Few buffers, so that sockets starve now and then.
fn config() -> DriverConfig {
    let mut config = bench::config();
    config.pools.head = PoolSize { count: 5, bytes: 256 };
    config.pools.channel = PoolSize { count: 2, bytes: 512 };
    config
}

const LIVES: usize = 30;
const STEPS: u32 = 60_000;

const MODES: [ReceiveMode; 4] = [
    ReceiveMode::Paused,
    ReceiveMode::Stream,
    ReceiveMode::Once(PoolClass::Head),
    ReceiveMode::Once(PoolClass::Channel),
];

/// One connection. Both sides send the numbers from 0 up, so that every byte is known by its
/// position.
struct Life {
    socket: hostler_driver::SocketId,
    peer: Option<Box<dyn Peer>>,
    written: usize,
    received: usize,
    sending: bool,
    failed: bool,
    finished: bool,
    sent: usize,
    read: usize,
}

/// The bytes from one position to another, different for each multiple of 256.
fn numbers(from: usize, count: usize) -> Vec<u8> {
    (from..from + count).map(|number| (number ^ (number >> 8)) as u8).collect()
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

fn random_lives<W: World>(mut bench: Bench<W>) {
    let mut random = Random(0x5eed_0123_4567_89ab);
    let mut lives: Vec<Life> = (0..LIVES).map(|_| born(&mut bench)).collect();
    let mut held: Vec<Buffer> = Vec::new();
    for _ in 0..STEPS {
        let number = random.below(LIVES);
        let choice = random.below(100);
        if choice < 3 {
            bench.driver.close(lives[number].socket);
            lives[number] = born(&mut bench);
        } else if choice < 30 {
            bench.turn_at_once();
            note(&mut bench, &mut lives, &mut held, &mut random);
        } else {
            act(&mut bench, &mut lives[number], choice, &mut random);
        }
    }
    held.clear();
    assert!(bench.driver.usage().starved > 0, "buffers ran out now and then");
    let moved: usize = lives.iter().map(|life| life.received.min(life.read)).sum();
    assert!(moved > 1000, "bytes moved in both directions: {moved}");
    for life in lives {
        bench.driver.close(life.socket);
    }
    bench.ends_clean();
}

fn born<W: World>(bench: &mut Bench<W>) -> Life {
    let (socket, peer) = bench.pair();
    Life {
        socket,
        peer: Some(peer),
        written: 0,
        received: 0,
        sending: false,
        failed: false,
        finished: false,
        sent: 0,
        read: 0,
    }
}

/// Something that one of the two sides does.
fn act<W: World>(bench: &mut Bench<W>, life: &mut Life, choice: usize, random: &mut Random) {
    let Some(peer) = &mut life.peer else {
        return;
    };
    match choice {
        30..50 => bench.driver.receive(life.socket, MODES[random.below(MODES.len())]),
        50..70 if !life.finished => {
            let bytes = numbers(life.written, 1 + random.below(600));
            life.written += peer.write(&bytes);
        }
        70..85 if !life.sending && !life.failed => {
            let cuts = 1 + random.below(8);
            let mut parts = Parts::new();
            for _ in 0..cuts {
                let bytes = numbers(life.sent, random.below(30_000));
                life.sent += bytes.len();
                parts.push(Buffer::from_vec(bytes).into());
            }
            bench.driver.send(life.socket, parts);
            life.sending = true;
        }
        85..98 => {
            let mut bytes = Vec::new();
            let _got: Got = peer.read(&mut bytes);
            assert!(bytes == numbers(life.read, bytes.len()), "sent bytes differ");
            life.read += bytes.len();
        }
        98 if !life.finished => {
            peer.finish();
            life.finished = true;
        }
        99 => life.peer = None,
        _ => {}
    }
}

/// Compares what has happened with what is known.
fn note<W: World>(
    bench: &mut Bench<W>,
    lives: &mut [Life],
    held: &mut Vec<Buffer>,
    random: &mut Random,
) {
    for completion in bench.take_happened() {
        let (Completion::Received { socket, .. }
        | Completion::ReceiveEnded { socket, .. }
        | Completion::SendProgress { socket, .. }
        | Completion::Sent { socket, .. }
        | Completion::Failed { socket, .. }) = &completion
        else {
            panic!("unexpected: {completion:?}");
        };
        let life = lives.iter_mut().find(|life| life.socket == *socket).expect("an open socket");
        match completion {
            Completion::Received { buffer, .. } => {
                assert!(*buffer == numbers(life.received, buffer.len()), "received bytes differ");
                life.received += buffer.len();
                held.push(buffer);
                if held.len() > 4 || random.below(2) == 0 {
                    held.clear();
                }
            }
            Completion::Sent { .. } => {
                assert!(std::mem::replace(&mut life.sending, false), "a send was in flight");
            }
            Completion::Failed { .. } => {
                assert!(life.peer.is_none(), "only a vanished peer makes failures");
                life.failed = true;
            }
            _ => {}
        }
    }
}
