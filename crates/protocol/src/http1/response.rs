//! The head of a worker's response.
//!
//! Owns: what a response head means and where its body ends. Must never know: the client. Called by
//! the proxy's `relay_response` stage. A worker is trusted more than a client, but a response whose
//! framing is doubtful is refused all the same: the next response would be read from its body.

use std::mem::MaybeUninit;

use super::field::FieldTable;
use super::framing::{ConnectionOptions, FramingFields, named_in_connection};
use super::{
    BodyFraming, Field, FieldName, HeadLimits, Parsed, RESPONSE_FIELDS_CAP, ResponseError, Span,
    Version, trim_ows,
};

/// The parameter of Keep-Alive that matters (RFC 2068 section 19.7.1.1; no later RFC has it, Node sends it).
const TIMEOUT: &[u8] = b"timeout=";

/// A parsed response head; spans are relative to the bytes given to [`Self::parse`]. Its content is
/// valid only after `parse` returned [`Parsed::Complete`].
#[derive(Clone)]
pub struct ResponseHead {
    /// The version.
    pub version: Version,
    /// The status code, 100 to 999.
    pub status: u16,
    /// The reason phrase; may be empty.
    pub reason: Span,
    /// Where the body ends. A 2xx answer to CONNECT has no body either, whatever this says: only
    /// the caller knows that it was CONNECT.
    pub framing: BodyFraming,
    /// The worker lets the connection live on after this response.
    pub keep_alive: bool,
    /// 101: the connection changes its protocol behind this head.
    pub upgrade: bool,
    /// Bytes of the head, its empty line included.
    pub head_len: u32,
    fields: FieldTable<RESPONSE_FIELDS_CAP>,
    names_fields: bool,
}

impl Default for ResponseHead {
    fn default() -> Self {
        Self::new()
    }
}

impl ResponseHead {
    /// Empty scratch.
    pub const fn new() -> Self {
        Self {
            version: Version::Http11,
            status: 0,
            reason: Span { start: 0, end: 0 },
            framing: BodyFraming::None,
            keep_alive: false,
            upgrade: false,
            head_len: 0,
            fields: FieldTable::new(),
            names_fields: false,
        }
    }

    /// The field lines in the order sent.
    #[inline]
    pub fn fields(&self) -> &[Field] {
        self.fields.as_slice()
    }

    /// An interim response: another head follows (101 is final for HTTP).
    #[inline]
    pub fn is_interim(&self) -> bool {
        self.status < 200 && self.status != 101
    }

    /// Is this field dropped when the response is forwarded? Yes when it is hop-by-hop by itself or
    /// named in Connection.
    #[inline]
    pub fn is_hop_by_hop(&self, bytes: &[u8], field: &Field) -> bool {
        field.known.hop_by_hop()
            || (self.names_fields && named_in_connection(bytes, self.fields(), field))
    }

    /// After how many seconds the worker closes the connection if it is idle, where it says so
    /// (`Keep-Alive: timeout=5`).
    pub fn keep_alive_s(&self, bytes: &[u8]) -> Option<u32> {
        let field = self.fields().iter().find(|field| field.known == FieldName::KeepAlive)?;
        let mut parameters = field.value.of(bytes).split(|&byte| byte == b',').map(trim_ows);
        let digits = parameters.find_map(|parameter| {
            let (name, value) = parameter.split_at_checked(TIMEOUT.len())?;
            name.eq_ignore_ascii_case(TIMEOUT).then_some(value)
        })?;
        std::str::from_utf8(digits).ok()?.parse().ok()
    }

