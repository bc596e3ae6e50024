//! The fields that are added and removed on the way.
//!
//! Owns: which request fields reach a worker and which the proxy adds, the same for responses, in both encodings
//! (HEAD frame, HTTP/1.1 text). Must never know: connections' states. Called by `worker` (requests)
//! and `conn` (responses).
//!
//! A request is always encoded anew from its parsed fields, never passed through as text: what the codec did not
//! understand cannot reach a worker.

use hostler_driver::Pool;
use hostler_protocol::http1::{
    BodyFraming, Field, FieldName, Method, REQUEST_FIELDS_CAP, RequestHead, ResponseHead, Version,
};
use hostler_protocol::worker::{FrameWriter, HeadFlags, HeadParts, NoRoom, StreamTag};

use crate::conn::outbox::Outbox;
use crate::conn::{ClientAddress, Request};
use crate::settings::ListenerInfo;
use crate::sticky::SetCookie;

/// Our name in `Via` (RFC 9110 section 7.6.3: a pseudonym instead of a host).
const VIA: &[u8] = b"1.1 hostler";
/// All that a worker says to a refused request which Node's parser would take: the answer is ours.
pub const REFUSAL_RETURNED: &[u8] = b"HOSTLER\n";
/// Most fields the proxy adds to a request.
const ADDED_MAX: usize = 7;

/// All that goes into a forwarded request head.
pub struct Forwarding<'a> {
    /// The head's bytes.
    pub bytes: &'a [u8],
    /// The parsed head.
    pub head: &'a RequestHead,
    /// Who sent it.
    pub client: &'a ClientAddress,
    /// Where it came in.
    pub listener: &'a ListenerInfo,
    /// Nothing is added, removed or replaced: `hostler exec` is not seen by either side.
    pub verbatim: bool,
    /// The listener's number.
    pub listener_index: u8,
    /// Its id.
    pub request_id: &'a [u8],
}

impl<'a> Forwarding<'a> {
    /// Is the client's field replaced or dropped?
    fn drops(&self, field: &Field) -> bool {
        if self.verbatim {
            return false;
        }
        match field.known {
            // The body keeps its framing; apps look at it to see whether there is a body.
            FieldName::TransferEncoding => false,
            FieldName::XForwardedFor
            | FieldName::XForwardedProto
            | FieldName::XForwardedHost
            | FieldName::XForwardedPort
            | FieldName::XRealIp
            | FieldName::Forwarded
            | FieldName::XRequestId => true,
            _ => self.head.is_hop_by_hop(self.bytes, field),
        }
    }

