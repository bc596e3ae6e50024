//! A request as a client writes it and as an app must see it.
//!
//! Owns: the choice of requests, their bytes, and what forwarding may change about them (written apart from the
//! proxy's own code, so that the two check each other). Must never know: sockets. Used by `client`, `worker`
//! and `oracle`.

use crate::rng::{Rng, body};

/// How the body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyKind {
    /// There is none.
    None,
    /// `Content-Length`.
    Length,
    /// Chunked, with chunks of up to this many bytes.
    Chunked(usize),
}

/// One request.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its number, unique in the world.
    pub id: usize,
    /// Its method.
    pub method: &'static str,
    /// HTTP/1.0 instead of 1.1.
    pub http10: bool,
    /// Names and values in the order sent.
    pub fields: Vec<(String, String)>,
    /// How the body is framed.
    pub body: BodyKind,
    /// Its length.
    pub body_len: usize,
    /// Trailer fields of a chunked body.
    pub trailers: Vec<(String, String)>,
    /// `Expect: 100-continue`.
    pub expects: bool,
    /// `Upgrade`, or CONNECT.
    pub upgrade: bool,
    /// The upgrade is to WebSocket.
    pub websocket: bool,
    /// The client ends the connection after it.
    pub close: bool,
    /// Statuses of which the proxy must answer one, because the request is broken; empty when it is valid.
    pub refusals: &'static [u16],
}

/// What a seed wants of its requests.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestWishes {
    /// Percent of requests that are broken.
    pub broken: u32,
    /// Percent of upgrades among the last requests of a connection.
    pub upgrades: u32,
    /// Longest body.
    pub body_max: usize,
    /// Most requests have large bodies.
    pub uploads: bool,
    /// Percent of requests with a Host of thousands of bytes.
    pub long_hosts: u32,
}

const METHODS: &[&str] =
    &["GET", "GET", "GET", "POST", "POST", "PUT", "HEAD", "DELETE", "PATCH", "PROPFIND"];

impl Request {
    /// Chooses a request; `last`: it may be one that ends the connection.
    pub fn choose(id: usize, last: bool, wishes: &RequestWishes, rng: &mut Rng) -> Self {
        let mut request = Self {
            id,
            method: rng.pick(METHODS),
            http10: rng.chance(6),
            fields: Vec::new(),
            body: BodyKind::None,
            body_len: 0,
            trailers: Vec::new(),
            expects: false,
            upgrade: false,
            websocket: false,
            close: last && rng.chance(30),
            refusals: &[],
        };
        if last && rng.chance(wishes.upgrades) {
            request.become_upgrade(rng);
            return request;
        }
        let host = if rng.chance(wishes.long_hosts) {
            "h".repeat(rng.within(100, 500))
        } else {
            "app.test".to_owned()
        };
        request.field("Host", &host);
        if wishes.uploads && rng.chance(70) {
            request.method = "POST";
        }
        if matches!(request.method, "POST" | "PUT" | "PATCH") || rng.chance(4) {
            request.choose_body(wishes, rng);
        }
        request.choose_fields(rng);
        request.choose_connection(last, rng);
        request
    }

    /// The simplest request.
    pub fn get(id: usize) -> Self {
        let mut request = Self {
            id,
            method: "GET",
            http10: false,
            fields: Vec::new(),
            body: BodyKind::None,
            body_len: 0,
            trailers: Vec::new(),
            expects: false,
            upgrade: false,
            websocket: false,
            close: false,
            refusals: &[],
        };
        request.field("Host", "app.test");
        request
    }

    fn field(&mut self, name: &str, value: &str) {
        self.fields.push((name.to_owned(), value.to_owned()));
    }

    fn become_upgrade(&mut self, rng: &mut Rng) {
        self.upgrade = true;
        self.http10 = false;
        self.close = true;
        self.field("Host", "app.test:80");
        if rng.chance(25) {
            self.method = "CONNECT";
        } else {
            self.method = "GET";
            self.websocket = rng.chance(60);
            self.field("Connection", "Upgrade");
            self.field("Upgrade", self.protocol());
        }
    }

