//! Large bodies: streamed with back-pressure in both directions, bounded memory in the proxy.
//!
//! The size is 128 MiB by default so that the whole run stays quick; `HOSTLER_TEST_BODY_MIB=1024` gives the full
//! size.

use std::io::ErrorKind;
use std::time::Duration;

use crate::support::{Instance, Setup, Transport, Variant, eventually, matrix, memory_kib};

matrix!(all: upload_to_a_slow_app, download_to_a_slow_reader, upload_counts_right);

/// What the proxy may have resident while a body of any size passes.
const PROXY_KIB_MAX: u64 = 32 * 1024;

/// More than this in flight between the two ends means that nobody holds the sender back: socket
/// buffers on both sides of the proxy take some MiB each.
const IN_FLIGHT_MAX: usize = 48 << 20;

fn body_bytes() -> usize {
    let mib = std::env::var("HOSTLER_TEST_BODY_MIB").ok().and_then(|mib| mib.parse().ok());
    mib.unwrap_or(128_usize) << 20
}

fn assert_memory_bounded(instance: &Instance) {
    let peak = memory_kib(instance.proxy_pid(), "VmHWM");
    assert!(peak < PROXY_KIB_MAX, "the proxy's peak is {peak} KiB");
}

fn release(instance: &Instance, id: &str) {
    eventually("the request waits in the app", || {
        let released = instance.get(&format!("/release?id={id}")).json();
        (released["released"] == true).then_some(())
    });
}

fn upload_to_a_slow_app(variant: Variant) {
    let instance = Setup::new(variant, "basic.js").start();
    let total = body_bytes();
    let piece = vec![b'u'; 1 << 20];
    let mut client = instance.client();
    client.send(format!(
        "POST /slow-upload?id=up HTTP/1.1\r\nHost: test\r\nContent-Length: {total}\r\n\r\n"
    ));
    // The app does not read: the client must be held back.
    client.set_patience(Duration::from_millis(500));
    let mut sent = 0;
    while sent < total {
        match client.send_some(&piece[..piece.len().min(total - sent)]) {
            Ok(count) => sent += count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                break;
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(sent < IN_FLIGHT_MAX.min(total), "{sent} bytes went off to an app that reads nothing");
    instance.assert_serves();
    assert_memory_bounded(&instance);
    client.set_patience(crate::support::PATIENCE);
    release(&instance, "up");
    while sent < total {
        let count = piece.len().min(total - sent);
        client.send(&piece[..count]);
        sent += count;
    }
    assert_eq!(client.response().json()["bytes"], total);
    assert_eq!(client.get("/hello").status, 200);
    assert_memory_bounded(&instance);
    drop(client);
    instance.finish();
}

fn download_to_a_slow_reader(variant: Variant) {
    let instance = Setup::new(variant, "basic.js").start();
    let total = body_bytes();
    let mut client = instance.client();
    client.send(format!("GET /download?bytes={total} HTTP/1.1\r\nHost: test\r\n\r\n"));
    let head = client.read_head().expect("head");
    assert_eq!(head.field("content-length"), Some(&*total.to_string()));
    // Nothing is read until the figures of the proxy stand still: everything between has filled up.
    for _ in 0..20 {
        instance.assert_serves();
    }
    assert_memory_bounded(&instance);
    let worker_kib = memory_kib(instance.worker_pid(0), "VmRSS");
    assert!(worker_kib < 256 * 1024, "the app was not held back: {worker_kib} KiB");
    let mut read = 0;
    while read < total {
        let count = client.discard((4 << 20).min(total - read)).expect("body");
        assert!(count > 0, "closed after {read} of {total} bytes");
        read += count;
    }
    assert_eq!(client.get("/hello").status, 200);
    assert_memory_bounded(&instance);
    drop(client);
    instance.finish();
}

fn upload_counts_right(variant: Variant) {
    let instance = Setup::new(variant, "basic.js").start();
    // Several at once, chunked, odd sizes: the hash in the app tells whether a byte is out of place.
    let body: Vec<u8> =
        (0..3_000_017_u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut client = instance.client();
    client.send(format!(
        "POST /count HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n",
        body.len()
    ));
    client.send(&body);
    let whole = client.response().json();
    assert_eq!(whole["bytes"], body.len());
    std::thread::scope(|scope| {
        for size in [1_000, 4_093, 65_536, 300_007] {
            let (body, instance, whole) = (&body, &instance, &whole);
            scope.spawn(move || {
                let mut client = instance.client();
                client.send(
                    "POST /count HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n",
                );
                for chunk in body.chunks(size) {
                    let framed =
                        [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat();
                    client.send(framed);
                }
                client.send("0\r\n\r\n");
                assert_eq!(client.response().json(), *whole, "chunks of {size}");
            });
        }
    });
    if variant.transport == Transport::Frames {
        assert_memory_bounded(&instance);
    }
    drop(client);
    instance.finish();
}