    fn host(&self) -> &'a [u8] {
        self.head.host.map_or(b"", |span| span.of(self.bytes))
    }

    /// The value that is forwarded. With a target in absolute form its authority replaces `Host` (RFC 9112 section
    /// 3.2.2): two different hosts in one request are a way around access rules.
    fn value(&self, field: &Field) -> &'a [u8] {
        match field.known {
            FieldName::Host if !self.verbatim => self.host(),
            _ => field.value.of(self.bytes),
        }
    }

    /// The proxy's own fields; those without a value are left out.
    fn added(&self) -> impl Iterator<Item = (FieldName, &'a [u8])> {
        let host = self.host();
        let ip = self.client.ip();
        let fields: [(FieldName, &'a [u8]); ADDED_MAX] = [
            (FieldName::XForwardedFor, ip),
            (FieldName::XForwardedProto, b"http"),
            (FieldName::XForwardedHost, host),
            (FieldName::XForwardedPort, self.listener.port_text.as_bytes()),
            (FieldName::XRealIp, ip),
            (FieldName::XRequestId, self.request_id),
            (FieldName::Via, VIA),
        ];
        fields.into_iter().filter(|(_, value)| !self.verbatim && !value.is_empty())
    }

    /// Writes the HEAD frame; on [`NoRoom`] the writer is as it was.
    pub fn write_frame(
        &self,
        out: &mut FrameWriter<'_>,
        tag: StreamTag,
        new_connection: bool,
    ) -> Result<(), NoRoom> {
        let fields = self.head.fields();
        // Asked once: where `Connection` names fields, it is a search.
        let mut kept = [false; REQUEST_FIELDS_CAP];
        let mut count = self.added().count();
        for (field, kept) in fields.iter().zip(&mut kept) {
            *kept = !self.drops(field);
            count += usize::from(*kept);
        }
        let client = new_connection.then(|| (self.client.ip(), self.client.port()));
        let mut writer = out.begin_head(
            tag,
            &HeadParts {
                method: self.head.method,
                flags: self.flags(),
                target: self.head.target.of(self.bytes),
                client,
                listener: self.listener_index,
                fields: count,
            },
        )?;
        for (field, kept) in fields.iter().zip(kept) {
            if kept {
                writer.field(field.number, field.name.of(self.bytes), self.value(field))?;
            }
        }
        for (name, value) in self.added() {
            writer.field(name.usual_number(), name.as_str().as_bytes(), value)?;
        }
        writer.finish()
    }

    fn flags(&self) -> HeadFlags {
        HeadFlags::default()
            .with(
                HeadFlags::NO_BODY,
                matches!(self.head.framing, BodyFraming::None | BodyFraming::Length(0)),
            )
            .with(HeadFlags::KEEP_ALIVE, self.head.keep_alive)
            .with(HeadFlags::HTTP_1_0, self.head.version == Version::Http10)
            .with(HeadFlags::EXPECT_CONTINUE, self.head.expect_continue)
    }

    /// Writes the head as HTTP/1.1 text for a plain worker connection.
    pub fn write_text(&self, out: &mut Outbox, pool: &Pool) {
        out.write(pool, self.head.method.as_str().as_bytes());
        out.write(pool, b" ");
        out.write(pool, self.head.target.of(self.bytes));
        // A 1.0 client gets a 1.0 answer: no chunked coding, no interim responses.
        match self.head.version {
            Version::Http11 => out.write(pool, b" HTTP/1.1\r\n"),
            Version::Http10 => out.write(pool, b" HTTP/1.0\r\n"),
        }
        for field in self.head.fields() {
            if !self.drops(field) {
                write_field(out, pool, field.name.of(self.bytes), self.value(field));
            } else if self.head.upgrade && field.known == FieldName::Upgrade {
                write_field(out, pool, b"Connection", b"Upgrade");
                write_field(out, pool, b"Upgrade", field.value.of(self.bytes));
            }
        }
        for (name, value) in self.added() {
            write_field(out, pool, name.as_str().as_bytes(), value);
        }
        out.write(pool, b"\r\n");
    }
}

/// Writes the line that begins the plain connection of a refused request (`docs/worker-protocol.md`, "Refused requests"): who
/// the client is, so that the worker's socket has its address, and the status that we would answer.
pub fn write_client_line(
    out: &mut Outbox,
    pool: &Pool,
    client: &ClientAddress,
    listener: u8,
    refused: u16,
) {
    let ip = if client.ip().is_empty() { b"-" } else { client.ip() };
    out.write(pool, b"HOSTLER ");
    out.write(pool, ip);
    out.write(pool, format!(" {} {listener} {refused}\n", client.port()).as_bytes());
}

fn write_field(out: &mut Outbox, pool: &Pool, name: &[u8], value: &[u8]) {
    out.write_all(pool, [name, b": ", value, b"\r\n"]);
}

#[inline]
fn write_cookie(out: &mut Outbox, pool: &Pool, cookie: Option<SetCookie<'_>>) {
    if let Some(cookie) = cookie {
        write_set_cookie(out, pool, cookie);
    }
}

/// Piece by piece: `write_all` is compiled into the one place that writes a field, and stays there.
#[cold]
fn write_set_cookie(out: &mut Outbox, pool: &Pool, cookie: SetCookie<'_>) {
    let digits = cookie.digits();
    for piece in [b"Set-Cookie: ", cookie.name.as_bytes(), b"=", &digits, SetCookie::ATTRIBUTES] {
        out.write(pool, piece);
    }
}

