//! Batches, what has been sent, who is told, room.

use hostler_driver::fake::FakeDriver;
use hostler_driver::{Driver, DriverConfig, Key, PoolSizes};
use hostler_protocol::worker::peer::{PeerBody, PeerFrame, PeerReader};

use super::*;

fn channel() -> (Channel, Pool) {
    let config = DriverConfig { sockets_max: 1, pools: PoolSizes::default() };
    let (mut driver, net) = FakeDriver::new(&config).expect("memory");
    let (fd, _peer) = net.pair().expect("a pair");
    let socket = driver.adopt(fd, Key(0)).expect("room");
    (Channel::new(socket, 1), Pool::new(&config.pools).expect("memory"))
}

fn tag(stream: u32) -> StreamTag {
    StreamTag { stream, generation: 1 }
}

fn frames(reader: &mut PeerReader, parts: &Parts) -> Vec<PeerFrame> {
    parts.iter().for_each(|part| reader.push(part.as_slice()));
    std::iter::from_fn(|| reader.next_frame().expect("valid")).collect()
}

fn close(channel: &mut Channel, pool: &Pool, stream: u32) {
    channel.write_always(pool, |out| out.close(tag(stream), ""));
}

fn take_all_batches(pool: &Pool) -> Vec<BufferMut> {
    std::iter::from_fn(|| pool.take(PoolClass::Batch)).collect()
}

#[test]
fn frames_of_one_turn_leave_together() {
    let (mut channel, pool) = channel();
    assert!(!channel.has_output() && channel.take().is_none());
    for stream in 1..=3 {
        close(&mut channel, &pool, stream);
    }
    let parts = channel.take().expect("a batch");
    assert_eq!(parts.len(), 1);
    close(&mut channel, &pool, 4);
    assert!(channel.take().is_none(), "one send at a time");
    channel.sent(&mut Vec::new());
    let mut reader = PeerReader::default();
    let seen = frames(&mut reader, &parts);
    assert_eq!(seen.iter().map(|frame| frame.tag.stream).collect::<Vec<_>>(), [1, 2, 3]);
    let second = channel.take().expect("the next batch");
    assert_eq!(frames(&mut reader, &second).len(), 1);
}

#[test]
fn a_batch_counts_as_sent_from_the_moment_it_is_handed_over() {
    let (mut channel, pool) = channel();
    let first = channel.batch();
    close(&mut channel, &pool, 1);
    assert!(!channel.has_sent(first));
    let _parts = channel.take();
    assert!(channel.has_sent(first), "nobody knows how much of it");
    assert!(!channel.has_sent(channel.batch()));
}

#[test]
fn batch_numbers_wrap() {
    let (mut channel, pool) = channel();
    channel.batch = u32::MAX;
    let last = channel.batch();
    close(&mut channel, &pool, 1);
    assert!(!channel.has_sent(last));
    let _parts = channel.take();
    assert_eq!(channel.batch(), 0);
    assert!(channel.has_sent(last) && channel.has_sent(last - 5));
    assert!(!channel.has_sent(0) && !channel.has_sent(1));
}

