//! Both encodings of a request head, and response heads with a dropped field in every place.

use hostler_driver::PoolSizes;
use hostler_protocol::http1::{HeadLimits, Parsed};
use hostler_protocol::worker::peer::{PeerBody, PeerHead, PeerReader};

use super::*;
use crate::conn::Refusal;
use crate::request_id::RequestId;

const TAG: StreamTag = StreamTag { stream: 3, generation: 9 };

fn pool() -> Pool {
    Pool::new(&PoolSizes::default()).expect("memory")
}

fn parse(bytes: &str) -> RequestHead {
    let mut head = RequestHead::new();
    let parsed = head.parse(bytes.as_bytes(), &HeadLimits::default());
    assert_eq!(parsed, Ok(Parsed::Complete), "{bytes:?}");
    head
}

fn text_of(out: &mut Outbox) -> String {
    let mut bytes = Vec::new();
    while let Some(parts) = out.take() {
        parts.iter().for_each(|part| bytes.extend_from_slice(part.as_slice()));
        out.sent();
    }
    String::from_utf8(bytes).expect("ASCII")
}

/// The head in both encodings, from a TCP client.
fn forward(bytes: &str) -> (PeerHead, String) {
    let client = ClientAddress::new("192.0.2.7:999".parse().expect("valid"));
    forward_from(bytes, &client, "127.0.0.1:3000")
}

fn forward_from(bytes: &str, client: &ClientAddress, listener: &str) -> (PeerHead, String) {
    let forwarding = Forwarding {
        bytes: bytes.as_bytes(),
        head: &parse(bytes),
        client,
        listener: &ListenerInfo::parse(listener),
        verbatim: false,
        listener_index: 2,
        request_id: b"id-1",
    };
    let mut frame = vec![0; 65_536];
    let mut writer = FrameWriter::new(&mut frame);
    forwarding.write_frame(&mut writer, TAG, true).expect("room");
    let mut reader = PeerReader::default();
    reader.push(writer.written());
    let frame = reader.next_frame().expect("valid").expect("whole");
    assert_eq!((frame.tag, reader.pending()), (TAG, 0));
    let PeerBody::Head(head) = frame.body else { panic!("a HEAD, not {:?}", frame.body) };
    let mut out = Outbox::default();
    forwarding.write_text(&mut out, &pool());
    (head, text_of(&mut out))
}

fn fields(head: &PeerHead) -> Vec<String> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("ASCII");
    head.fields.iter().map(|(name, value)| format!("{}: {}", text(name), text(value))).collect()
}

/// What the proxy adds to every request of that client to host `a`.
const ADDED: [&str; 7] = [
    "X-Forwarded-For: 192.0.2.7",
    "X-Forwarded-Proto: http",
    "X-Forwarded-Host: a",
    "X-Forwarded-Port: 3000",
    "X-Real-IP: 192.0.2.7",
    "X-Request-Id: id-1",
    "Via: 1.1 hostler",
];

/// Both encodings have these fields before the added ones.
fn assert_kept(request: &str, kept: &[&str]) {
    let (head, text) = forward(request);
    let expected: Vec<&str> = kept.iter().chain(&ADDED).copied().collect();
    assert_eq!(fields(&head), expected, "{request:?}");
    let lines: Vec<&str> = text.strip_suffix("\r\n\r\n").expect("an end").split("\r\n").collect();
    assert_eq!(lines[1..], expected, "{request:?}");
}

#[test]
fn a_request_keeps_its_fields_in_order_and_spelling() {
    let request = "GET /a?b HTTP/1.1\r\nhost: a\r\nX-oDD: 1\r\nAccept:  */* \r\nEmpty:\r\n\r\n";
    assert_kept(request, &["host: a", "X-oDD: 1", "Accept: */*", "Empty: "]);
    let (head, text) = forward(request);
    assert_eq!((&*head.method, &*head.target), (&b"GET"[..], &b"/a?b"[..]));
    assert_eq!(head.client, Some((b"192.0.2.7".to_vec(), 999)));
    assert_eq!(head.listener, 2);
    assert!(text.starts_with("GET /a?b HTTP/1.1\r\n"));
}

#[test]
fn hop_by_hop_fields_are_dropped_wherever_they_are() {
    let dropped = [
        "Connection: keep-alive",
        "Keep-Alive: timeout=5",
        "Proxy-Connection: keep-alive",
        "TE: trailers",
        "Upgrade: h2c",
    ];
    let kept = ["Host: a", "A: 1", "B: 2"];
    for field in dropped {
        for at in 0..=kept.len() {
            let mut lines = kept.to_vec();
            lines.insert(at, field);
            let request = format!("GET / HTTP/1.1\r\n{}\r\n\r\n", lines.join("\r\n"));
            assert_kept(&request, &kept);
        }
    }
}