/// What the response says about the client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announce {
    /// The default of the client's version.
    Nothing,
    /// HTTP/1.0 and the connection stays.
    KeepAlive,
    /// The same, and how long it stays when idle: the app's `Keep-Alive` field, whose time is in effect here.
    IdleTime,
    /// The connection ends.
    Close,
}

/// Writes the response head for the client: hop-by-hop fields out, ours in. `bytes` begins with the head.
pub fn write_response_head(
    out: &mut Outbox,
    pool: &Pool,
    bytes: &[u8],
    head: &ResponseHead,
    request: &Request,
    announce: Announce,
    cookie: Option<SetCookie<'_>>,
) {
    let coding = request.version == Version::Http11;
    let idle_time = announce == Announce::IdleTime;
    let has_id = write_kept(out, pool, bytes, head, Kept { coding, upgrade: false, idle_time });
    if !has_id {
        write_field(out, pool, b"X-Request-Id", request.id.as_bytes());
    }
    write_cookie(out, pool, cookie);
    match announce {
        Announce::Nothing => out.write(pool, b"\r\n"),
        Announce::KeepAlive | Announce::IdleTime => {
            out.write(pool, b"Connection: keep-alive\r\n\r\n")
        }
        Announce::Close => out.write(pool, b"Connection: close\r\n\r\n"),
    }
}

/// Writes the head that ends HTTP on this connection (101, or 2xx to CONNECT).
pub fn write_tunnel_head(
    out: &mut Outbox,
    pool: &Pool,
    bytes: &[u8],
    head: &ResponseHead,
    request: &Request,
    cookie: Option<SetCookie<'_>>,
) {
    write_kept(out, pool, bytes, head, Kept { coding: true, upgrade: true, idle_time: false });
    write_cookie(out, pool, cookie);
    if request.method == Method::Connect {
        out.write(pool, b"\r\n");
    } else {
        out.write(pool, b"Connection: Upgrade\r\n\r\n");
    }
}

/// What a response to a client begins with.
const VERSION: &[u8] = b"HTTP/1.1 ";
/// Offset of the status code: `HTTP/1.x` and a space come before it.
const STATUS_AT: usize = VERSION.len();

/// Which of the fields about this connection's own message are kept.
#[derive(Clone, Copy)]
struct Kept {
    /// The body is forwarded as it was coded. A client of HTTP/1.0 does not know codings: it gets the content
    /// without them (RFC 9112 section 6.1 and 7).
    coding: bool,
    upgrade: bool,
    idle_time: bool,
}

/// Status line and end-to-end fields; says whether the app set an `X-Request-Id`. Runs of kept lines are
/// copied at once.
fn write_kept(
    out: &mut Outbox,
    pool: &Pool,
    bytes: &[u8],
    head: &ResponseHead,
    kept: Kept,
) -> bool {
    // The version is ours, status and reason are the app's. Most apps write the same version.
    let mut start = 0;
    if !bytes.starts_with(VERSION) {
        out.write(pool, VERSION);
        start = STATUS_AT;
    }
    let mut end = line_end(bytes, STATUS_AT);
    let mut has_id = false;
    for field in head.fields() {
        let keep = match field.known {
            FieldName::TransferEncoding | FieldName::Trailer => kept.coding,
            FieldName::Upgrade => kept.upgrade,
            FieldName::KeepAlive => kept.idle_time,
            FieldName::XRequestId => {
                has_id = true;
                true
            }
            _ => !head.is_hop_by_hop(bytes, field),
        };
        let next = line_end(bytes, usize::from(field.value.end));
        if !keep {
            out.write(pool, &bytes[start..end]);
            start = next;
        }
        end = next;
    }
    out.write(pool, &bytes[start..end]);
    has_id
}

/// Offset behind the LF that ends the line at `at`, which is there already but for white space behind a value.
fn line_end(bytes: &[u8], at: usize) -> usize {
    if bytes[at..].starts_with(b"\r\n") {
        return at + 2;
    }
    at + memchr::memchr(b'\n', &bytes[at..]).map_or(0, |found| found + 1)
}

#[cfg(test)]
mod tests;
