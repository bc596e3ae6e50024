//! The cookie that names a slot.
//!
//! Owns: its text, in requests and answers. Must never know: which slot it names. Part of `sticky`.
//!
//! It has no `Secure`: whether a client came by https is known to a load balancer in front at best, and a cookie that is
//! marked so never comes back over http. It carries nothing that would have to be kept from anybody.

use hostler_protocol::http1::{Field, FieldName};

use super::Token;

/// Hexadecimal digits of a token.
const DIGITS: usize = 16;
/// Words in `Cache-Control` with which an answer may be given to other clients (RFC 9111 section 5.2.2).
const SHARED: [&[u8]; 2] = [b"public", b"s-maxage"];

/// A `Set-Cookie` field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetCookie<'a> {
    /// The name of the cookie.
    pub name: &'a str,
    /// What it says.
    pub token: Token,
}

impl SetCookie<'_> {
    /// The value.
    pub fn digits(&self) -> [u8; DIGITS] {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut rest = self.token.get();
        std::array::from_fn(|_| {
            rest = rest.rotate_left(4);
            HEX[(rest & 15) as usize]
        })
    }

    /// The attributes behind the value. Sent on every path, not to scripts, and not with requests that other sites begin, except for
    /// links (RFC 6265bis section 5.6.7).
    pub const ATTRIBUTES: &'static [u8] = b"; Path=/; HttpOnly; SameSite=Lax\r\n";
}

/// The token in the cookie of this name; one that we did not write is none.
pub(super) fn read(name: &[u8], bytes: &[u8], fields: &[Field]) -> Option<Token> {
    let cookies = fields.iter().filter(|field| field.known == FieldName::Cookie);
    let pairs = cookies.flat_map(|field| field.value.of(bytes).split(|&byte| byte == b';'));
    pairs
        .filter_map(|pair| pair.trim_ascii().strip_prefix(name)?.strip_prefix(b"="))
        .find_map(parse)
}

fn parse(value: &[u8]) -> Option<Token> {
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if value.len() != DIGITS || !value.iter().all(is_digit) {
        return None;
    }
    let digits = std::str::from_utf8(value).ok()?;
    Token::new(u64::from_str_radix(digits, 16).ok()?)
}

/// May a cache between us and the client give this answer to others? They would all come back to one worker.
pub fn is_shared(bytes: &[u8], fields: &[Field]) -> bool {
    let controls = fields.iter().filter(|field| field.known == FieldName::CacheControl);
    let words = controls
        .flat_map(|field| field.value.of(bytes).split(|byte| matches!(byte, b',' | b'=' | b' ')));
    words.into_iter().any(|word| SHARED.iter().any(|shared| word.eq_ignore_ascii_case(shared)))
}
