//! The golden vectors: encoding their meaning gives their bytes, decoding their bytes gives their
//! meaning, and broken bytes are refused. `vectors/README.md` describes the files.

use std::path::PathBuf;

use hostler_protocol::http1::{FieldName, Method};
use hostler_protocol::worker::peer::{self, PeerBody, PeerHead, PeerReader};
use hostler_protocol::worker::{
    BodyEnd, Count, FrameReader, FrameWriter, FromWorker, HeadFlags, HeadParts, Heartbeat,
    Incoming, Listen, Move, Offer, ProxyHello, Settings, StreamTag, ToWorker, Unlisten,
    WorkerHello, name_number, push_trailer,
};
use serde_json::{Value, json};

const FLAGS: [(&str, HeadFlags); 5] = [
    ("NO_BODY", HeadFlags::NO_BODY),
    ("KEEP_ALIVE", HeadFlags::KEEP_ALIVE),
    ("HTTP_1_0", HeadFlags::HTTP_1_0),
    ("NEW_CONNECTION", HeadFlags::NEW_CONNECTION),
    ("EXPECT_CONTINUE", HeadFlags::EXPECT_CONTINUE),
];

#[test]
fn to_worker() {
    check("to_worker.json", encode_to_worker, decode_to_worker);
}

#[test]
fn to_proxy() {
    check("to_proxy.json", encode_to_proxy, decode_to_proxy);
}

#[test]
fn broken_bytes_are_refused() {
    for vector in vectors("broken.json") {
        let name = text(&vector["name"]);
        let bytes = unhex(&text(&vector["hex"]));
        let refused = match text(&vector["reader"]).as_str() {
            "worker" => decode_to_worker(&bytes).is_err(),
            "proxy" => decode_to_proxy(&bytes).is_err(),
            reader => panic!("{name}: who is {reader}?"),
        };
        assert!(refused, "{name}: must be refused");
    }
}

fn check(
    file: &str,
    encode: impl Fn(&Value, &mut Vec<u8>),
    decode: impl Fn(&[u8]) -> Result<Vec<Value>, String>,
) {
    if std::env::var_os("HOSTLER_WRITE_VECTORS").is_some() {
        write_hex(file, &encode);
    }
    for vector in vectors(file) {
        let name = text(&vector["name"]);
        let frames = list(&vector["frames"]);
        let bytes = unhex(&text(&vector["hex"]));
        assert_eq!(decode(&bytes).as_ref(), Ok(frames), "{name}: decoded");
        if vector["decode_only"] != json!(true) {
            assert_eq!(hex(&encode_all(frames, &encode)), hex(&bytes), "{name}: encoded");
        }
    }
}

