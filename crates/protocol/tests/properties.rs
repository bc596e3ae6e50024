//! Properties over generated messages: decoding what was encoded gives it back, however it is cut.

use hostler_protocol::fuzzing;
use hostler_protocol::http1::{
    CHUNK_HEAD_BYTES_MAX, ChunkLimits, ChunkPiece, ChunkedDecoder, FieldName, HeadLimits, Method,
    Parsed, RequestHead, encode_chunk_head,
};
use hostler_protocol::websocket::FrameBounds;
use hostler_protocol::worker::peer::{self, PeerBody, PeerFrame, PeerHead, PeerReader};
use hostler_protocol::worker::{
    BodyEnd, FrameReader, FrameWriter, FromWorker, HeadFlags, HeadParts, Heartbeat, Incoming,
    NoRoom, StreamTag, push_trailer,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

fn tag() -> impl Strategy<Value = StreamTag> {
    (1..=StreamTag::STREAM_MAX, any::<u8>())
        .prop_map(|(stream, generation)| StreamTag { stream, generation })
}

/// A name of the table in one of its spellings, or any other token.
fn field_name() -> impl Strategy<Value = Vec<u8>> {
    let known = (select(FieldName::ALL), 0..3).prop_map(|(name, spelling)| match spelling {
        0 => name.as_str().as_bytes().to_vec(),
        1 => name.as_str().to_ascii_lowercase().into_bytes(),
        _ => name.as_str().to_ascii_uppercase().into_bytes(),
    });
    prop_oneof![known, "[!#$%&'*+.^_`|~0-9A-Za-z-]{1,20}".prop_map(String::into_bytes)]
}

fn field_value() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![4 => 0x21..=0x7e_u8, 1 => 0x80..=0xff_u8];
    let inner = prop_oneof![8 => byte, 1 => Just(b' '), 1 => Just(b'\t')];
    prop_oneof![9 => vec(inner.clone(), 0..40), 1 => vec(inner, 200..600)]
        .prop_map(|value| value.trim_ascii().to_vec())
}

fn fields() -> impl Strategy<Value = Vec<(Vec<u8>, Vec<u8>)>> {
    vec((field_name(), field_value()), 0..20)
}

/// Fields that neither frame nor route: any value is good for them.
fn harmless(name: &[u8]) -> bool {
    !matches!(
        FieldName::look_up(name).0,
        FieldName::Host | FieldName::ContentLength | FieldName::TransferEncoding
    )
}

/// One frame of a WebSocket: fragments, control frames, compressed ones; each form of the length; masked or not.
fn websocket_frame() -> impl Strategy<Value = Vec<u8>> {
    let len = prop_oneof![6 => 0..126_usize, 2 => 126..400_usize, 1 => 65_530..65_540_usize];
    let first = select(vec![0x00, 0x80, 0x01, 0x81, 0xc1, 0x82, 0x89, 0x8a]);
    (first, len, 0..3_usize, any::<bool>(), any::<u8>()).prop_map(
        |(first, len, form, masked, byte)| {
            let mask = if masked { 0x80 } else { 0 };
            let mut frame: Vec<u8> = vec![first];
            let needed = if len < 126 {
                0
            } else if len < 65_536 {
                1
            } else {
                2
            };
            match form.max(needed) {
                0 => frame.push(mask | len as u8),
                1 => frame.extend([&[mask | 126][..], &(len as u16).to_be_bytes()].concat()),
                _ => frame.extend([&[mask | 127][..], &(len as u64).to_be_bytes()].concat()),
            }
            frame.extend_from_slice(if masked { b"mask" } else { b"" });
            frame.extend(vec![byte; len]);
            frame
        },
    )
}