#[test]
fn owners_of_body_bytes_hear_once_when_theirs_have_left() {
    let (mut channel, pool) = channel();
    let small = Part::whole(Buffer::from_vec(vec![b'a'; COPY_BYTES_MAX]));
    let large = Part::whole(Buffer::from_vec(vec![b'b'; COPY_BYTES_MAX + 1]));
    channel.body(&pool, tag(1), small.clone(), 7, false);
    channel.body(&pool, tag(1), small, 7, false);
    channel.body(&pool, tag(2), large, 8, false);
    let parts = channel.take().expect("a batch");
    channel.body(&pool, tag(3), Part::whole(Buffer::from_vec(b"c".to_vec())), 9, false);
    let mut owners = Vec::new();
    channel.sent(&mut owners);
    assert_eq!(owners, [7, 8]);
    let seen = frames(&mut PeerReader::default(), &parts);
    let sizes: Vec<usize> = seen
        .iter()
        .map(|frame| match &frame.body {
            PeerBody::Data(bytes) => bytes.len(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(sizes, [COPY_BYTES_MAX, COPY_BYTES_MAX, COPY_BYTES_MAX + 1]);
    owners.clear();
    let _parts = channel.take().expect("the next batch");
    channel.sent(&mut owners);
    assert_eq!(owners, [9]);
}

#[test]
fn owners_wait_until_the_last_part_is_on_its_way() {
    let (mut channel, pool) = channel();
    let large = Part::whole(Buffer::from_vec(vec![b'b'; 3_000]));
    for stream in 1..=20 {
        channel.body(&pool, tag(stream), large.clone(), stream, false);
    }
    let mut owners = Vec::new();
    let first = channel.take().expect("a batch");
    assert_eq!(first.len(), PARTS_PER_SEND_MAX);
    channel.sent(&mut owners);
    assert_eq!(owners, [] as [u32; 0]);
    let second = channel.take().expect("the rest");
    channel.sent(&mut owners);
    assert_eq!(owners.len(), 20);
    let mut reader = PeerReader::default();
    let count = frames(&mut reader, &first).len() + frames(&mut reader, &second).len();
    assert_eq!((count, reader.pending()), (20, 0));
}

#[test]
fn a_full_batch_is_followed_by_another() {
    let (mut channel, pool) = channel();
    let bytes = Part::whole(Buffer::from_vec(vec![b'a'; COPY_BYTES_MAX]));
    for _ in 0..40 {
        channel.body(&pool, tag(1), bytes.clone(), 1, false);
    }
    let parts = channel.take().expect("a batch");
    assert_eq!(parts.len(), 2);
    assert_eq!(frames(&mut PeerReader::default(), &parts).len(), 40);
}

#[test]
fn without_batch_buffers_small_frames_go_over_the_heap_and_heads_wait() {
    let (mut channel, pool) = channel();
    let taken = take_all_batches(&pool);
    assert!(!channel.has_room(&pool, 100));
    assert_eq!(channel.write(&pool, |out| out.close(tag(1), "")), Err(NoRoom));
    close(&mut channel, &pool, 1);
    channel.write_at_most(&pool, 40_000, |out| out.data(tag(2), &[b'x'; 30_000]));
    drop(taken);
    assert!(channel.has_room(&pool, 100));
    close(&mut channel, &pool, 3);
    let parts = channel.take().expect("a batch");
    let seen = frames(&mut PeerReader::default(), &parts);
    assert_eq!(seen.iter().map(|frame| frame.tag.stream).collect::<Vec<_>>(), [1, 2, 3]);
}

#[test]
fn a_worker_that_does_not_read_gets_no_more_heads() {
    let (mut channel, pool) = channel();
    let large = Part::whole(Buffer::from_vec(vec![b'b'; 3_000]));
    let mut bodies = 0;
    while channel.has_room(&pool, 100) {
        channel.body(&pool, tag(1), large.clone(), 1, false);
        bodies += 1;
        assert!(bodies < 1_000, "room without end");
    }
    let mut owners = Vec::new();
    while channel.take().is_some() {
        channel.sent(&mut owners);
    }
    assert!(channel.has_room(&pool, 100));
    assert!(!channel.has_output());
}

#[test]
fn short_pieces_that_follow_each_other_become_one_frame() {
    let (mut channel, pool) = channel();
    let piece = |text: &str| Part::whole(Buffer::from_vec(text.into()));
    for (stream, text) in [(1, "a"), (1, "bc"), (2, "d"), (2, "e"), (1, "f")] {
        channel.body(&pool, tag(stream), piece(text), stream, true);
    }
    close(&mut channel, &pool, 1);
    channel.body(&pool, tag(1), piece("g"), 1, true);
    channel.body(&pool, tag(1), piece("h"), 1, false);
    let parts = channel.take().expect("a batch");
    channel.body(&pool, tag(1), piece("i"), 1, true);
    let rest = {
        channel.sent(&mut Vec::new());
        channel.take().expect("what came after it")
    };
    let mut reader = PeerReader::default();
    let mut seen = frames(&mut reader, &parts);
    seen.extend(frames(&mut reader, &rest));
    let seen: Vec<_> = seen
        .iter()
        .map(|frame| match &frame.body {
            PeerBody::Data(bytes) => {
                (frame.tag.stream, String::from_utf8_lossy(bytes).into_owned())
            }
            _ => (frame.tag.stream, "-".to_owned()),
        })
        .collect();
    let expected = [(1, "abc"), (2, "de"), (1, "f"), (1, "-"), (1, "g"), (1, "h"), (1, "i")];
    assert_eq!(seen, expected.map(|(stream, text)| (stream, text.to_owned())));
}

#[test]
fn the_load_of_bodies_goes_with_them() {
    let (mut channel, pool) = channel();
    let large = Part::whole(Buffer::from_vec(vec![b'b'; 3_000]));
    channel.body(&pool, tag(1), large.clone(), 1, true);
    channel.bodies_ready = 2;
    assert_eq!(channel.body_load(10), 3_020);
    let _parts = channel.take().expect("a batch");
    channel.body(&pool, tag(1), large, 1, true);
    assert_eq!(channel.body_load(10), 6_020, "what is in flight has not left");
    channel.sent(&mut Vec::new());
    assert_eq!(channel.body_load(10), 3_020);
}