    fn choose_body(&mut self, wishes: &RequestWishes, rng: &mut Rng) {
        self.body_len = rng.length(wishes.body_max);
        if wishes.uploads {
            self.body_len = rng.within(200_000, wishes.body_max);
        }
        if !self.http10 && rng.chance(45) {
            self.body = BodyKind::Chunked(rng.pick(&[1, 3, 16, 100, 1_500, 9_000, 100_000]));
            if let BodyKind::Chunked(size) = self.body {
                // A chunk of a byte costs six on the wire.
                self.body_len = self.body_len.min(size * 4_000);
            }
            self.field("Transfer-Encoding", rng.pick(&["chunked", "Chunked"]));
            if rng.chance(30) {
                self.trailers.push(("X-Sum".into(), "abc".into()));
                self.trailers.push(("x-more".into(), "y".repeat(rng.within(0, 300))));
            }
        } else {
            self.body = BodyKind::Length;
            self.field("content-length", &self.body_len.to_string());
        }
        if !self.http10 && self.body_len > 0 && rng.chance(15) {
            self.expects = true;
            self.field("Expect", "100-continue");
        }
    }

    fn choose_fields(&mut self, rng: &mut Rng) {
        let some: &[(&str, &str)] = &[
            ("User-Agent", "sim/1"),
            ("accept", "*/*"),
            ("X-CuStOm-Spelling", "kept"),
            ("Cookie", "a=b; c=d"),
            ("X-Forwarded-For", "6.6.6.6"),
            ("X-Forwarded-Proto", "https"),
            ("Forwarded", "for=6.6.6.6"),
            ("Via", "1.0 other"),
            ("TE", "trailers"),
            ("Keep-Alive", "timeout=9"),
            ("X-Request-Id", "client-made-id"),
            ("X-Empty", ""),
        ];
        for (name, value) in some {
            if rng.chance(20) {
                self.field(name, value);
            }
        }
        if rng.chance(5) {
            self.field("X-Long", &"v".repeat(rng.within(500, 5_000)));
        }
    }

    fn choose_connection(&mut self, last: bool, rng: &mut Rng) {
        if self.http10 {
            if last || rng.chance(20) {
                self.close = true;
            } else {
                self.field("Connection", "keep-alive");
            }
        } else if self.close {
            self.field("Connection", "close");
        } else if rng.chance(10) {
            self.field("Connection", "keep-alive, X-Hop");
            self.field("X-Hop", "must not pass");
        }
    }

    /// The request target: it carries the number of the request.
    pub fn target(&self) -> String {
        if self.method == "CONNECT" {
            format!("r{}.test:80", self.id)
        } else {
            format!("/r/{}?a=b%20c", self.id)
        }
    }

    /// The number in a target.
    pub fn id_of_target(target: &[u8]) -> Option<usize> {
        let text = std::str::from_utf8(target).ok()?;
        let rest = text.strip_prefix("/r/").or_else(|| text.strip_prefix('r'))?;
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    }

