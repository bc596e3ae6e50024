//! A raw HTTP/1.1 client that sends exactly the bytes it is told.
//!
//! Owns: sockets with deadlines and a small response reader. Must never know: which server answers.
//! Written for tests: strict about what it reads, free about what it sends.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use super::PATIENCE;

/// Where a client connects to.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Why a response could not be read.
#[derive(Debug)]
pub(crate) enum ClientError {
    /// The server closed; what had arrived of an unfinished response.
    Closed(Vec<u8>),
    /// The server reset the connection.
    Reset,
    /// Nothing for the length of the deadline.
    Silent(Vec<u8>),
    /// What arrived is not HTTP/1.1.
    Broken(String),
}

/// One response with everything before it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Response {
    pub(crate) version: String,
    pub(crate) status: u16,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
    /// Statuses of 1xx responses that came first.
    pub(crate) interim: Vec<u16>,
}

impl Response {
    /// The value of a field that occurs at most once.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut values =
            self.fields.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| &**v);
        let value = values.next();
        assert!(values.next().is_none(), "{name} occurs twice: {:?}", self.fields);
        value
    }

    /// The body as text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text body")
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A connection.
pub(crate) struct Client {
    stream: Stream,
    /// Received and not yet used.
    input: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(target: &Target) -> Self {
        Self::try_connect(target).expect("connect")
    }

    /// As `connect`, for tests where nobody may be there.
    pub(crate) fn try_connect(target: &Target) -> io::Result<Self> {
        let stream = match target {
            Target::Tcp(address) => {
                let stream = TcpStream::connect_timeout(address, PATIENCE)?;
                stream.set_nodelay(true).expect("nodelay");
                Stream::Tcp(stream)
            }
            Target::Unix(path) => Stream::Unix(UnixStream::connect(path)?),
        };
        let mut client = Self { stream, input: Vec::new() };
        client.set_patience(PATIENCE);
        Ok(client)
    }

    /// Deadline of each single read and write.
    pub(crate) fn set_patience(&mut self, patience: Duration) {
        let patience = Some(patience);
        match &self.stream {
            Stream::Tcp(stream) => {
                stream.set_read_timeout(patience).expect("timeout");
                stream.set_write_timeout(patience).expect("timeout");
            }
            Stream::Unix(stream) => {
                stream.set_read_timeout(patience).expect("timeout");
                stream.set_write_timeout(patience).expect("timeout");
            }
        }
    }

    /// The address that the server sees; unix sockets have none.
    pub(crate) fn local_port(&self) -> u16 {
        match &self.stream {
            Stream::Tcp(stream) => stream.local_addr().expect("bound").port(),
            Stream::Unix(_) => 0,
        }
    }