/// Ends of pieces that `cuts` chooses, the last one being `len`.
fn piece_ends(len: usize, cuts: &[Index]) -> Vec<usize> {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(len + 1)).collect();
    ends.push(len);
    ends.sort_unstable();
    ends
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..Default::default() })]

    #[test]
    fn request_heads_survive(
        fields in fields(), target in "/[!-\"$-~]{0,60}", body in vec(any::<u8>(), 0..20), cuts in any::<u64>(),
    ) {
        let fields: Vec<_> = fields.into_iter().filter(|(name, _)| harmless(name)).collect();
        let mut bytes = format!("PUT {target} HTTP/1.1\r\nHost: a\r\n").into_bytes();
        for (name, value) in &fields {
            bytes.extend([name, b":\t".as_slice(), value, b" \r\n"].concat());
        }
        bytes.extend_from_slice(b"\r\n");
        let head_len = bytes.len();
        bytes.extend_from_slice(&body);

        let mut head = RequestHead::new();
        prop_assert_eq!(head.parse(&bytes, &HeadLimits::default()), Ok(Parsed::Complete));
        prop_assert_eq!(head.head_len as usize, head_len);
        prop_assert_eq!(head.target.of(&bytes), target.as_bytes());
        let seen: Vec<_> = head.fields().iter().skip(1)
            .map(|field| (field.name.of(&bytes).to_vec(), field.value.of(&bytes).to_vec())).collect();
        prop_assert_eq!(seen, fields);
        fuzzing::request_head(&bytes, cuts);
    }

    #[test]
    fn heads_of_any_bytes(bytes in vec(any::<u8>(), 0..200), cuts in any::<u64>()) {
        fuzzing::request_head(&bytes, cuts);
        fuzzing::response_head(&bytes, cuts);
        fuzzing::chunked(&bytes, cuts);
        fuzzing::frames(&bytes, cuts);
    }

    #[test]
    fn websocket_frames_end_where_they_end(
        frames in vec(websocket_frame(), 0..8), cuts in vec(any::<Index>(), 0..30),
    ) {
        let mut ends = vec![0];
        ends.extend(frames.iter().scan(0, |end, frame| { *end += frame.len(); Some(*end) }));
        let bytes = frames.concat();
        let mut bounds = FrameBounds::default();
        let mut at = 0;
        for end in piece_ends(bytes.len(), &cuts) {
            bounds.follow(&bytes[at..end]);
            at = end;
            prop_assert_eq!(bounds.is_at_boundary(), ends.contains(&at), "at {}", at);
        }
        prop_assert!(!bounds.has_close());
        // One frame at a time, and never a byte of the next one.
        let (mut bounds, mut at, mut seen) = (FrameBounds::default(), 0, vec![0]);
        for end in piece_ends(bytes.len(), &cuts) {
            while at < end {
                at += bounds.follow_frame(&bytes[at..end]);
                if bounds.is_at_boundary() {
                    seen.push(at);
                }
            }
        }
        prop_assert_eq!(seen, ends);
    }

    #[test]
    fn any_bytes_are_websocket_frames(
        bytes in vec(any::<u8>(), 0..300), cuts in vec(any::<Index>(), 0..30),
    ) {
        let mut whole = FrameBounds::default();
        whole.follow(&bytes);
        let mut pieces = FrameBounds::default();
        let mut at = 0;
        for end in piece_ends(bytes.len(), &cuts) {
            pieces.follow(&bytes[at..end]);
            at = end;
        }
        prop_assert_eq!(pieces, whole);
    }

    #[test]
    fn chunked_bodies_survive(
        chunks in vec(vec(any::<u8>(), 1..300), 0..10), behind in vec(any::<u8>(), 0..10), cuts in any::<u64>(),
    ) {
        let mut bytes = Vec::new();
        let mut head = [0; CHUNK_HEAD_BYTES_MAX];
        for chunk in &chunks {
            bytes.extend_from_slice(encode_chunk_head(&mut head, chunk.len()));
            bytes.extend_from_slice(chunk);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"0\r\n\r\n");
        let len = bytes.len();
        bytes.extend_from_slice(&behind);

        let mut decoder = ChunkedDecoder::new(ChunkLimits::default());
        let (mut content, mut at) = (Vec::new(), 0);
        while !decoder.is_done() {
            let (consumed, piece) = decoder.next(&bytes[at..]).expect("valid");
            if let ChunkPiece::Data(range) = piece {
                content.extend_from_slice(&bytes[at..][range]);
            }
            at += consumed;
        }
        prop_assert_eq!(at, len);
        prop_assert_eq!(content, chunks.concat());
        fuzzing::chunked(&bytes, cuts);
    }

    #[test]
    fn heads_reach_the_worker(
        tag in tag(), method in select(Method::ALL), flags in 0..8_u8, expect in any::<bool>(),
        client in proptest::option::of(("[0-9a-f.:]{0,45}", any::<u16>())), listener in any::<u8>(),
        target in vec(any::<u8>(), 0..700), fields in fields(), cut in any::<Index>(),
    ) {
        let flags = HeadFlags(flags).with(HeadFlags::EXPECT_CONTINUE, expect);
        let parts = HeadParts {
            method, target: &target, flags, listener, fields: fields.len(),
            client: client.as_ref().map(|(address, port)| (address.as_bytes(), *port)),
        };
        let mut buffer = vec![0; 32_768];
        let mut writer = FrameWriter::new(&mut buffer);
        write_head(&mut writer, tag, &parts, &fields).expect("room");
        let want = PeerFrame { tag, body: PeerBody::Head(PeerHead {
            method: method.as_str().into(),
            target: target.clone(),
            flags: flags.with(HeadFlags::NEW_CONNECTION, client.is_some()),
            client: client.clone().map(|(address, port)| (address.into_bytes(), port)),
            listener,
            fields: fields.clone(),
        }) };
        let bytes = writer.written().to_vec();
        let cut = cut.index(bytes.len());
        let mut reader = PeerReader::default();
        reader.push(&bytes[..cut]);
        prop_assert_eq!(reader.next_frame(), Ok(None));
        reader.push(&bytes[cut..]);
        prop_assert_eq!(reader.next_frame(), Ok(Some(want)));
        prop_assert_eq!(reader.pending(), 0);

        // In a buffer that is too short nothing is written, in one that fits exactly all is.
        let mut short = vec![0; cut + 4];
        let mut writer = FrameWriter::new(&mut short);
        writer.close(tag, "").err();
        let before = writer.len();
        if writer.remaining() < bytes.len() {
            prop_assert_eq!(write_head(&mut writer, tag, &parts, &fields), Err(NoRoom));
            prop_assert_eq!(writer.len(), before);
        }
        let mut exact = vec![0; bytes.len()];
        let mut writer = FrameWriter::new(&mut exact);
        prop_assert_eq!(write_head(&mut writer, tag, &parts, &fields), Ok(()));
        prop_assert_eq!(writer.written(), &bytes[..]);
    }

    #[test]
    fn frames_reach_the_worker(frames in vec((tag(), 0..6_u8, vec(any::<u8>(), 0..50), any::<u32>()), 0..20)) {
        let mut buffer = vec![0; 4096];
        let mut writer = FrameWriter::new(&mut buffer);
        let mut want = Vec::new();
        for (tag, kind, bytes, credit) in frames {
            let text: Vec<u8> = bytes.iter().map(|byte| byte | 1).collect();
            let body = match kind {
                0 => { writer.data(tag, &bytes).expect("room"); PeerBody::Data(bytes) }
                1 => {
                    let mut trailers = Vec::new();
                    push_trailer(&mut trailers, b"x", &text);
                    push_trailer(&mut trailers, b"y", b"");
                    writer.end(tag, &trailers).expect("room");
                    PeerBody::End(vec![(b"x".to_vec(), text), (b"y".to_vec(), Vec::new())])
                }
                2 => { writer.close(tag, "").expect("room"); PeerBody::Close(String::new()) }
                3 => { writer.half_close(tag).expect("room"); PeerBody::HalfClose }
                4 => { writer.window(tag, credit).expect("room"); PeerBody::Window(credit) }
                _ => { writer.end(tag, &[]).expect("room"); PeerBody::End(Vec::new()) }
            };
            want.push(PeerFrame { tag, body });
        }
        let mut reader = PeerReader::default();
        reader.push(writer.written());
        for frame in want {
            prop_assert_eq!(reader.next_frame(), Ok(Some(frame)));
        }
        prop_assert_eq!(reader.next_frame(), Ok(None));
    }

    #[test]
    fn frames_reach_the_proxy(
        frames in vec((tag(), 0..6_u8, vec(any::<u8>(), 0..50), any::<[u32; 5]>()), 0..20), cuts in any::<u64>(),
    ) {
        let mut bytes = Vec::new();
        for (tag, kind, payload, numbers) in &frames {
            match kind {
                0 => peer::put(&mut bytes, FromWorker::Data, *tag, payload),
                1 => peer::put(&mut bytes, FromWorker::End, *tag, payload),
                2 => peer::put(&mut bytes, FromWorker::EndClose, *tag, payload),
                3 => peer::put_window(&mut bytes, *tag, numbers[0]),
                4 => peer::put_reset(&mut bytes, *tag),
                _ => peer::put_heartbeat(&mut bytes, &beat(numbers)),
            }
        }
        let mut reader = FrameReader::new();
        let mut at = 0;
        for (frame_tag, kind, payload, numbers) in &frames {
            let incoming = reader.next(&bytes, &mut at).expect("valid").expect("there");
            match (kind, incoming) {
                (0..=2, Incoming::Body { tag, end, range, last: true }) => {
                    let ends = [BodyEnd::More, BodyEnd::End, BodyEnd::EndClose];
                    prop_assert_eq!((tag, end), (*frame_tag, ends[usize::from(*kind)]));
                    prop_assert_eq!(&bytes[range], &payload[..]);
                }
                (3, incoming) => {
                    prop_assert_eq!(incoming, Incoming::Window { tag: *frame_tag, bytes: numbers[0] });
                }
                (4, incoming) => prop_assert_eq!(incoming, Incoming::Reset { tag: *frame_tag }),
                (5, incoming) => prop_assert_eq!(incoming, Incoming::Heartbeat(beat(numbers))),
                (_, incoming) => prop_assert!(false, "{:?}", incoming),
            }
        }
        prop_assert_eq!(reader.next(&bytes, &mut at), Ok(None));
        prop_assert!(reader.is_between_frames());
        fuzzing::frames(&bytes, cuts);
    }
}

fn beat(numbers: &[u32; 5]) -> Heartbeat {
    let [loop_delay_us, utilisation_permille, in_flight, heap_kib, _] = *numbers;
    Heartbeat { loop_delay_us, utilisation_permille, in_flight, heap_kib }
}

fn write_head(
    writer: &mut FrameWriter<'_>,
    tag: StreamTag,
    parts: &HeadParts<'_>,
    fields: &[(Vec<u8>, Vec<u8>)],
) -> Result<(), NoRoom> {
    let mut head = writer.begin_head(tag, parts)?;
    for (name, value) in fields {
        head.field(FieldName::look_up(name).1, name, value)?;
    }
    head.finish()
}
