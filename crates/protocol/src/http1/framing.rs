//! Where a message's body ends, and whether its connection stays open (RFC 9112 sections 6 and 9).
//!
//! Owns: what Connection, Content-Length and Transfer-Encoding mean together. Must never know: the
//! tokeniser. Called by the two head parsers; everything a smuggler could use is decided here.

use super::{Field, FieldName, RequestError, ResponseError, Span, Version, is_token, trim_ows};

/// How the end of a body is found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BodyFraming {
    /// There is no body.
    None,
    /// So many bytes.
    Length(u64),
    /// Chunked transfer coding.
    Chunked,
    /// Everything until the sender closes. Responses only.
    UntilClose,
}

/// Options of the Connection field lines.
#[derive(Clone, Copy, Default)]
pub(crate) struct ConnectionOptions {
    pub(crate) close: bool,
    pub(crate) keep_alive: bool,
    pub(crate) upgrade: bool,
    /// Names a field that is not hop-by-hop by itself: forwarding has to look at the list.
    pub(crate) names_fields: bool,
}

impl ConnectionOptions {
    #[inline]
    pub(crate) fn add(&mut self, value: &[u8]) {
        // As browsers and Node write it, compared in two words; every other way goes through the list.
        if value == b"keep-alive" {
            self.keep_alive = true;
        } else {
            self.add_list(value);
        }
    }

    fn add_list(&mut self, value: &[u8]) {
        for option in value.split(|&byte| byte == b',').map(trim_ows) {
            if option.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive = true;
            } else if option.eq_ignore_ascii_case(b"upgrade") {
                self.upgrade = true;
            } else if !option.is_empty() && !FieldName::look_up(option).0.hop_by_hop() {
                self.names_fields = true;
            }
        }
    }

    /// Persistence (RFC 9112 section 9.3); `close` wins over `keep-alive`.
    #[inline]
    pub(crate) fn keeps_alive(self, version: Version) -> bool {
        !self.close && (version == Version::Http11 || self.keep_alive)
    }
}

/// Is `field` named by a Connection field line? Host and the framing fields cannot be taken out of
/// a message that way: a client would use it to make two readers disagree about the message.
pub(crate) fn named_in_connection(bytes: &[u8], fields: &[Field], field: &Field) -> bool {
    if field.known == FieldName::Host || field.known.is_framing() {
        return false;
    }
    let name = field.name.of(bytes);
    fields.iter().filter(|other| other.known == FieldName::Connection).any(|connection| {
        let mut options = connection.value.of(bytes).split(|&byte| byte == b',').map(trim_ows);
        options.any(|option| option.eq_ignore_ascii_case(name))
    })
}

/// The framing fields seen while the field lines are classified.
#[derive(Clone, Copy, Default)]
pub(crate) struct FramingFields {
    /// The last Content-Length and how many there are.
    pub(crate) length: Span,
    pub(crate) lengths: u16,
    /// The last Transfer-Encoding and how many there are.
    pub(crate) coding: Span,
    pub(crate) codings: u16,
}

impl FramingFields {
    /// RFC 9112 section 6.3 for requests, without its leniencies: no list of equal lengths, no
    /// coding beside chunked.
    #[inline]
    pub(crate) fn of_request(
        self,
        bytes: &[u8],
        version: Version,
    ) -> Result<BodyFraming, RequestError> {
        if self.lengths == 0 && self.codings == 0 {
            return Ok(BodyFraming::None);
        }
        if self.codings > 0 {
            return self.coding_of_request(bytes, version);
        }
        let value = self.length.of(bytes);
        if self.lengths > 1 || value.contains(&b',') {
            return Err(RequestError::ContentLengthRepeated);
        }
        let length = content_length(value).ok_or(RequestError::ContentLengthInvalid)?;
        Ok(BodyFraming::Length(length))
    }

    fn coding_of_request(
        self,
        bytes: &[u8],
        version: Version,
    ) -> Result<BodyFraming, RequestError> {
        if self.lengths > 0 {
            return Err(RequestError::LengthAndCoding);
        }
        if version == Version::Http10 {
            return Err(RequestError::CodingInHttp10);
        }
        if self.codings > 1 {
            return Err(RequestError::CodingInvalid);
        }
        let value = self.coding.of(bytes);
        if value.eq_ignore_ascii_case(b"chunked") {
            return Ok(BodyFraming::Chunked);
        }
        Err(explain_coding(value))
    }

