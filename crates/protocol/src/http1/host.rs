//! The syntax of a host (RFC 3986 section 3.2.2, RFC 9110 section 7.2).
//!
//! Owns: which bytes are `uri-host [":" port]`. Must never know: routing.

/// A DNS name has at most 253 characters (RFC 1035 section 2.3.4); twice that leaves room for encoded ones and the
/// port. The proxy repeats the host in `X-Forwarded-Host`, so its length must have a bound of its own.
const HOST_BYTES_MAX: usize = 512;

/// A non-empty `uri-host [":" port]`; the port may be empty as the RFC says, and is at most 65535.
pub(super) fn is_host(value: &[u8]) -> bool {
    if value.len() > HOST_BYTES_MAX {
        return false;
    }
    let (host, port) = match value {
        [b'[', ..] => {
            let Some(end) = value.iter().position(|&byte| byte == b']') else {
                return false;
            };
            if !is_ip_literal(&value[1..end]) {
                return false;
            }
            (&value[..=end], &value[end + 1..])
        }
        _ => {
            let end = reg_name_len(value);
            if !matches!(value.get(end), None | Some(b':')) {
                return false;
            }
            value.split_at(end)
        }
    };
    !host.is_empty() && is_port_part(port)
}

/// As [`is_host`], and the port is there and not empty: what CONNECT asks for.
pub(super) fn is_host_and_port(value: &[u8]) -> bool {
    let has_port = matches!(value, [.., b'0'..=b'9'])
        && value.iter().rposition(|&byte| byte == b':') > value.iter().position(|&b| b == b']');
    has_port && is_host(value)
}

fn is_port_part(part: &[u8]) -> bool {
    let Some((b':', digits)) = part.split_first().map(|(&first, rest)| (first, rest)) else {
        return part.is_empty();
    };
    let mut port = 0u32;
    for &byte in digits {
        if !byte.is_ascii_digit() || port > u32::from(u16::MAX) {
            return false;
        }
        port = port * 10 + u32::from(byte - b'0');
    }
    port <= u32::from(u16::MAX)
}

/// How many bytes from the start are `*( unreserved / pct-encoded / sub-delims )`; IPv4 addresses are a subset.
fn reg_name_len(value: &[u8]) -> usize {
    let mut at = 0;
    loop {
        let rest = &value[at..];
        at += rest.iter().position(|&byte| !REG_NAME[byte as usize]).unwrap_or(rest.len());
        match &value[at..] {
            [b'%', high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => at += 3,
            _ => return at,
        }
    }
}

/// The inside of `[...]`: an IPv6 address, or `vN.` and more.
fn is_ip_literal(inside: &[u8]) -> bool {
    match inside {
        [b'v' | b'V', rest @ ..] => {
            let Some(dot) = rest.iter().position(|&byte| byte == b'.') else {
                return false;
            };
            let (version, address) = (&rest[..dot], &rest[dot + 1..]);
            !version.is_empty()
                && version.iter().all(u8::is_ascii_hexdigit)
                && !address.is_empty()
                && address.iter().all(|&byte| byte == b':' || REG_NAME[byte as usize])
        }
        _ => str::from_utf8(inside).is_ok_and(|text| text.parse::<std::net::Ipv6Addr>().is_ok()),
    }
}

/// `unreserved` and `sub-delims`.
static REG_NAME: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = matches!(byte as u8,
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'.' | b'_' | b'~'
            | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=');
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        let good = [
            "example.com",
            "localhost",
            "a",
            "example.com:80",
            "example.com:",
            "127.0.0.1:3000",
            "[::1]",
            "[::1]:8080",
            "[fe80::1]:",
            "[::ffff:1.2.3.4]:1",
            "[v1.a:b]",
            "under_score",
            "caf%C3%A9.fr",
            "xn--caf-dma.fr:65535",
            "EXAMPLE.COM.",
            "a,b",
        ];
        for host in good {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        let bad = [
            "",
            ":80",
            "a:b",
            "a:80:80",
            "a b",
            "a/b",
            "a@b",
            "u@a:80",
            "a?b",
            "a#b",
            "a\\b",
            "[::1",
            "::1",
            "[::1]a",
            "[]",
            "[::g]",
            "[v.a]",
            "[v1.]",
            "a:65536",
            "a:999999999999",
            "a%",
            "a%4",
            "a%zz",
            "a\tb",
            "\u{e9}",
            "a:-1",
            "a[b]",
            "<a>",
            "a\"",
        ];
        for host in bad {
            assert!(!is_host(host.as_bytes()), "{host}");
        }
    }

    #[test]
    fn connect_needs_a_port() {
        for host in ["a:443", "[::1]:443", "1.2.3.4:1"] {
            assert!(is_host_and_port(host.as_bytes()), "{host}");
        }
        for host in ["a", "a:", "a443", "[::1]", "[::1]:", ":443", "/a:443", "1.2.3.4"] {
            assert!(!is_host_and_port(host.as_bytes()), "{host}");
        }
    }
}