    /// Parses the head at the start of `bytes`, which may hold more than the head or not all of it.
    pub fn parse(
        &mut self,
        bytes: &[u8],
        request_is_head: bool,
        limits: &HeadLimits,
    ) -> Result<Parsed, ResponseError> {
        let window = &bytes[..bytes.len().min(limits.head_bytes())];
        // The tokeniser would skip empty lines; no response begins with one.
        if matches!(window, [b'\r' | b'\n', ..]) {
            return Err(ResponseError::StatusLine);
        }
        let mut lines = [const { MaybeUninit::uninit() }; RESPONSE_FIELDS_CAP];
        let mut response = httparse::Response::new(&mut []);
        let status = httparse::ParserConfig::default().parse_response_with_uninit_headers(
            &mut response,
            window,
            &mut lines[..(limits.fields_max as usize).min(RESPONSE_FIELDS_CAP)],
        );
        match status {
            Ok(httparse::Status::Complete(len)) => {
                self.version = match response.version {
                    Some(0) => Version::Http10,
                    _ => Version::Http11,
                };
                self.status = response.code.unwrap_or_default();
                self.classify(&window[..len], response.headers, request_is_head)
            }
            Ok(httparse::Status::Partial) if bytes.len() >= limits.head_bytes() => {
                Err(ResponseError::HeadTooLong)
            }
            Ok(httparse::Status::Partial) => Ok(Parsed::Partial),
            Err(error) => Err(explain(error)),
        }
    }

    /// `head` is exactly the head. Version and status are set already.
    fn classify(
        &mut self,
        head: &[u8],
        lines: &[httparse::Header<'_>],
        request_is_head: bool,
    ) -> Result<Parsed, ResponseError> {
        if !head.ends_with(b"\r\n\r\n") {
            return Err(ResponseError::LineEnd);
        }
        if self.status < 100 {
            return Err(ResponseError::Status);
        }
        self.head_len = head.len() as u32;
        let first_line_end = match lines.first() {
            Some(line) => Span::locate(head, line.name.as_bytes()).start - 2,
            None => head.len() as u16 - 4,
        };
        const REASON_START: u16 = "HTTP/1.1 200 ".len() as u16;
        self.reason = Span { start: REASON_START.min(first_line_end), end: first_line_end };

        let mut connection = ConnectionOptions::default();
        let mut framing = FramingFields::default();
        self.fields.clear();
        for line in lines {
            let name = line.name.as_bytes();
            let (known, number) = FieldName::look_up(name);
            let name = Span::locate(head, name);
            let value = Span::locate(head, line.value);
            if head[name.start as usize - 2] != b'\r' {
                return Err(ResponseError::LineEnd);
            }
            if name.len() > usize::from(u8::MAX) {
                return Err(ResponseError::FieldName);
            }
            self.fields.push(Field { name, value, known, number });
            match known {
                FieldName::Connection => connection.add(line.value),
                FieldName::ContentLength => {
                    framing.lengths += 1;
                    framing.length = value;
                }
                FieldName::TransferEncoding => {
                    framing.codings += 1;
                    framing.coding = value;
                }
                _ => {}
            }
        }
        self.settle_framing(head, request_is_head, connection, framing)
    }

    /// RFC 9112 section 6.3.
    fn settle_framing(
        &mut self,
        head: &[u8],
        request_is_head: bool,
        connection: ConnectionOptions,
        framing: FramingFields,
    ) -> Result<Parsed, ResponseError> {
        let framed = framing.of_response(head, self.fields(), self.version)?;
        let bodiless = request_is_head || matches!(self.status, 100..=199 | 204 | 304);
        self.framing = if bodiless { BodyFraming::None } else { framed };
        self.upgrade = self.status == 101;
        self.names_fields = connection.names_fields;
        self.keep_alive =
            connection.keeps_alive(self.version) && self.framing != BodyFraming::UntilClose;
        Ok(Parsed::Complete)
    }
}

fn explain(error: httparse::Error) -> ResponseError {
    match error {
        httparse::Error::TooManyHeaders => ResponseError::TooManyFields,
        httparse::Error::HeaderName => ResponseError::FieldName,
        httparse::Error::HeaderValue => ResponseError::FieldValue,
        httparse::Error::NewLine => ResponseError::LineEnd,
        httparse::Error::Version => ResponseError::Version,
        httparse::Error::Token | httparse::Error::Status => ResponseError::StatusLine,
    }
}
