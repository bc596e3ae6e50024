//! The request line (RFC 9112 section 3).
//!
//! Owns: our own reading of it, to say why the tokeniser refuses one, and the forms of a target.
//! Must never know: header fields. Called by the request parser.

use super::{Method, RequestError, Span, host, is_token};

/// A whole and valid request line.
pub(super) struct RequestLine {
    pub(super) target: Span,
}

/// `None` when the line is not whole but good so far.
pub(super) fn read(bytes: &[u8]) -> Result<Option<RequestLine>, RequestError> {
    // One empty line before the request line is skipped (RFC 9112 section 2.2).
    let start = match bytes {
        [b'\r', b'\n', ..] => 2,
        [b'\r'] | [] => return Ok(None),
        [b'\r' | b'\n', ..] => return Err(RequestError::LineEnd),
        _ => 0,
    };
    let Some(method_end) = end_of_part(bytes, start) else {
        let good = bytes[start..].iter().all(|&byte| super::is_token_byte(byte));
        return if good { Ok(None) } else { Err(RequestError::RequestLine) };
    };
    if bytes[method_end] != b' ' || !is_token(&bytes[start..method_end]) {
        return Err(RequestError::RequestLine);
    }
    let target_start = method_end + 1;
    let Some(target_end) = end_of_part(bytes, target_start) else {
        return Ok(None);
    };
    if bytes[target_end] != b' ' || target_end == target_start {
        return Err(match bytes[target_end] {
            b'\r' | b'\n' if target_end > target_start => RequestError::Http09,
            b' ' | b'\r' | b'\n' => RequestError::RequestLine,
            _ => RequestError::TargetByte,
        });
    }
    if !is_version_line_end(bytes, target_end + 1)? {
        return Ok(None);
    }
    Ok(Some(RequestLine { target: Span { start: target_start as u16, end: target_end as u16 } }))
}

/// Where the run of visible ASCII bytes ends.
fn end_of_part(bytes: &[u8], start: usize) -> Option<usize> {
    let part = &bytes[start..];
    part.iter().position(|&byte| byte <= b' ' || byte >= 0x7f).map(|at| start + at)
}

/// The version and its line end; false when they are not whole but good so far.
fn is_version_line_end(bytes: &[u8], start: usize) -> Result<bool, RequestError> {
    const SHAPE: &[u8] = b"HTTP/d.d";
    let text = &bytes[start..bytes.len().min(start + SHAPE.len())];
    let fits = |(&byte, &shape): (&u8, &u8)| match shape {
        b'd' => byte.is_ascii_digit(),
        _ => byte == shape,
    };
    if !text.iter().zip(SHAPE).all(fits) {
        return Err(RequestError::RequestLine);
    }
    if text.len() < SHAPE.len() {
        return Ok(false);
    }
    if !matches!(&text[5..], b"1.0" | b"1.1") {
        return Err(RequestError::Version);
    }
    match &bytes[start + SHAPE.len()..] {
        [] | [b'\r'] => Ok(false),
        [b'\r', b'\n', ..] => Ok(true),
        [b'\n', ..] | [b'\r', ..] => Err(RequestError::LineEnd),
        _ => Err(RequestError::RequestLine),
    }
}

/// How many bytes of the target are there, when the line is not whole yet.
pub(super) fn target_bytes_so_far(bytes: &[u8]) -> usize {
    let Some(space) = memchr::memchr(b' ', bytes) else {
        return 0;
    };
    let target = &bytes[space + 1..];
    memchr::memchr2(b' ', b'\r', target).unwrap_or(target.len())
}

/// The forms of a request target (RFC 9112 section 3.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum TargetForm {
    /// `/path?query`.
    Origin,
    /// `http://host/path`: the host's offsets within the target.
    Absolute { host_start: u16, host_end: u16 },
    /// `host:port`, CONNECT only.
    Authority,
    /// `*`, OPTIONS only.
    Asterisk,
}

/// Which form the target has; the tokeniser has already refused SP and control bytes. A fragment is
/// not part of any form, nor are bytes that are not ASCII (Node refuses those as well).
#[inline]
pub(super) fn form_of_target(target: &[u8], method: Method) -> Result<TargetForm, RequestError> {
    if !target.is_ascii() || memchr::memchr(b'#', target).is_some() {
        return Err(RequestError::TargetByte);
    }
    if target[0] == b'/' && method != Method::Connect {
        return Ok(TargetForm::Origin);
    }
    form_of_rare_target(target, method)
}

fn form_of_rare_target(target: &[u8], method: Method) -> Result<TargetForm, RequestError> {
    if method == Method::Connect {
        let good = host::is_host_and_port(target);
        return if good { Ok(TargetForm::Authority) } else { Err(RequestError::TargetForm) };
    }
    if target == b"*" {
        let good = method == Method::Options;
        return if good { Ok(TargetForm::Asterisk) } else { Err(RequestError::TargetForm) };
    }
    let scheme = [b"http://".as_slice(), b"https://"].into_iter().find(|scheme| {
        target.get(..scheme.len()).is_some_and(|head| head.eq_ignore_ascii_case(scheme))
    });
    let Some(scheme) = scheme else {
        return Err(RequestError::TargetForm);
    };
    let rest = &target[scheme.len()..];
    let len = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    // No user information: `http://good.example@evil.example/` (RFC 9110 section 4.2.4).
    if !host::is_host(&rest[..len]) {
        return Err(RequestError::HostInvalid);
    }
    let host_start = scheme.len() as u16;
    Ok(TargetForm::Absolute { host_start, host_end: host_start + len as u16 })
}