fn encode_all(frames: &[Value], encode: &impl Fn(&Value, &mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    frames.iter().for_each(|frame| encode(frame, &mut out));
    out
}

/// Fills in `hex`, leaving the rest of the file as it was typed.
fn write_hex(file: &str, encode: &impl Fn(&Value, &mut Vec<u8>)) {
    let old = std::fs::read_to_string(path(file)).expect("vectors are readable");
    let mut vectors = vectors(file).into_iter();
    let mut new = String::new();
    for line in old.lines() {
        match line.strip_prefix("    \"hex\": ") {
            Some(typed) => {
                let vector = vectors.next().expect("one hex line a vector");
                let bytes = encode_all(list(&vector["frames"]), encode);
                if vector["decode_only"] == json!(true) {
                    new.push_str(&format!("    \"hex\": {typed}\n"));
                } else {
                    new.push_str(&format!("    \"hex\": \"{}\",\n", hex(&bytes)));
                }
            }
            None => new.push_str(&format!("{line}\n")),
        }
    }
    std::fs::write(path(file), new).expect("vectors are writable");
}

fn encode_to_worker(frame: &Value, out: &mut Vec<u8>) {
    let mut buffer = vec![0; 70_000];
    let mut writer = FrameWriter::new(&mut buffer);
    let tag = tag(frame);
    let done = match text(&frame["type"]).as_str() {
        "HEAD" => return encode_head(frame, out),
        "DATA" => writer.data(tag, &latin1(&frame["bytes"])),
        "END" => {
            let mut trailers = Vec::new();
            for pair in list(&frame["trailers"]) {
                push_trailer(&mut trailers, &latin1(&pair[0]), &latin1(&pair[1]));
            }
            writer.end(tag, &trailers)
        }
        "CLOSE" => writer.close(tag, frame["why"].as_str().unwrap_or_default()),
        "HALF_CLOSE" => writer.half_close(tag),
        "WINDOW" => writer.window(tag, number(&frame["credit"])),
        "HELLO" => {
            let hello: ProxyHello = serde_json::from_value(frame["json"].clone()).expect("HELLO");
            writer.json(ToWorker::Hello, &hello)
        }
        "MOVE" => {
            let to: Move = serde_json::from_value(frame["json"].clone()).expect("MOVE");
            writer.json(ToWorker::Move, &to)
        }
        "OPEN" => writer.open(tag, number(&frame["offer"])),
        "HOLD" => writer.hold(tag),
        "BROKEN" => writer.broken(tag, &latin1(&frame["lead"]), &latin1(&frame["bytes"])),
        "TUNNEL" => {
            let client = &frame["client"];
            let port = number(&client["port"]) as u16;
            writer.tunnel(tag, &latin1(&client["address"]), port, number(&frame["listener"]) as u8)
        }
        "TUNNEL_DATA" => writer.tunnel_data(tag, &latin1(&frame["bytes"])),
        "TUNNEL_END" => writer.tunnel_end(tag),
        "TUNNEL_CLOSE" => writer.tunnel_close(tag, frame["why"].as_str().unwrap_or_default()),
        "TUNNEL_WINDOW" => writer.tunnel_window(tag, number(&frame["credit"])),
        "GIVE_BACK" => {
            let lead = number(&frame["lead"]) as usize;
            writer.give_back(tag, number(&frame["offer"]), lead, &latin1(&frame["bytes"]))
        }
        other => panic!("unknown frame {other}"),
    };
    done.expect("room");
    out.extend_from_slice(writer.written());
}

fn encode_head(frame: &Value, out: &mut Vec<u8>) {
    let target = latin1(&frame["target"]);
    let address = latin1(&frame["client"]["address"]);
    let headers = list(&frame["headers"]);
    let is_new = flags(frame).has(HeadFlags::NEW_CONNECTION);
    let parts = HeadParts {
        // Vectors with a method of the table only; the others are `decode_only`.
        method: Method::from_bytes(&latin1(&frame["method"])).unwrap_or(Method::Get),
        target: &target,
        flags: HeadFlags(flags(frame).0 & !HeadFlags::NEW_CONNECTION.0),
        client: is_new.then(|| (address.as_slice(), number(&frame["client"]["port"]) as u16)),
        listener: number(&frame["listener"]) as u8,
        fields: headers.len(),
    };
    let mut buffer = vec![0; 70_000];
    let mut writer = FrameWriter::new(&mut buffer);
    let mut head = writer.begin_head(tag(frame), &parts).expect("room");
    for pair in headers {
        let name = latin1(&pair[0]);
        let (known, found) = FieldName::look_up(&name);
        assert_eq!(name_number(&name, known), found);
        head.field(found, &name, &latin1(&pair[1])).expect("room");
    }
    head.finish().expect("room");
    out.extend_from_slice(writer.written());
}

fn decode_to_worker(bytes: &[u8]) -> Result<Vec<Value>, String> {
    let mut reader = PeerReader::default();
    reader.push(bytes);
    let mut frames = Vec::new();
    while let Some(frame) = reader.next_frame().map_err(|error| error.to_string())? {
        let name = |name: &str| base(name, frame.tag);
        frames.push(match frame.body {
            PeerBody::Head(head) => head_value(frame.tag, &head),
            PeerBody::Data(bytes) => merge(name("DATA"), json!({ "bytes": chars(&bytes) })),
            PeerBody::End(trailers) => merge(name("END"), json!({ "trailers": pairs(&trailers) })),
            PeerBody::Close(why) if why.is_empty() => name("CLOSE"),
            PeerBody::Close(why) => merge(name("CLOSE"), json!({ "why": why })),
            PeerBody::HalfClose => name("HALF_CLOSE"),
            PeerBody::Window(credit) => merge(name("WINDOW"), json!({ "credit": credit })),
            PeerBody::Hello(hello) => merge(name("HELLO"), json!({ "json": hello })),
            PeerBody::Move(to) => merge(name("MOVE"), json!({ "json": to })),
            PeerBody::Open(offer) => merge(name("OPEN"), json!({ "offer": offer })),
            PeerBody::Hold => name("HOLD"),
            PeerBody::Broken { lead, read } => {
                merge(name("BROKEN"), json!({ "lead": chars(&lead), "bytes": chars(&read) }))
            }
            PeerBody::Tunnel { address, port, listener } => {
                let client = json!({ "address": chars(&address), "port": port });
                merge(name("TUNNEL"), json!({ "client": client, "listener": listener }))
            }
            PeerBody::TunnelData(bytes) => {
                merge(name("TUNNEL_DATA"), json!({ "bytes": chars(&bytes) }))
            }
            PeerBody::TunnelEnd => name("TUNNEL_END"),
            PeerBody::TunnelClose(why) if why.is_empty() => name("TUNNEL_CLOSE"),
            PeerBody::TunnelClose(why) => merge(name("TUNNEL_CLOSE"), json!({ "why": why })),
            PeerBody::TunnelWindow(credit) => {
                merge(name("TUNNEL_WINDOW"), json!({ "credit": credit }))
            }
            PeerBody::GiveBack { offer, lead, read } => {
                let facts = json!({ "offer": offer, "lead": lead, "bytes": chars(&read) });
                merge(name("GIVE_BACK"), facts)
            }
        });
    }
    assert_eq!(reader.pending(), 0, "vectors hold whole frames");
    Ok(frames)
}

fn head_value(tag: StreamTag, head: &PeerHead) -> Value {
    let flags: Vec<&str> =
        FLAGS.iter().filter(|(_, flag)| head.flags.has(*flag)).map(|(name, _)| *name).collect();
    let mut value = merge(
        base("HEAD", tag),
        json!({
            "method": chars(&head.method),
            "target": chars(&head.target),
            "flags": flags,
            "listener": head.listener,
            "headers": pairs(&head.fields),
        }),
    );
    if let Some((address, port)) = &head.client {
        value = merge(value, json!({ "client": { "address": chars(address), "port": port } }));
    }
    value
}

fn encode_to_proxy(frame: &Value, out: &mut Vec<u8>) {
    let tag = tag(frame);
    let payload = &frame["json"];
    match text(&frame["type"]).as_str() {
        "DATA" => peer::put(out, FromWorker::Data, tag, &latin1(&frame["bytes"])),
        "END" => peer::put(out, FromWorker::End, tag, &latin1(&frame["bytes"])),
        "END_CLOSE" => peer::put(out, FromWorker::EndClose, tag, &latin1(&frame["bytes"])),
        "WINDOW" => peer::put_window(out, tag, number(&frame["credit"])),
        "TUNNEL_DATA" => peer::put(out, FromWorker::TunnelData, tag, &latin1(&frame["bytes"])),
        "TUNNEL_END" => peer::put_tunnel_end(out, tag),
        "TUNNEL_WINDOW" => peer::put_tunnel_window(out, tag, number(&frame["credit"])),
        "RESET" => peer::put_reset(out, tag),
        "HELD" => peer::put_held(out, tag),
        "HEARTBEAT" => peer::put_heartbeat(
            out,
            &Heartbeat {
                loop_delay_us: number(&frame["loop_delay_us"]),
                utilisation_permille: number(&frame["utilisation_permille"]),
                in_flight: number(&frame["in_flight"]),
                heap_kib: number(&frame["heap_kib"]),
            },
        ),
        "OFFER" => peer::put_offer(
            out,
            &Offer {
                offer: number(&frame["offer"]),
                server: number(&frame["server"]),
                fd: number(&frame["fd"]),
                header_bytes_max: number(&frame["header_bytes_max"]),
            },
        ),
        "COUNT" => put_json::<Count>(out, FromWorker::Count, payload),
        "HELLO" => put_json::<WorkerHello>(out, FromWorker::Hello, payload),
        "LISTEN" => put_json::<Listen>(out, FromWorker::Listen, payload),
        "UNLISTEN" => put_json::<Unlisten>(out, FromWorker::Unlisten, payload),
        "SETTINGS" => put_json::<Settings>(out, FromWorker::Settings, payload),
        other => panic!("unknown frame {other}"),
    }
}

fn put_json<T>(out: &mut Vec<u8>, kind: FromWorker, payload: &Value)
where
    T: serde::Serialize + serde::de::DeserializeOwned,
{
    let typed: T = serde_json::from_value(payload.clone()).expect("payload of its type");
    peer::put_json(out, kind, &typed);
}

fn decode_to_proxy(bytes: &[u8]) -> Result<Vec<Value>, String> {
    let mut reader = FrameReader::new();
    let mut frames = Vec::new();
    let mut at = 0;
    while let Some(incoming) = reader.next(bytes, &mut at).map_err(|error| error.to_string())? {
        frames.push(match incoming {
            Incoming::Body { tag, end, range, last } => {
                assert!(last, "vectors hold whole frames");
                let name = match end {
                    BodyEnd::More => "DATA",
                    BodyEnd::End => "END",
                    BodyEnd::EndClose => "END_CLOSE",
                    BodyEnd::Tunnel => "TUNNEL_DATA",
                };
                merge(base(name, tag), json!({ "bytes": chars(&bytes[range]) }))
            }
            Incoming::Window { tag, bytes } => {
                merge(base("WINDOW", tag), json!({ "credit": bytes }))
            }
            Incoming::TunnelEnd { tag } => base("TUNNEL_END", tag),
            Incoming::TunnelWindow { tag, bytes } => {
                merge(base("TUNNEL_WINDOW", tag), json!({ "credit": bytes }))
            }
            Incoming::Reset { tag } => base("RESET", tag),
            Incoming::Held { tag } => base("HELD", tag),
            Incoming::Heartbeat(beat) => merge(
                base("HEARTBEAT", StreamTag::CHANNEL),
                json!({
                    "loop_delay_us": beat.loop_delay_us,
                    "utilisation_permille": beat.utilisation_permille,
                    "in_flight": beat.in_flight,
                    "heap_kib": beat.heap_kib,
                }),
            ),
            Incoming::Offer(offer) => merge(
                base("OFFER", StreamTag::CHANNEL),
                json!({
                    "offer": offer.offer,
                    "server": offer.server,
                    "fd": offer.fd,
                    "header_bytes_max": offer.header_bytes_max,
                }),
            ),
            Incoming::Json { kind, bytes } => {
                let typed = match kind {
                    FromWorker::Hello => reparse::<WorkerHello>(bytes),
                    FromWorker::Listen => reparse::<Listen>(bytes),
                    FromWorker::Unlisten => reparse::<Unlisten>(bytes),
                    FromWorker::Count => reparse::<Count>(bytes),
                    _ => reparse::<Settings>(bytes),
                };
                merge(base(kind.as_str(), StreamTag::CHANNEL), json!({ "json": typed? }))
            }
        });
    }
    assert!(reader.is_between_frames(), "vectors hold whole frames");
    Ok(frames)
}

fn reparse<T>(bytes: &[u8]) -> Result<Value, String>
where
    T: serde::Serialize + serde::de::DeserializeOwned,
{
    let typed: T = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    serde_json::to_value(typed).map_err(|error| error.to_string())
}

fn path(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors").join(file)
}

fn vectors(file: &str) -> Vec<Value> {
    let json = std::fs::read_to_string(path(file)).expect("vectors are readable");
    serde_json::from_str(&json).expect("vectors are JSON")
}

fn tag(frame: &Value) -> StreamTag {
    StreamTag { stream: number(&frame["stream"]), generation: number(&frame["generation"]) as u8 }
}

fn flags(frame: &Value) -> HeadFlags {
    list(&frame["flags"]).iter().fold(HeadFlags::default(), |flags, name| {
        let found = FLAGS.iter().find(|(known, _)| *known == text(name)).expect("a known flag");
        flags | found.1
    })
}

fn base(name: &str, tag: StreamTag) -> Value {
    json!({ "type": name, "stream": tag.stream, "generation": tag.generation })
}

fn merge(mut value: Value, more: Value) -> Value {
    if let (Value::Object(value), Value::Object(more)) = (&mut value, more) {
        value.extend(more);
    }
    value
}

fn pairs(pairs: &[(Vec<u8>, Vec<u8>)]) -> Value {
    pairs.iter().map(|(name, value)| json!([chars(name), chars(value)])).collect()
}

fn text(value: &Value) -> String {
    value.as_str().expect("a string").to_owned()
}

fn number(value: &Value) -> u32 {
    value.as_u64().and_then(|number| number.try_into().ok()).expect("a u32")
}

fn list(value: &Value) -> &Vec<Value> {
    value.as_array().expect("a list")
}

/// The bytes of a latin1 string; nothing for an absent one.
fn latin1(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap_or_default();
    text.chars().map(|char| u8::try_from(u32::from(char)).expect("latin1")).collect()
}

fn chars(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char::from(byte)).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let pairs = text.as_bytes().chunks_exact(2);
    pairs.map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).expect("hex")).collect()
}