    /// What an upgrade is to.
    pub fn protocol(&self) -> &'static str {
        if self.websocket { "websocket" } else { "echo" }
    }

    /// The key of its body.
    pub fn body_key(id: usize) -> u64 {
        2 * id as u64
    }

    /// May be repeated without harm (RFC 9110 section 9.2.2).
    pub fn is_idempotent(&self) -> bool {
        matches!(self.method, "GET" | "HEAD" | "PUT" | "DELETE" | "OPTIONS" | "TRACE" | "PROPFIND")
    }

    /// The proxy may send it to another worker when the first one is lost.
    pub fn is_repeatable(&self) -> bool {
        let bodiless = matches!(self.body, BodyKind::None | BodyKind::Length) && self.body_len == 0;
        self.is_idempotent() && bodiless
    }

    /// The head's bytes.
    pub fn head(&self) -> Vec<u8> {
        let version = if self.http10 { "1.0" } else { "1.1" };
        let mut text = format!("{} {} HTTP/{version}\r\n", self.method, self.target());
        for (name, value) in &self.fields {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        text.into_bytes()
    }

    /// The body's bytes on the wire.
    pub fn wire_body(&self) -> Vec<u8> {
        let key = Self::body_key(self.id);
        match self.body {
            BodyKind::None => Vec::new(),
            BodyKind::Length => body(key, 0, self.body_len),
            BodyKind::Chunked(size) => {
                let mut out = Vec::new();
                let mut at = 0;
                while at < self.body_len {
                    let end = (at + size).min(self.body_len);
                    out.extend_from_slice(format!("{:x}\r\n", end - at).as_bytes());
                    out.extend_from_slice(&body(key, at, end));
                    out.extend_from_slice(b"\r\n");
                    at = end;
                }
                out.extend_from_slice(b"0\r\n");
                for (name, value) in &self.trailers {
                    out.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
                }
                out.extend_from_slice(b"\r\n");
                out
            }
        }
    }

    /// The fields as app code must see them. `plain`: over the plain path. `None` for a value stands for any.
    pub fn forwarded(&self, plain: bool, port: &str) -> Vec<(String, Option<String>)> {
        let mut out = Vec::new();
        let listed: Vec<String> = self
            .fields
            .iter()
            .filter(|(name, _)| name == "Connection")
            .flat_map(|(_, value)| value.split(',').map(|part| part.trim().to_ascii_lowercase()))
            .collect();
        for (name, value) in &self.fields {
            let lower = name.to_ascii_lowercase();
            let ours = [
                "x-forwarded-for",
                "x-forwarded-proto",
                "x-forwarded-host",
                "x-forwarded-port",
                "x-real-ip",
                "forwarded",
                "x-request-id",
            ];
            let hop = ["connection", "keep-alive", "proxy-connection", "te", "upgrade"];
            if lower == "upgrade" && plain {
                out.push(("Connection".to_owned(), Some("Upgrade".to_owned())));
                out.push(("Upgrade".to_owned(), Some(value.clone())));
            }
            if ours.contains(&lower.as_str())
                || hop.contains(&lower.as_str())
                || listed.contains(&lower)
            {
                continue;
            }
            out.push((name.clone(), Some(value.clone())));
        }
        let find = |wanted: &str| {
            self.fields.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone())
        };
        out.push(("X-Forwarded-Proto".to_owned(), Some("http".to_owned())));
        out.push(("X-Forwarded-Host".to_owned(), find("Host")));
        out.push(("X-Forwarded-Port".to_owned(), Some(port.to_owned())));
        out.push(("X-Request-Id".to_owned(), find("X-Request-Id")));
        out.push(("Via".to_owned(), Some("1.1 hostler".to_owned())));
        out
    }
}

/// Bytes that are no valid request, and the statuses that may answer them.
pub fn garbage(id: usize, rng: &mut Rng) -> (Vec<u8>, &'static [u16]) {
    let cases: &[(String, &'static [u16])] = &[
        (format!("GET /r/{id} HTTP/1.1\r\n\r\n"), &[400]),
        (format!("GET /r/{id} HTTP/1.1\nHost: a\n\n"), &[400]),
        (format!("GET /r/{id} HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"), &[400]),
        (
            format!(
                "POST /r/{id} HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"
            ),
            &[400],
        ),
        (format!("POST /r/{id} HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\nabc"), &[400]),
        (format!("POST /r/{id} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\nabc"), &[501]),
        (format!("GET /r/{id} HTTP/1.1\r\nHost: {}\r\n\r\n", "h".repeat(600)), &[400]),
        (format!("GET /r/{id} HTTP/2.0\r\nHost: a\r\n\r\n"), &[505, 400]),
        (format!("GET /r/{id}\r\n\r\n"), &[400]),
        (format!("GET /r/{id} HTTP/1.1\r\nHost: a\r\nX: a\r\n folded\r\n\r\n"), &[400]),
        (format!("GET /r/{id} HTTP/1.1\r\nHost : a\r\n\r\n"), &[400]),
        (format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "t".repeat(9_000)), &[414]),
        (format!("GET /r/{id} HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(17_000)), &[431]),
        ("\x16\x03\x01\x02\x00\x01\x00\x01\x7c\x03\x03 not http at all\r\n\r\n".to_owned(), &[400]),
        (format!("BREW /r/{id} HTTP/1.1\r\nHost: a\r\n\r\n"), &[400, 501]),
    ];
    let (text, statuses) = &cases[rng.below(cases.len())];
    (text.clone().into_bytes(), statuses)
}