#[test]
fn fields_named_in_connection_are_dropped_but_not_host_or_framing() {
    assert_kept(
        "POST / HTTP/1.1\r\nx-secret: 1\r\nHost: a\r\nConnection: X-Secret, close, host, content-length\r\n\
         X-SECRET: 2\r\nContent-Length: 0\r\nOther: 3\r\n\r\n",
        &["Host: a", "Content-Length: 0", "Other: 3"],
    );
}

#[test]
fn what_a_client_says_about_the_way_is_overwritten() {
    assert_kept(
        "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 6.6.6.6\r\nx-forwarded-proto: https\r\n\
         X-Forwarded-Host: evil\r\nX-Forwarded-Port: 1\r\nX-Real-IP: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\n\
         X-Request-Id: theirs\r\n\r\n",
        &["Host: a"],
    );
}

#[test]
fn via_is_appended_not_replaced() {
    assert_kept("GET / HTTP/1.1\r\nHost: a\r\nVia: 1.0 cdn\r\n\r\n", &["Host: a", "Via: 1.0 cdn"]);
}

#[test]
fn framing_fields_reach_the_app() {
    let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_kept(chunked, &["Host: a", "Transfer-Encoding: chunked"]);
    let flags = |request: &str| forward(request).0.flags;
    assert!(!flags(chunked).has(HeadFlags::NO_BODY));
    let post = |length| format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
    assert!(!flags(&post(1)).has(HeadFlags::NO_BODY));
    assert!(flags(&post(0)).has(HeadFlags::NO_BODY), "nothing follows");
    let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let get_flags = flags(get);
    assert!(get_flags.has(HeadFlags::NO_BODY) && get_flags.has(HeadFlags::KEEP_ALIVE));
    assert!(get_flags.has(HeadFlags::NEW_CONNECTION));
    assert!(
        !flags("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").has(HeadFlags::KEEP_ALIVE)
    );
    let expect = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n";
    assert!(flags(expect).has(HeadFlags::EXPECT_CONTINUE));
}

#[test]
fn http_1_0_stays_http_1_0() {
    let (head, text) = forward("GET /x HTTP/1.0\r\nConnection: keep-alive\r\nA: 1\r\n\r\n");
    assert!(head.flags.has(HeadFlags::HTTP_1_0) && head.flags.has(HeadFlags::KEEP_ALIVE));
    assert!(text.starts_with("GET /x HTTP/1.0\r\nA: 1\r\n"), "{text}");
    assert!(!text.contains("X-Forwarded-Host") && !text.contains("Connection"), "{text}");
}

#[test]
fn an_upgrade_is_asked_for_anew_on_the_plain_path() {
    let request =
        "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: x, upgrade\r\nX: 1\r\n\r\n";
    let (_, text) = forward(request);
    let kept = "Host: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Forwarded-For";
    assert!(text.contains(kept), "{text}");
    assert!(!text.contains("\r\nX: 1"), "named in Connection: {text}");
}

#[test]
fn the_authority_of_an_absolute_target_is_the_host() {
    let (head, text) = forward("GET http://real:81/a HTTP/1.1\r\nHost: evil\r\n\r\n");
    let fields = fields(&head);
    assert!(fields.contains(&"Host: real:81".into()), "{fields:?}");
    assert!(fields.contains(&"X-Forwarded-Host: real:81".into()), "{fields:?}");
    assert!(!text.contains("evil"), "{text}");
}

#[test]
fn a_unix_client_has_no_address() {
    let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let (head, _) = forward_from(request, &ClientAddress::LOCAL, "unix:/run/x.sock");
    assert_eq!(
        fields(&head),
        [
            "Host: a",
            "X-Forwarded-Proto: http",
            "X-Forwarded-Host: a",
            "X-Request-Id: id-1",
            "Via: 1.1 hostler",
        ]
    );
    assert_eq!(head.client, Some((vec![], 0)));
}

#[test]
fn a_frame_without_room_leaves_nothing() {
    let bytes = "GET / HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n";
    let head = parse(bytes);
    let forwarding = Forwarding {
        bytes: bytes.as_bytes(),
        head: &head,
        client: &ClientAddress::LOCAL,
        listener: &ListenerInfo::parse("127.0.0.1:3000"),
        verbatim: false,
        listener_index: 0,
        request_id: b"id",
    };
    let mut room = vec![0; 1024];
    let mut writer = FrameWriter::new(&mut room);
    forwarding.write_frame(&mut writer, TAG, false).expect("room");
    let needed = writer.len();
    for size in 0..needed {
        let mut writer = FrameWriter::new(&mut room[..size]);
        assert_eq!(forwarding.write_frame(&mut writer, TAG, false), Err(NoRoom));
        assert_eq!(writer.len(), 0);
    }
}

