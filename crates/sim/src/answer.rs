//! Reads answers as a client does.
//!
//! Owns: a small HTTP/1.1 response reader, written apart from the proxy's codec on purpose. Must never know: which
//! request it is about, except its method. Used by `client`.

/// What was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// An interim response.
    Interim(u16),
    /// A final head.
    Head(AnswerHead),
    /// Body bytes, decoded.
    Body(Vec<u8>),
    /// The answer is whole.
    End,
}

/// A final head.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnswerHead {
    /// Status code.
    pub status: u16,
    /// Names in lower case, and values.
    pub fields: Vec<(String, String)>,
}

impl AnswerHead {
    /// The first field of this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(have, _)| have == name).map(|(_, value)| value.as_str())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Head,
    Length(usize),
    ChunkSize,
    Chunk(usize),
    ChunkEnd,
    Trailers,
    UntilClose,
    Tunnel,
    Done,
}

/// Reads one answer after the other.
#[derive(Debug)]
pub struct AnswerReader {
    bytes: Vec<u8>,
    at: usize,
    state: State,
}

impl Default for AnswerReader {
    fn default() -> Self {
        Self { bytes: Vec::new(), at: 0, state: State::Head }
    }
}

impl AnswerReader {
    /// Adds received bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.at > 64 * 1024 {
            self.bytes.drain(..self.at);
            self.at = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// In the middle of an answer?
    pub fn is_inside(&self) -> bool {
        self.state != State::Head || self.at < self.bytes.len()
    }

    /// Does the end of the connection complete the answer?
    pub fn ends_with_connection(&self) -> bool {
        matches!(self.state, State::UntilClose | State::Tunnel)
    }

    /// Is HTTP over on this connection?
    pub fn is_tunnel(&self) -> bool {
        self.state == State::Tunnel
    }

    /// The next piece; `method` is that of the request that is being answered.
    pub fn next(&mut self, method: &str) -> Result<Option<Piece>, String> {
        loop {
            match self.state {
                State::Head => return self.head(method),
                State::Done => {
                    self.state = State::Head;
                    return Ok(Some(Piece::End));
                }
                State::Length(left) => {
                    let taken = self.take(left);
                    self.state = if taken.len() == left {
                        State::Done
                    } else {
                        State::Length(left - taken.len())
                    };
                    if !taken.is_empty() {
                        return Ok(Some(Piece::Body(taken)));
                    }
                    if self.state != State::Done {
                        return Ok(None);
                    }
                }
                State::UntilClose | State::Tunnel => {
                    let taken = self.take(usize::MAX);
                    return Ok((!taken.is_empty()).then_some(Piece::Body(taken)));
                }
                State::Chunk(left) => {
                    let taken = self.take(left);
                    self.state = if taken.len() == left {
                        State::ChunkEnd
                    } else {
                        State::Chunk(left - taken.len())
                    };
                    return Ok((!taken.is_empty()).then_some(Piece::Body(taken)));
                }
                State::ChunkSize | State::ChunkEnd | State::Trailers => {
                    let Some(line) = self.line() else { return Ok(None) };
                    self.chunk_line(&line)?;
                }
            }
        }
    }

    fn chunk_line(&mut self, line: &str) -> Result<(), String> {
        self.state = match self.state {
            State::ChunkEnd if line.is_empty() => State::ChunkSize,
            State::ChunkSize => match usize::from_str_radix(line, 16) {
                Ok(0) => State::Trailers,
                Ok(size) => State::Chunk(size),
                Err(_) => return Err(format!("chunk size {line:?}")),
            },
            State::Trailers if line.is_empty() => State::Done,
            State::Trailers => State::Trailers,
            state => return Err(format!("{state:?} and then {line:?}")),
        };
        Ok(())
    }

    fn take(&mut self, most: usize) -> Vec<u8> {
        let end = self.bytes.len().min(self.at.saturating_add(most));
        let taken = self.bytes[self.at..end].to_vec();
        self.at = end;
        taken
    }

    fn line(&mut self) -> Option<String> {
        let rest = &self.bytes[self.at..];
        let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
        let line = String::from_utf8_lossy(&rest[..end]).into_owned();
        self.at += end + 2;
        Some(line)
    }

    fn head(&mut self, method: &str) -> Result<Option<Piece>, String> {
        let rest = &self.bytes[self.at..];
        let Some(end) = rest.windows(4).position(|four| four == b"\r\n\r\n") else {
            let start = b"HTTP/1.1 ";
            let common = rest.len().min(start.len());
            return if rest[..common] == start[..common] {
                Ok(None)
            } else {
                Err(format!(
                    "no answer begins with {:?}",
                    String::from_utf8_lossy(&rest[..rest.len().min(40)])
                ))
            };
        };
        let text = String::from_utf8_lossy(&rest[..end]).into_owned();
        self.at += end + 4;
        let mut lines = text.split("\r\n");
        let first = lines.next().unwrap_or_default();
        let status = first
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.get(..3))
            .and_then(|code| code.parse().ok());
        let Some(status) = status else {
            return Err(format!("status line {first:?}"));
        };
        let mut head = AnswerHead { status, fields: Vec::new() };
        for line in lines {
            let Some((name, value)) = line.split_once(':') else {
                return Err(format!("field line {line:?}"));
            };
            head.fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let tunnel = status == 101 || (method == "CONNECT" && (200..300).contains(&status));
        if (100..200).contains(&status) && !tunnel {
            return Ok(Some(Piece::Interim(status)));
        }
        self.state = if tunnel { State::Tunnel } else { framing(&head, method)? };
        Ok(Some(Piece::Head(head)))
    }
}

fn framing(head: &AnswerHead, method: &str) -> Result<State, String> {
    if method == "HEAD" || matches!(head.status, 204 | 304) {
        return Ok(State::Done);
    }
    if head.get("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        return Ok(State::ChunkSize);
    }
    match head.get("content-length") {
        Some(text) => {
            text.parse().map(State::Length).map_err(|_| format!("content-length {text:?}"))
        }
        None => Ok(State::UntilClose),
    }
}
