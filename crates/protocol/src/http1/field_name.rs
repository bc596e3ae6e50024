//! The field names that are known by number.
//!
//! Owns: the list of names, their usual spelling, and the one look-up that classifies a name and
//! gives its number in the worker protocol. Must never know: what a field's value means.
//!
//! The position in the list is part of the worker protocol: append, never reorder, without a new
//! protocol version.

macro_rules! field_names {
    ($($variant:ident = $text:literal,)+) => {
        /// A field name, whatever its case. Every name that the worker protocol numbers is here.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
        #[repr(u8)]
        #[allow(missing_docs, reason = "each is the field of its name")]
        pub enum FieldName {
            /// A name that is not in the list.
            #[default]
            Other = 0,
            $($variant,)+
        }

        /// The usual spellings; the discriminant of a [`FieldName`] is its place here plus 1.
        pub(crate) const SPELLINGS: &[&str] = &[$($text,)+];
        const NAMES: [FieldName; SPELLINGS.len()] = [$(FieldName::$variant,)+];
    };
}

field_names! {
    Host = "Host",
    Connection = "Connection",
    ContentLength = "Content-Length",
    TransferEncoding = "Transfer-Encoding",
    Upgrade = "Upgrade",
    Expect = "Expect",
    KeepAlive = "Keep-Alive",
    ProxyConnection = "Proxy-Connection",
    Te = "TE",
    Trailer = "Trailer",
    UserAgent = "User-Agent",
    Accept = "Accept",
    AcceptEncoding = "Accept-Encoding",
    AcceptLanguage = "Accept-Language",
    AcceptCharset = "Accept-Charset",
    Cookie = "Cookie",
    Referer = "Referer",
    Origin = "Origin",
    Authorization = "Authorization",
    CacheControl = "Cache-Control",
    Pragma = "Pragma",
    IfMatch = "If-Match",
    IfNoneMatch = "If-None-Match",
    IfModifiedSince = "If-Modified-Since",
    IfUnmodifiedSince = "If-Unmodified-Since",
    IfRange = "If-Range",
    Range = "Range",
    ContentType = "Content-Type",
    ContentEncoding = "Content-Encoding",
    ContentLanguage = "Content-Language",
    ContentLocation = "Content-Location",
    ContentDisposition = "Content-Disposition",
    ContentRange = "Content-Range",
    ContentMd5 = "Content-MD5",
    UpgradeInsecureRequests = "Upgrade-Insecure-Requests",
    Dnt = "DNT",
    SecGpc = "Sec-GPC",
    Priority = "Priority",
    SaveData = "Save-Data",
    EarlyData = "Early-Data",
    SecFetchDest = "Sec-Fetch-Dest",
    SecFetchMode = "Sec-Fetch-Mode",
    SecFetchSite = "Sec-Fetch-Site",
    SecFetchUser = "Sec-Fetch-User",
    SecFetchStorageAccess = "Sec-Fetch-Storage-Access",
    SecPurpose = "Sec-Purpose",
    Purpose = "Purpose",
    SecChUa = "Sec-Ch-Ua",
    SecChUaMobile = "Sec-Ch-Ua-Mobile",
    SecChUaPlatform = "Sec-Ch-Ua-Platform",
    SecChUaPlatformVersion = "Sec-Ch-Ua-Platform-Version",
    SecChUaArch = "Sec-Ch-Ua-Arch",
    SecChUaBitness = "Sec-Ch-Ua-Bitness",
    SecChUaFullVersionList = "Sec-Ch-Ua-Full-Version-List",
    SecChUaModel = "Sec-Ch-Ua-Model",
    SecChPrefersColorScheme = "Sec-Ch-Prefers-Color-Scheme",
    SecWebSocketKey = "Sec-WebSocket-Key",
    SecWebSocketVersion = "Sec-WebSocket-Version",
    SecWebSocketProtocol = "Sec-WebSocket-Protocol",
    SecWebSocketExtensions = "Sec-WebSocket-Extensions",
    SecWebSocketAccept = "Sec-WebSocket-Accept",
    AccessControlRequestMethod = "Access-Control-Request-Method",
    AccessControlRequestHeaders = "Access-Control-Request-Headers",
    LastEventId = "Last-Event-ID",
    MaxForwards = "Max-Forwards",
    From = "From",
    Prefer = "Prefer",
    ProxyAuthorization = "Proxy-Authorization",
    IdempotencyKey = "Idempotency-Key",
    XForwardedFor = "X-Forwarded-For",
    XForwardedProto = "X-Forwarded-Proto",
    XForwardedHost = "X-Forwarded-Host",
    XForwardedPort = "X-Forwarded-Port",
    XForwardedPrefix = "X-Forwarded-Prefix",
    XForwardedServer = "X-Forwarded-Server",
    XForwardedScheme = "X-Forwarded-Scheme",
    XRealIp = "X-Real-IP",
    Forwarded = "Forwarded",
    XRequestId = "X-Request-Id",
    XCorrelationId = "X-Correlation-Id",
    XRequestStart = "X-Request-Start",
    Via = "Via",
    Traceparent = "Traceparent",
    Tracestate = "Tracestate",
    Baggage = "Baggage",
    XAmznTraceId = "X-Amzn-Trace-Id",
    XCloudTraceContext = "X-Cloud-Trace-Context",
    CfConnectingIp = "CF-Connecting-IP",
    CfRay = "CF-Ray",
    CfIpCountry = "CF-IPCountry",
    CfVisitor = "CF-Visitor",
    CdnLoop = "CDN-Loop",
    TrueClientIp = "True-Client-IP",
    XClientIp = "X-Client-IP",
    XRequestedWith = "X-Requested-With",
    XCsrfToken = "X-CSRF-Token",
    XXsrfToken = "X-XSRF-TOKEN",
    XApiKey = "X-API-Key",
    XHttpMethodOverride = "X-HTTP-Method-Override",
    Depth = "Depth",
    Destination = "Destination",
    Date = "Date",
    Server = "Server",
    SetCookie = "Set-Cookie",
    Location = "Location",
    Etag = "ETag",
    LastModified = "Last-Modified",
    Expires = "Expires",
    Vary = "Vary",
    Age = "Age",
    Allow = "Allow",
    AcceptRanges = "Accept-Ranges",
    Link = "Link",
    RetryAfter = "Retry-After",
    WwwAuthenticate = "WWW-Authenticate",
    ProxyAuthenticate = "Proxy-Authenticate",
    AltSvc = "Alt-Svc",
    XPoweredBy = "X-Powered-By",
    XAccelRedirect = "X-Accel-Redirect",
    XAccelBuffering = "X-Accel-Buffering",
    XSendfile = "X-Sendfile",
}

