//! The head of a request.
//!
//! Owns: what a client's request head means and every reason to refuse it. Must never know: the
//! connection it came on. Called by the proxy's `read_head` stage, which keeps one [`RequestHead`]
//! as scratch.

use std::mem::MaybeUninit;

use super::field::FieldTable;
use super::framing::{ConnectionOptions, FramingFields, named_in_connection};
use super::request_line::{self, TargetForm};
use super::{
    BodyFraming, Field, FieldName, HeadLimits, HeadScanner, Method, Parsed, REQUEST_FIELDS_CAP,
    RequestError, Span, Version, host,
};

/// A parsed request head; spans are relative to the bytes given to [`Self::parse`]. Its content is
/// valid only after `parse` returned [`Parsed::Complete`].
#[derive(Clone)]
pub struct RequestHead {
    /// The method.
    pub method: Method,
    /// The method's bytes.
    pub method_span: Span,
    /// The request target as sent.
    pub target: Span,
    /// The version.
    pub version: Version,
    /// Where the body ends; never [`BodyFraming::UntilClose`].
    pub framing: BodyFraming,
    /// The client lets the connection live on (llhttp's `shouldKeepAlive`).
    pub keep_alive: bool,
    /// `Expect: 100-continue` in HTTP/1.1.
    pub expect_continue: bool,
    /// HTTP/1.1, `Connection: upgrade` and an Upgrade field.
    pub upgrade: bool,
    /// Host and port asked for: of an absolute target if there is one, because a proxy must then
    /// ignore the Host field (RFC 9112 section 3.2.2); else the value of Host, which may be empty
    /// with `*` only; `None` in HTTP/1.0 without Host.
    pub host: Option<Span>,
    /// The first X-Request-Id.
    pub request_id: Option<Span>,
    /// Bytes of the head, a skipped empty line before it and the empty line behind it included.
    pub head_len: u32,
    fields: FieldTable<REQUEST_FIELDS_CAP>,
    names_fields: bool,
}

impl Default for RequestHead {
    fn default() -> Self {
        Self::new()
    }
}

