//! A small HTTP/1.1 client for checks: is the answer right, hold a connection open.
//!
//! Owns: one request, one answer with a content-length or chunks. Must never know: load; that is the generator's.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::Outcome;

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

/// Where an answer that starts these bytes ends, once it is here whole. Any status but 200 is an error, as is a body that
/// only the end of the connection ends.
pub(crate) fn answer_end(bytes: &[u8]) -> Outcome<Option<usize>> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let (head, body) = (String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase(), end + 4);
    let wrong = || format!("not an answer to count: {head}");
    let value = |name: &str| {
        let lines = head.lines().filter_map(|line| line.split_once(':'));
        lines.into_iter().find_map(|(field, value)| (field == name).then_some(value.trim()))
    };
    if !head.starts_with("http/1.1 200 ") {
        return Err(wrong());
    }
    if value("transfer-encoding") == Some("chunked") {
        return Ok(bytes[body..].ends_with(b"0\r\n\r\n").then_some(bytes.len()));
    }
    let length: usize = value("content-length").and_then(|v| v.parse().ok()).ok_or_else(wrong)?;
    Ok((bytes.len() - body >= length).then_some(body + length))
}

/// A keep-alive connection.
pub(crate) struct Connection(BufReader<TcpStream>);

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> Outcome<Self> {
        let limit = Duration::from_secs(5);
        let open = || -> std::io::Result<TcpStream> {
            let stream = TcpStream::connect_timeout(&address, limit)?;
            stream.set_read_timeout(Some(limit))?;
            stream.set_nodelay(true)?;
            Ok(stream)
        };
        // The smallest buffer that still holds a line: thousands of idle ones should cost this process little.
        open().map(|stream| Self(BufReader::with_capacity(512, stream))).map_err(|e| e.to_string())
    }

    /// One GET.
    pub(crate) fn get(&mut self, target: &str) -> Outcome<Answer> {
        self.ask(format!("GET {target} HTTP/1.1\r\nHost: loadtest\r\n\r\n").as_bytes())
    }

    /// One POST.
    pub(crate) fn post(&mut self, target: &str, body: &[u8]) -> Outcome<Answer> {
        let length = body.len();
        let head =
            format!("POST {target} HTTP/1.1\r\nHost: loadtest\r\nContent-Length: {length}\r\n\r\n");
        self.ask(&[head.as_bytes(), body].concat())
    }

    /// Whether the server keeps it open; nothing is expected to come.
    pub(crate) fn is_open(&self) -> bool {
        let stream = self.0.get_ref();
        let peek = || {
            stream.set_nonblocking(true)?;
            stream.peek(&mut [0])
        };
        matches!(peek(), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
    }

    fn ask(&mut self, request: &[u8]) -> Outcome<Answer> {
        self.0.get_mut().write_all(request).map_err(|error| error.to_string())?;
        let start = self.line()?;
        let status = start.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| format!("not an HTTP answer: {start:?}"))?;
        let (mut length, mut chunked) = (0, false);
        loop {
            let line = self.line()?.to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().map_err(|_| line.clone())?;
            }
            chunked |= line.starts_with("transfer-encoding:") && line.ends_with("chunked");
        }
        let body = if chunked { self.chunks()? } else { self.exact(length)? };
        Ok(Answer { status, body })
    }

    fn chunks(&mut self) -> Outcome<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let size = self.line()?;
            let size = usize::from_str_radix(size.trim(), 16).map_err(|error| error.to_string())?;
            body.extend(self.exact(size)?);
            self.line()?;
            if size == 0 {
                return Ok(body);
            }
        }
    }

    fn exact(&mut self, length: usize) -> Outcome<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.0.read_exact(&mut bytes).map_err(|error| error.to_string())?;
        Ok(bytes)
    }

    fn line(&mut self) -> Outcome<String> {
        let mut line = String::new();
        let count = self.0.read_line(&mut line).map_err(|error| error.to_string())?;
        if count == 0 {
            return Err("the server closed the connection".to_owned());
        }
        Ok(line.trim_end().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_an_answer() {
        let sized = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP";
        assert_eq!(answer_end(sized), Ok(Some(sized.len() - 4)));
        assert_eq!(answer_end(&sized[..sized.len() - 5]), Ok(None));
        assert_eq!(answer_end(&sized[..20]), Ok(None));
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n";
        assert_eq!(answer_end(chunked), Ok(Some(chunked.len())));
        assert_eq!(answer_end(&chunked[..chunked.len() - 2]), Ok(None));
        assert!(answer_end(b"HTTP/1.1 502 Bad Gateway\r\n\r\n").is_err());
        assert!(answer_end(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
