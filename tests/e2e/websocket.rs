//! WebSocket through the proxy, against the `ws` package.

use std::time::Duration;

use crate::support::{Client, Instance, Setup, Variant, eventually, matrix};

matrix!(all: echo, closing, refused_upgrades, upgrades_with_a_body, open_sockets_take_no_request_s_place);

pub(crate) const TEXT: u8 = 1;
const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

fn start(variant: Variant) -> Instance {
    Setup::new(variant, "websocket.js").start()
}

/// A WebSocket client that masks as clients must.
pub(crate) struct Socket(Client);

impl Socket {
    pub(crate) fn open(instance: &Instance) -> Self {
        Self::try_over(instance.client()).expect("101")
    }

    /// Over an open connection; what was answered instead, if it was not agreed to.
    pub(crate) fn try_over(mut client: Client) -> Result<Self, String> {
        let sent = client.try_send(
            "GET /ws HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        );
        sent.map_err(|error| error.to_string())?;
        let response = client.read_head().map_err(|error| error.to_string())?;
        if response.status != 101 {
            return Err(format!("{response:?}"));
        }
        assert_eq!(response.field("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        assert!(
            response
                .field("upgrade")
                .is_some_and(|upgrade| upgrade.eq_ignore_ascii_case("websocket"))
        );
        Ok(Self(client))
    }

    pub(crate) fn try_send(&mut self, opcode: u8, payload: &[u8]) -> Result<(), String> {
        self.0.try_send(Self::frame(opcode, payload)).map_err(|error| error.to_string())
    }

    pub(crate) fn send(&mut self, opcode: u8, payload: &[u8]) {
        self.0.send(Self::frame(opcode, payload));
    }

    fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
        const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
        let mut frame = vec![0x80 | opcode];
        match payload.len() {
            0..126 => frame.push(0x80 | payload.len() as u8),
            126..65_536 => {
                frame.push(0x80 | 126);
                frame.extend((payload.len() as u16).to_be_bytes());
            }
            _ => {
                frame.push(0x80 | 127);
                frame.extend((payload.len() as u64).to_be_bytes());
            }
        }
        frame.extend(MASK);
        frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        frame
    }

    pub(crate) fn receive(&mut self) -> (u8, Vec<u8>) {
        self.try_receive().expect("a frame")
    }

    pub(crate) fn try_receive(&mut self) -> Result<(u8, Vec<u8>), String> {
        let mut read = |length| self.0.read_exact(length).map_err(|error| error.to_string());
        let head = read(2)?;
        let length = match head[1] {
            126 => {
                let bytes = read(2)?;
                usize::from(u16::from_be_bytes([bytes[0], bytes[1]]))
            }
            127 => {
                let bytes = read(8)?;
                u64::from_be_bytes(bytes.try_into().expect("8 bytes")) as usize
            }
            short => usize::from(short),
        };
        Ok((head[0] & 0x0f, read(length)?))
    }
}

fn echo(variant: Variant) {
    let instance = start(variant);
    let mut first = Socket::open(&instance);
    let mut second = Socket::open(&instance);
    for index in 0..100 {
        for (name, socket) in [("first", &mut first), ("second", &mut second)] {
            let text = format!("{name} {index}");
            socket.send(TEXT, text.as_bytes());
            assert_eq!(socket.receive(), (TEXT, text.into_bytes()));
        }
    }
    let binary: Vec<u8> = (0..100_000_u32).map(|index| (index % 251) as u8).collect();
    first.send(BINARY, &binary);
    let (opcode, got) = first.receive();
    assert!(opcode == BINARY && got == binary, "100 kB came back changed");
    second.send(PING, b"are you there");
    assert_eq!(second.receive(), (PONG, b"are you there".to_vec()));
    second.send(TEXT, b"who");
    assert_eq!(second.receive(), (TEXT, b"127.0.0.1".to_vec()));
    // A frame right behind the handshake, in the same piece.
    let mut hasty = instance.client();
    let mut piece =
        b"GET /ws HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            .to_vec();
    piece.extend(Socket::frame(TEXT, b"hasty"));
    hasty.send(piece);
    assert_eq!(hasty.read_head().expect("101").status, 101);
    assert_eq!(Socket(hasty).receive(), (TEXT, b"hasty".to_vec()));
    assert_eq!(instance.get("/").text(), "plain\n");
    drop((first, second));
    instance.finish();
}

fn closing(variant: Variant) {
    let instance = start(variant);
    // The client closes: the code comes back.
    let mut socket = Socket::open(&instance);
    socket.send(CLOSE, &1000_u16.to_be_bytes());
    let (opcode, payload) = socket.receive();
    assert_eq!((opcode, &payload[..2]), (CLOSE, &1000_u16.to_be_bytes()[..]));
    socket.0.expect_close();
    // The app closes with a code of its own.
    let mut socket = Socket::open(&instance);
    socket.send(TEXT, b"close 4001");
    let (opcode, payload) = socket.receive();
    assert_eq!((opcode, &payload[..2]), (CLOSE, &4001_u16.to_be_bytes()[..]));
    assert_eq!(&payload[2..], b"as asked");
    socket.send(CLOSE, &4001_u16.to_be_bytes());
    socket.0.expect_close();
    // The client just goes.
    let socket = Socket::open(&instance);
    socket.0.reset();
    drop(Socket::open(&instance));
    eventually("tunnels are closed", || (instance.shards().conns == 0).then_some(()));
    instance.finish();
}

fn refused_upgrades(variant: Variant) {
    let instance = start(variant);
    // `ws` refuses a bad handshake with 400 and closes.
    let mut client = instance.client();
    client.send(
        "GET /ws HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\n\r\n",
    );
    assert_eq!(client.response().status, 400);
    // Another path of the same server.
    let mut client = instance.client();
    client.send(
        "GET /other HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    );
    assert_eq!(client.response().status, 400);
    // An open tunnel does not outlive the stop of the instance.
    let socket = Socket::open(&instance);
    let mut instance = instance;
    instance.signal(rustix::process::Signal::TERM);
    let status = instance.wait_exit(Duration::from_secs(30));
    assert_eq!(status.code(), Some(0), "{}", instance.printed());
    instance.assert_gone();
    drop(socket);
}

/// Node gives an app that upgrades whatever follows the head, chunks and all; without a listener for upgrades the request is an
/// ordinary one with a body.
fn upgrades_with_a_body(variant: Variant) {
    const HEAD: &str = "POST /echo HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\
                        Transfer-Encoding: chunked\r\n\r\n";
    let instance = Setup::new(variant, "upgrade-raw.js").start();
    let mut client = instance.client();
    client.send(format!("{HEAD}5;a=b\r\nhel"));
    assert_eq!(client.read_head().expect("101").status, 101);
    client.send("lo\r\n0\r\n\r\nmore");
    client.half_close();
    assert_eq!(client.read_to_close(), b"5;a=b\r\nhello\r\n0\r\n\r\nmore");
    drop(client);
    instance.finish();
    let instance = Setup::new(variant, "basic.js").start();
    let mut client = instance.client();
    for _ in 0..2 {
        client.send(format!("{HEAD}5;a=b\r\nhel"));
        client.send("lo\r\n1\r\n!\r\n0\r\n\r\n");
        assert_eq!(client.response().text(), "hello!");
    }
    drop(client);
    instance.finish();
}

/// A worker that has many open WebSockets serves requests as before: they are not work.
fn open_sockets_take_no_request_s_place(variant: Variant) {
    let instance = Setup::new(variant, "websocket.js").options("--worker-requests 2").start();
    let mut sockets: Vec<Socket> = (0..6).map(|_| Socket::open(&instance)).collect();
    let mut client = instance.client();
    assert_eq!(client.get("/").body, b"plain\n");
    eventually("all are counted", || {
        let load = instance.status().workers[0].load.clone()?;
        (load.upgraded == 6).then_some(())
    });
    for (index, socket) in sockets.iter_mut().enumerate() {
        let text = format!("message {index}");
        socket.send(TEXT, text.as_bytes());
        assert_eq!(socket.receive(), (TEXT, text.into_bytes()));
    }
    drop(sockets);
    eventually("none is left", || {
        let load = instance.status().workers[0].load.clone()?;
        (load.upgraded == 0).then_some(())
    });
    assert_eq!(client.get("/").body, b"plain\n");
}