    /// Sends bytes as they are.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).expect("send");
    }

    /// As `send`, for tests where the server may have closed already.
    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        match &mut self.stream {
            Stream::Tcp(stream) => stream.write_all(bytes.as_ref()),
            Stream::Unix(stream) => stream.write_all(bytes.as_ref()),
        }
    }

    /// Sends what fits into the socket now; how many bytes that was.
    pub(crate) fn send_some(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.stream {
            Stream::Tcp(stream) => stream.write(bytes),
            Stream::Unix(stream) => stream.write(bytes),
        }
    }

    /// A second handle on the connection, to write from another thread while this one reads.
    pub(crate) fn writer(&self) -> Self {
        let stream = match &self.stream {
            Stream::Tcp(stream) => Stream::Tcp(stream.try_clone().expect("dup")),
            Stream::Unix(stream) => Stream::Unix(stream.try_clone().expect("dup")),
        };
        Self { stream, input: Vec::new() }
    }

    /// Sends FIN.
    pub(crate) fn half_close(&mut self) {
        match &self.stream {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write).expect("shutdown"),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write).expect("shutdown"),
        }
    }

    /// Closes with a reset instead of FIN.
    pub(crate) fn reset(self) {
        if let Stream::Tcp(stream) = &self.stream {
            socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO)).expect("linger");
        }
    }

    /// A plain GET on a kept connection.
    pub(crate) fn get(&mut self, target: &str) -> Response {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n"));
        self.response()
    }

    /// Reads the response to a request that was not HEAD; panics if there is none.
    pub(crate) fn response(&mut self) -> Response {
        self.try_response("GET").unwrap_or_else(|error| panic!("no response: {error}"))
    }

    /// Reads the response to a HEAD request.
    pub(crate) fn head_response(&mut self) -> Response {
        self.try_response("HEAD").unwrap_or_else(|error| panic!("no response: {error}"))
    }

    /// Reads one response with its interim responses.
    pub(crate) fn try_response(&mut self, method: &str) -> Result<Response, ClientError> {
        let mut interim = Vec::new();
        loop {
            let mut response = self.read_head()?;
            if (100..200).contains(&response.status) && response.status != 101 {
                interim.push(response.status);
                continue;
            }
            response.interim = interim;
            self.read_body(method, &mut response)?;
            return Ok(response);
        }
    }

    /// Reads a response head (also an interim one).
    pub(crate) fn read_head(&mut self) -> Result<Response, ClientError> {
        let mut lines = Vec::new();
        loop {
            let line = self.read_line()?;
            if line.is_empty() {
                break;
            }
            lines.push(line);
        }
        let broken = |what: &str| ClientError::Broken(format!("{what}: {lines:?}"));
        let mut start = lines.first().ok_or_else(|| broken("no status line"))?.splitn(3, ' ');
        let version = start.next().unwrap_or_default().to_owned();
        let status = start.next().and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| broken("bad status line"))?;
        let fields = lines[1..].iter().map(|line| split_field(line)).collect::<Result<_, _>>()?;
        Ok(Response { version, status, fields, ..Response::default() })
    }

    fn read_body(&mut self, method: &str, response: &mut Response) -> Result<(), ClientError> {
        if method == "HEAD" || matches!(response.status, 101 | 204 | 304) {
            return Ok(());
        }
        if response.field("transfer-encoding").is_some_and(|te| te.eq_ignore_ascii_case("chunked"))
        {
            return self.read_chunks(response);
        }
        if let Some(length) = response.field("content-length") {
            let length = length.parse().map_err(|_| ClientError::Broken(length.to_owned()))?;
            response.body = self.read_exact(length)?;
            return Ok(());
        }
        while self.fill()? > 0 {}
        response.body = std::mem::take(&mut self.input);
        Ok(())
    }

    fn read_chunks(&mut self, response: &mut Response) -> Result<(), ClientError> {
        loop {
            let line = self.read_line()?;
            let size = line.split(';').next().unwrap_or_default();
            let size = usize::from_str_radix(size, 16)
                .map_err(|_| ClientError::Broken(format!("chunk size {line:?}")))?;
            if size == 0 {
                break;
            }
            response.body.extend(self.read_exact(size)?);
            let end = self.read_exact(2)?;
            if end != b"\r\n" {
                return Err(ClientError::Broken(format!("chunk ends with {end:?}")));
            }
        }
        loop {
            let line = self.read_line()?;
            if line.is_empty() {
                return Ok(());
            }
            response.trailers.push(split_field(&line)?);
        }
    }

    fn read_line(&mut self) -> Result<String, ClientError> {
        loop {
            if let Some(end) = self.input.windows(2).position(|pair| pair == b"\r\n") {
                let line = self.input.drain(..end + 2).take(end).map(char::from).collect();
                return Ok(line);
            }
            if self.fill()? == 0 {
                return Err(ClientError::Closed(std::mem::take(&mut self.input)));
            }
        }
    }

    /// Reads exactly so many bytes.
    pub(crate) fn read_exact(&mut self, length: usize) -> Result<Vec<u8>, ClientError> {
        while self.input.len() < length {
            if self.fill()? == 0 {
                return Err(ClientError::Closed(std::mem::take(&mut self.input)));
            }
        }
        Ok(self.input.drain(..length).collect())
    }

    /// Reads and drops up to `length` body bytes without keeping them; how many there were.
    pub(crate) fn discard(&mut self, length: usize) -> Result<usize, ClientError> {
        let mut dropped = 0;
        while dropped < length {
            if self.input.is_empty() && self.fill()? == 0 {
                break;
            }
            let take = self.input.len().min(length - dropped);
            self.input.drain(..take);
            dropped += take;
        }
        Ok(dropped)
    }

    /// Bytes until the server closes. `Reset` counts as closed here: a server that refuses a request does not
    /// read the rest of it, and the kernel then answers with RST.
    pub(crate) fn read_to_close(&mut self) -> Vec<u8> {
        loop {
            match self.fill() {
                Ok(0) | Err(ClientError::Reset) => return std::mem::take(&mut self.input),
                Ok(_) => {}
                Err(error) => panic!("the connection should have been closed: {error}"),
            }
        }
    }

    /// Asserts that nothing more comes and the server closes.
    pub(crate) fn expect_close(&mut self) {
        let rest = self.read_to_close();
        assert!(rest.is_empty(), "bytes after the last response: {}", show(&rest));
    }

    fn fill(&mut self) -> Result<usize, ClientError> {
        let mut piece = [0; 65_536];
        let got = match &mut self.stream {
            Stream::Tcp(stream) => stream.read(&mut piece),
            Stream::Unix(stream) => stream.read(&mut piece),
        };
        match got {
            Ok(count) => {
                self.input.extend_from_slice(&piece[..count]);
                Ok(count)
            }
            Err(error) => Err(match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                    ClientError::Silent(self.input.clone())
                }
                _ => ClientError::Reset,
            }),
        }
    }
}

fn split_field(line: &str) -> Result<(String, String), ClientError> {
    let (name, value) =
        line.split_once(':').ok_or_else(|| ClientError::Broken(format!("field {line:?}")))?;
    Ok((name.to_owned(), value.trim().to_owned()))
}

/// Bytes for a failure message.
pub(crate) fn show(bytes: &[u8]) -> String {
    bytes
        .iter()
        .take(400)
        .flat_map(|&byte| std::ascii::escape_default(byte))
        .map(char::from)
        .collect()
}

impl std::fmt::Display for ClientError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Closed(bytes) => write!(f, "closed after \"{}\"", show(bytes)),
            Self::Reset => write!(f, "reset"),
            Self::Silent(bytes) => write!(f, "silent after \"{}\"", show(bytes)),
            Self::Broken(what) => write!(f, "not HTTP/1.1: {what}"),
        }
    }
}