impl RequestHead {
    /// Empty scratch.
    pub const fn new() -> Self {
        Self {
            method: Method::Get,
            method_span: Span { start: 0, end: 0 },
            target: Span { start: 0, end: 0 },
            version: Version::Http11,
            framing: BodyFraming::None,
            keep_alive: false,
            expect_continue: false,
            upgrade: false,
            host: None,
            request_id: None,
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

    /// Is this field dropped when the request is forwarded? Yes when it is hop-by-hop by itself or
    /// named in Connection; see [`FieldName::hop_by_hop`] about Transfer-Encoding.
    #[inline]
    pub fn is_hop_by_hop(&self, bytes: &[u8], field: &Field) -> bool {
        field.known.hop_by_hop()
            || (self.names_fields && named_in_connection(bytes, self.fields(), field))
    }

    /// Parses the head at the start of `bytes`, which may hold more than the head or not all of it.
    pub fn parse(&mut self, bytes: &[u8], limits: &HeadLimits) -> Result<Parsed, RequestError> {
        let window = &bytes[..bytes.len().min(limits.head_bytes())];
        let mut lines = [const { MaybeUninit::uninit() }; REQUEST_FIELDS_CAP];
        let mut request = httparse::Request::new(&mut []);
        let lines = &mut lines[..fields_max(limits)];
        match request.parse_with_uninit_headers(window, lines) {
            Ok(httparse::Status::Complete(len)) => {
                let (Some(method), Some(target)) = (request.method, request.path) else {
                    return Err(RequestError::RequestLine);
                };
                self.method_span = Span::locate(window, method.as_bytes());
                self.target = Span::locate(window, target.as_bytes());
                self.version = match request.version {
                    Some(0) => Version::Http10,
                    _ => Version::Http11,
                };
                self.classify(&window[..len], request.headers, limits)
            }
            Ok(httparse::Status::Partial) => check_partial(window, bytes.len(), limits),
            Err(error) => diagnose(window, bytes.len(), error, limits),
        }
    }

    /// `head` is exactly the head. Method, target and version are set already.
    fn classify(
        &mut self,
        head: &[u8],
        lines: &[httparse::Header<'_>],
        limits: &HeadLimits,
    ) -> Result<Parsed, RequestError> {
        // The tokeniser takes a bare LF as a line end and skips any number of empty lines; we do
        // not (RFC 9112 section 2.2). A line end is in front of every name and at the end.
        let start = self.method_span.start;
        if !head.ends_with(b"\r\n\r\n") || (start != 0 && !head.starts_with(b"\r\n")) {
            return Err(RequestError::LineEnd);
        }
        if start > 2 {
            return Err(RequestError::RequestLine);
        }
        self.head_len = head.len() as u32;
        let target = self.target.of(head);
        if target.len() > limits.target_bytes_max as usize {
            return Err(RequestError::TargetTooLong);
        }
        self.method =
            Method::from_bytes(self.method_span.of(head)).ok_or(RequestError::UnknownMethod)?;
        let form = request_line::form_of_target(target, self.method)?;

        let notes = self.classify_fields(head, lines)?;
        self.framing = notes.framing.of_request(head, self.version)?;
        self.keep_alive = notes.connection.keeps_alive(self.version);
        self.names_fields = notes.connection.names_fields;
        let http11 = self.version == Version::Http11;
        self.upgrade = http11 && notes.upgrade && notes.connection.upgrade;
        self.expect_continue = http11 && notes.expect_continue;
        self.settle_host(head, form, notes.hosts)?;
        Ok(Parsed::Complete)
    }

    fn classify_fields(
        &mut self,
        head: &[u8],
        lines: &[httparse::Header<'_>],
    ) -> Result<FieldNotes, RequestError> {
        let mut notes = FieldNotes::default();
        self.fields.clear();
        self.host = None;
        self.request_id = None;
        for line in lines {
            let name = line.name.as_bytes();
            let (known, number) = FieldName::look_up(name);
            let name = Span::locate(head, name);
            let value = Span::locate(head, line.value);
            if head[name.start as usize - 2] != b'\r' {
                return Err(RequestError::LineEnd);
            }
            if name.len() > usize::from(u8::MAX) {
                return Err(RequestError::FieldNameTooLong);
            }
            self.fields.push(Field { name, value, known, number });
            match known {
                FieldName::Host => {
                    notes.hosts += 1;
                    self.host = Some(value);
                }
                FieldName::Connection => notes.connection.add(line.value),
                FieldName::ContentLength => {
                    notes.framing.lengths += 1;
                    notes.framing.length = value;
                }
                FieldName::TransferEncoding => {
                    notes.framing.codings += 1;
                    notes.framing.coding = value;
                }
                FieldName::Upgrade => notes.upgrade = true,
                FieldName::Expect => {
                    notes.expect_continue |= line.value.eq_ignore_ascii_case(b"100-continue");
                }
                FieldName::XRequestId if self.request_id.is_none() => {
                    self.request_id = Some(value);
                }
                _ => {}
            }
        }
        Ok(notes)
    }

    /// RFC 9112 section 3.2.
    fn settle_host(
        &mut self,
        head: &[u8],
        form: TargetForm,
        hosts: u8,
    ) -> Result<(), RequestError> {
        if hosts > 1 {
            return Err(RequestError::HostRepeated);
        }
        match self.host {
            None if self.version == Version::Http11 => return Err(RequestError::HostMissing),
            None => {}
            Some(span) => {
                let value = span.of(head);
                // Empty only where the target has no authority to name (RFC 9110 section 7.2).
                let empty_is_right = value.is_empty() && form == TargetForm::Asterisk;
                if !empty_is_right && !host::is_host(value) {
                    return Err(RequestError::HostInvalid);
                }
            }
        }
        if let TargetForm::Absolute { host_start, host_end } = form {
            let start = self.target.start;
            self.host = Some(Span { start: start + host_start, end: start + host_end });
        }
        Ok(())
    }
}

/// What the fields say that only means something together.
#[derive(Default)]
struct FieldNotes {
    connection: ConnectionOptions,
    framing: FramingFields,
    hosts: u8,
    upgrade: bool,
    expect_continue: bool,
}

#[inline]
fn fields_max(limits: &HeadLimits) -> usize {
    (limits.fields_max as usize).min(REQUEST_FIELDS_CAP)
}

/// A head that is not whole is refused as soon as what is there can never become a good head.
#[cold]
fn check_partial(
    window: &[u8],
    received: usize,
    limits: &HeadLimits,
) -> Result<Parsed, RequestError> {
    let target_bytes_max = limits.target_bytes_max as usize;
    if window.len() > target_bytes_max
        && request_line::target_bytes_so_far(window) > target_bytes_max
    {
        return Err(RequestError::TargetTooLong);
    }
    if received >= limits.head_bytes() {
        return Err(RequestError::HeadTooLong);
    }
    HeadScanner::new().scan(window)?;
    Ok(Parsed::Partial)
}

/// What the tokeniser refuses is read again by our own code, to say precisely why; or to wait, where
/// the tokeniser is hasty with a version that is not whole yet.
#[cold]
fn diagnose(
    window: &[u8],
    received: usize,
    error: httparse::Error,
    limits: &HeadLimits,
) -> Result<Parsed, RequestError> {
    let Some(line) = request_line::read(window)? else {
        return check_partial(window, received, limits);
    };
    if line.target.len() > limits.target_bytes_max as usize {
        return Err(RequestError::TargetTooLong);
    }
    Err(explain(error))
}

/// The tokeniser's reason, once the request line is known to be good.
fn explain(error: httparse::Error) -> RequestError {
    match error {
        httparse::Error::TooManyHeaders => RequestError::TooManyFields,
        httparse::Error::HeaderName => RequestError::FieldName,
        httparse::Error::HeaderValue => RequestError::FieldValue,
        httparse::Error::NewLine => RequestError::LineEnd,
        httparse::Error::Token | httparse::Error::Version | httparse::Error::Status => {
            RequestError::RequestLine
        }
    }
}