fn request(method: Method) -> Request {
    Request {
        refusal: Refusal::No,
        method,
        version: Version::Http11,
        keep_alive: true,
        upgrade: false,
        framing: BodyFraming::None,
        id: RequestId::from_client(b"id-1").expect("sane"),
        retries: 0,
        blameless: false,
        started_ms: 0,
        status: 0,
        worker: None,
        body_bytes_out: 0,
    }
}

fn respond(bytes: &str, announce: Announce) -> String {
    let mut head = ResponseHead::new();
    let parsed = head.parse(bytes.as_bytes(), false, &HeadLimits::RESPONSE);
    assert_eq!(parsed, Ok(Parsed::Complete), "{bytes:?}");
    let mut out = Outbox::default();
    let request = request(Method::Get);
    write_response_head(&mut out, &pool(), bytes.as_bytes(), &head, &request, announce, None);
    text_of(&mut out)
}

#[test]
fn response_fields_are_dropped_in_every_place() {
    let dropped = [
        "Connection: keep-alive",
        "Keep-Alive: timeout=5",
        "Proxy-Connection: x",
        "Upgrade: h2",
        "Keep-Alive:",
    ];
    let kept = ["A: 1", "Empty:", "Content-Length: 0"];
    for one in dropped {
        for other in dropped {
            for first in 0..=kept.len() {
                for second in 0..=kept.len() + 1 {
                    let mut lines = kept.to_vec();
                    lines.insert(first, one);
                    lines.insert(second, other);
                    let head = format!("HTTP/1.1 200 OK\r\n{}\r\n\r\nbody", lines.join("\r\n"));
                    let expected = format!(
                        "HTTP/1.1 200 OK\r\n{}\r\nX-Request-Id: id-1\r\n\r\n",
                        kept.join("\r\n")
                    );
                    assert_eq!(respond(&head, Announce::Nothing), expected, "{head:?}");
                }
            }
        }
    }
}

#[test]
fn a_response_of_dropped_fields_only_is_still_a_head() {
    let head = "HTTP/1.1 204 No Content\r\nConnection: close\r\nKeep-Alive: x\r\n\r\n";
    let expected = "HTTP/1.1 204 No Content\r\nX-Request-Id: id-1\r\n\r\n";
    assert_eq!(respond(head, Announce::Nothing), expected);
    assert_eq!(
        respond("HTTP/1.1 204 \r\n\r\n", Announce::Nothing),
        "HTTP/1.1 204 \r\nX-Request-Id: id-1\r\n\r\n"
    );
}

#[test]
fn response_fields_named_in_connection_are_dropped() {
    let head = "HTTP/1.1 200 OK\r\nX-Hop: 1\r\nConnection: x-hop\r\nContent-Length: 0\r\n\r\n";
    let expected = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Request-Id: id-1\r\n\r\n";
    assert_eq!(respond(head, Announce::Nothing), expected);
}

#[test]
fn status_reason_and_values_are_the_app_s_and_the_version_ours() {
    let head = "HTTP/1.0 299 Fine: really\r\nContent-Length:\t0  \r\nx-request-id: mine\r\n\r\n";
    let expected =
        "HTTP/1.1 299 Fine: really\r\nContent-Length:\t0  \r\nx-request-id: mine\r\n\r\n";
    assert_eq!(respond(head, Announce::Nothing), expected, "and no second id");
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert!(respond(chunked, Announce::Nothing).contains("\r\nTransfer-Encoding: chunked\r\n"));
}

#[test]
fn what_becomes_of_the_connection_is_announced() {
    let head = "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n";
    let kept = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Request-Id: id-1\r\n";
    assert_eq!(respond(head, Announce::Nothing), format!("{kept}\r\n"));
    assert_eq!(respond(head, Announce::KeepAlive), format!("{kept}Connection: keep-alive\r\n\r\n"));
    assert_eq!(respond(head, Announce::Close), format!("{kept}Connection: close\r\n\r\n"));
}

#[test]
fn tunnel_heads_keep_the_upgrade() {
    let bytes = "HTTP/1.1 101 Switching Protocols\r\nConnection: x, Upgrade\r\nUpgrade: websocket\r\nA: 1\r\n\r\n";
    let mut head = ResponseHead::new();
    head.parse(bytes.as_bytes(), false, &HeadLimits::RESPONSE).expect("valid");
    let text = |method| {
        let mut out = Outbox::default();
        write_tunnel_head(&mut out, &pool(), bytes.as_bytes(), &head, &request(method), None);
        text_of(&mut out)
    };
    let kept = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nA: 1\r\n";
    assert_eq!(text(Method::Get), format!("{kept}Connection: Upgrade\r\n\r\n"));
    assert_eq!(text(Method::Connect), format!("{kept}\r\n"));
}