    /// RFC 9112 section 6.3 for responses that may have a body. Equal lengths are one length; any
    /// coding but `chunked` alone is refused, because the proxy never asks a worker for one (`TE` is
    /// hop-by-hop), so such a response could not be forwarded to a client that did not ask either.
    pub(crate) fn of_response(
        self,
        bytes: &[u8],
        fields: &[Field],
        version: Version,
    ) -> Result<BodyFraming, ResponseError> {
        if self.codings > 0 {
            if self.lengths > 0 {
                return Err(ResponseError::LengthAndCoding);
            }
            if version == Version::Http10 {
                return Err(ResponseError::CodingInHttp10);
            }
            if self.codings > 1 || !self.coding.of(bytes).eq_ignore_ascii_case(b"chunked") {
                return Err(ResponseError::UnknownCoding);
            }
            return Ok(BodyFraming::Chunked);
        }
        if self.lengths == 0 {
            return Ok(BodyFraming::UntilClose);
        }
        let value = self.length.of(bytes);
        if self.lengths == 1
            && let Some(length) = content_length(value)
        {
            return Ok(BodyFraming::Length(length));
        }
        equal_lengths(bytes, fields)
    }
}

fn equal_lengths(bytes: &[u8], fields: &[Field]) -> Result<BodyFraming, ResponseError> {
    let mut seen = None;
    let lengths = fields.iter().filter(|field| field.known == FieldName::ContentLength);
    for part in lengths.flat_map(|field| field.value.of(bytes).split(|&byte| byte == b',')) {
        let length = content_length(trim_ows(part)).ok_or(ResponseError::ContentLengthInvalid)?;
        if seen.is_some_and(|seen| seen != length) {
            return Err(ResponseError::ContentLengthDiffers);
        }
        seen = Some(length);
    }
    seen.map(BodyFraming::Length).ok_or(ResponseError::ContentLengthInvalid)
}

/// `1*DIGIT` up to 2^63-1, so that no later sum of lengths overflows. Leading zeros are legal.
#[inline]
fn content_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    let mut length = 0u64;
    for &byte in value {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        length = length.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    (length <= i64::MAX as u64).then_some(length)
}

/// Why a Transfer-Encoding value that is not `chunked` is refused: 501 when its framing is clear but
/// we do not have the coding, 400 when chunked is not the last coding or there twice.
fn explain_coding(value: &[u8]) -> RequestError {
    let mut chunked = 0;
    let mut last_is_chunked = false;
    for coding in value.split(|&byte| byte == b',').map(trim_ows) {
        let name = trim_ows(coding.split(|&byte| byte == b';').next().unwrap_or_default());
        if !is_token(name) {
            return RequestError::CodingInvalid;
        }
        last_is_chunked = name.eq_ignore_ascii_case(b"chunked");
        chunked += u32::from(last_is_chunked);
    }
    match (chunked, last_is_chunked) {
        (0, _) | (1, true) => RequestError::UnknownCoding,
        _ => RequestError::CodingInvalid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_length_is_digits_up_to_2_63_minus_1() {
        let cases: &[(&str, Option<u64>)] = &[
            ("0", Some(0)),
            ("007", Some(7)),
            ("9223372036854775807", Some(i64::MAX as u64)),
            ("9223372036854775808", None),
            ("99999999999999999999999", None),
            ("", None),
            ("+1", None),
            ("-1", None),
            ("1 2", None),
            ("0x10", None),
            ("1_0", None),
            ("1.0", None),
        ];
        for (value, want) in cases {
            assert_eq!(content_length(value.as_bytes()), *want, "{value}");
        }
    }

    #[test]
    fn refused_codings_are_explained() {
        let cases: &[(&str, RequestError)] = &[
            ("gzip, chunked", RequestError::UnknownCoding),
            ("gzip", RequestError::UnknownCoding),
            ("identity", RequestError::UnknownCoding),
            ("xchunked", RequestError::UnknownCoding),
            ("chunked;a=b", RequestError::UnknownCoding),
            ("chunked, identity", RequestError::CodingInvalid),
            ("chunked, chunked", RequestError::CodingInvalid),
            ("chunked,", RequestError::CodingInvalid),
            (",chunked", RequestError::CodingInvalid),
            ("", RequestError::CodingInvalid),
            ("chunked chunked", RequestError::CodingInvalid),
            ("\"chunked\"", RequestError::CodingInvalid),
        ];
        for (value, want) in cases {
            assert_eq!(explain_coding(value.as_bytes()), *want, "{value}");
        }
    }

    #[test]
    fn connection_options_are_a_list_in_any_case() {
        let mut options = ConnectionOptions::default();
        options.add(b"Keep-Alive");
        assert!(options.keeps_alive(Version::Http10) && !options.names_fields);
        options.add(b" Upgrade ,, HTTP2-Settings");
        assert!(options.upgrade && options.names_fields);
        options.add(b"x, CLOSE");
        assert!(!options.keeps_alive(Version::Http11));
    }
}