// Two numbers a name, 0 reserved, in one byte.
const _: () = assert!(SPELLINGS.len() <= 127);

impl FieldName {
    /// Every known name, in the order of their numbers, without [`Self::Other`].
    pub const ALL: &[Self] = &NAMES;

    /// The name and its number in the worker protocol: odd for the usual spelling, even for the
    /// lower-case one, 0 for any other spelling and for names that are not in the list.
    #[inline]
    pub fn look_up(name: &[u8]) -> (Self, u8) {
        if name.len() < 2 {
            return (Self::Other, 0);
        }
        let place = SLOTS[slot_of(name)];
        let Some(at) = (place as usize).checked_sub(1) else {
            return (Self::Other, 0);
        };
        let usual = SPELLINGS[at].as_bytes();
        if name == usual {
            return (NAMES[at], place * 2 - 1);
        }
        Self::look_up_other_case(name, at)
    }

    #[inline(never)]
    fn look_up_other_case(name: &[u8], at: usize) -> (Self, u8) {
        let usual = SPELLINGS[at].as_bytes();
        if !name.eq_ignore_ascii_case(usual) {
            return (Self::Other, 0);
        }
        let lower = !name.iter().any(u8::is_ascii_uppercase);
        (NAMES[at], if lower { (at as u8 + 1) * 2 } else { 0 })
    }

    /// The usual spelling; empty for [`Self::Other`].
    pub const fn as_str(self) -> &'static str {
        match self as usize {
            0 => "",
            place => SPELLINGS[place - 1],
        }
    }

    /// The number of the usual spelling; 0 for [`Self::Other`].
    #[inline]
    pub const fn usual_number(self) -> u8 {
        match self as u8 {
            0 => 0,
            place => place * 2 - 1,
        }
    }

    /// Belongs to one connection by itself, whether or not `Connection` names it (RFC 9110 section
    /// 7.6.1). `Transfer-Encoding` is among them: a forwarder that keeps it for the reader's
    /// information (the worker's HEAD does) asks [`Self::is_framing`] first.
    #[inline]
    pub const fn hop_by_hop(self) -> bool {
        matches!(
            self,
            Self::Connection
                | Self::KeepAlive
                | Self::ProxyConnection
                | Self::Te
                | Self::TransferEncoding
                | Self::Upgrade
        )
    }

    /// Says where the body ends: `Content-Length` and `Transfer-Encoding`.
    #[inline]
    pub const fn is_framing(self) -> bool {
        matches!(self, Self::ContentLength | Self::TransferEncoding)
    }

    /// Must not travel in trailers: framing, routing, authentication, and what says how to read the
    /// content (RFC 9110 section 6.5.1).
    pub const fn forbidden_in_trailers(self) -> bool {
        matches!(
            self,
            Self::Connection
                | Self::ContentLength
                | Self::TransferEncoding
                | Self::Host
                | Self::Upgrade
                | Self::Expect
                | Self::KeepAlive
                | Self::ProxyConnection
                | Self::Te
                | Self::Trailer
                | Self::Authorization
                | Self::ProxyAuthorization
                | Self::ProxyAuthenticate
                | Self::WwwAuthenticate
                | Self::Cookie
                | Self::SetCookie
                | Self::ContentEncoding
                | Self::ContentType
                | Self::ContentRange
                | Self::CacheControl
                | Self::MaxForwards
                | Self::Range
                | Self::IfMatch
                | Self::IfNoneMatch
                | Self::IfModifiedSince
                | Self::IfUnmodifiedSince
                | Self::IfRange
                | Self::XForwardedFor
                | Self::XForwardedProto
                | Self::XForwardedHost
                | Self::XForwardedPort
                | Self::XRealIp
                | Self::Forwarded
                | Self::Via
                | Self::Age
                | Self::Date
                | Self::Expires
                | Self::Location
                | Self::RetryAfter
                | Self::Vary
        )
    }
}

const SLOT_BITS: u32 = 10;
const MULTIPLIER: u32 = 0xa855_8c5d;

/// Length and three bytes are enough to tell the known names apart: the places and the multiplier
/// are chosen so that every name has a slot of its own, which the compiler checks below. Bit 0x20
/// is set because names have no case.
#[inline]
const fn slot_of(name: &[u8]) -> usize {
    let third = if name.len() > 2 { name[2] } else { name[1] };
    let key = (name[0] | 0x20) as u32
        | ((third | 0x20) as u32) << 8
        | ((name[name.len() - 2] | 0x20) as u32) << 16
        | (name.len() as u32) << 24;
    (key.wrapping_mul(MULTIPLIER) >> (32 - SLOT_BITS)) as usize
}

static SLOTS: [u8; 1 << SLOT_BITS] = {
    let mut slots = [0; 1 << SLOT_BITS];
    let mut at = 0;
    while at < SPELLINGS.len() {
        let slot = slot_of(SPELLINGS[at].as_bytes());
        assert!(slots[slot] == 0, "two names share a slot: choose other places or multiplier");
        slots[slot] = at as u8 + 1;
        at += 1;
    }
    slots
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_in_any_case_and_numbered_in_two() {
        for (at, usual) in SPELLINGS.iter().enumerate() {
            let known = FieldName::ALL[at];
            let odd = at as u8 * 2 + 1;
            assert_eq!(known.as_str(), *usual);
            assert_eq!(known.usual_number(), odd);
            assert_eq!(FieldName::look_up(usual.as_bytes()), (known, odd), "{usual}");
            let lower = usual.to_lowercase();
            assert_eq!(FieldName::look_up(lower.as_bytes()), (known, odd + 1), "{lower}");
            let mut mixed = lower.into_bytes();
            let last = mixed.len() - 1;
            mixed[last] = mixed[last].to_ascii_uppercase();
            if mixed != usual.as_bytes() && mixed[last].is_ascii_uppercase() {
                assert_eq!(FieldName::look_up(&mixed), (known, 0), "{mixed:?}");
            }
        }
    }

    #[test]
    fn near_misses_are_other() {
        for name in
            ["", "H", "Hosts", "Hos", "Hust", "Content_Length", "Content-Lengtx", "\u{c}ost"]
        {
            assert_eq!(FieldName::look_up(name.as_bytes()), (FieldName::Other, 0), "{name}");
        }
        assert_eq!(FieldName::Other.usual_number(), 0);
    }
}
