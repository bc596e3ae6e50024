//! Why a head is refused.
//!
//! Owns: the reasons, the status the client gets, one sentence for the log. Must never know: who is
//! told. Called by the proxy's `respond` and `log` stages.

macro_rules! request_errors {
    ($($(#[$doc:meta])+ $variant:ident = $status:literal, $explain:literal;)+) => {
        /// Why a request head is refused.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
        pub enum RequestError {
            $($(#[$doc])+ #[error($explain)] $variant,)+
        }

        impl RequestError {
            /// Every reason, for tests and documentation.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The status to answer with.
            pub const fn status(self) -> u16 {
                match self {
                    $(Self::$variant => $status,)+
                }
            }

            /// One sentence that says what is wrong.
            pub const fn explain(self) -> &'static str {
                match self {
                    $(Self::$variant => $explain,)+
                }
            }

            /// Does Node's parser (llhttp, strict) refuse it too, mostly? What it lets through for sure is ours alone to
            /// answer: an app never sees such a request, nor hears of it.
            pub const fn is_nodes_too(self) -> bool {
                match self {
                    Self::RequestLine
                    | Self::UnknownMethod
                    | Self::Version
                    | Self::TargetByte
                    | Self::HeadTooLong
                    | Self::FieldName
                    | Self::FieldValue
                    | Self::LineEnd
                    | Self::ContentLengthRepeated
                    | Self::ContentLengthInvalid
                    | Self::LengthAndCoding
                    | Self::CodingInvalid => true,
                    // Without Host Node answers by itself, with no event (parserOnIncoming of _http_server.js); an unknown coding
                    // reaches the app before it is an error; the rest Node takes.
                    Self::HostMissing
                    | Self::UnknownCoding
                    | Self::Http09
                    | Self::TargetTooLong
                    | Self::TargetForm
                    | Self::TooManyFields
                    | Self::FieldNameTooLong
                    | Self::HostRepeated
                    | Self::HostInvalid
                    | Self::CodingInHttp10 => false,
                }
            }
        }
    };
}

request_errors! {
    /// Not `method SP target SP version CRLF` (RFC 9112 section 3).
    RequestLine = 400, "the request line is not \"METHOD target HTTP/1.1\"";
    /// The request line of HTTP/0.9.
    Http09 = 400, "HTTP/0.9 requests are not served";
    /// A valid token that is not in the method table.
    UnknownMethod = 501, "the request method is not known";
    /// An HTTP version other than 1.0 and 1.1.
    Version = 505, "only HTTP/1.0 and HTTP/1.1 are served";
    /// A target longer than the limit.
    TargetTooLong = 414, "the request target is longer than the limit";
    /// A byte that no target may have.
    TargetByte = 400, "the request target has a byte that is not allowed";
    /// A form of target that the method does not allow (RFC 9112 section 3.2).
    TargetForm = 400, "the request target does not fit the method";
    /// More bytes than the limit.
    HeadTooLong = 431, "the request head is longer than the limit";
    /// More field lines than the limit.
    TooManyFields = 431, "the request has more header fields than the limit";
    /// A field name of more than 255 bytes.
    FieldNameTooLong = 431, "a header field name is longer than 255 bytes";
    /// A name that is not a token, white space before the colon, a folded line.
    FieldName = 400, "a header field name has a byte that is not allowed";
    /// A control byte in a value.
    FieldValue = 400, "a header field value has a byte that is not allowed";
    /// A line that does not end in CR LF.
    LineEnd = 400, "a line of the request head does not end in CR LF";
    /// HTTP/1.1 without Host.
    HostMissing = 400, "an HTTP/1.1 request needs a Host header field";
    /// More than one Host.
    HostRepeated = 400, "the Host header field is there more than once";
    /// Not `uri-host [":" port]`.
    HostInvalid = 400, "the Host header field is not a valid host";
    /// More than one Content-Length, or a list.
    ContentLengthRepeated = 400, "the Content-Length header field is there more than once";
    /// Not digits, or too large.
    ContentLengthInvalid = 400, "the Content-Length header field is not a valid number";
    /// Content-Length and Transfer-Encoding (RFC 9112 section 6.1).
    LengthAndCoding = 400, "Content-Length and Transfer-Encoding exclude each other";
    /// A transfer coding other than chunked.
    UnknownCoding = 501, "the only transfer coding that is served is chunked";
    /// Chunked is repeated or not last.
    CodingInvalid = 400, "the Transfer-Encoding header field is not valid";
    /// Transfer-Encoding in HTTP/1.0 (RFC 9112 section 6.1).
    CodingInHttp10 = 400, "HTTP/1.0 has no Transfer-Encoding";
}

macro_rules! response_errors {
    ($($(#[$doc:meta])+ $variant:ident = $explain:literal;)+) => {
        /// Why a worker's response head is refused. All of them are the worker's fault (502).
        #[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
        pub enum ResponseError {
            $($(#[$doc])+ #[error($explain)] $variant,)+
        }

        impl ResponseError {
            /// One sentence that says what is wrong.
            pub const fn explain(self) -> &'static str {
                match self {
                    $(Self::$variant => $explain,)+
                }
            }
        }
    };
}

response_errors! {
    /// Not `HTTP/1.x SP 3DIGIT [SP reason] CRLF`.
    StatusLine = "the status line is not \"HTTP/1.1 200 reason\"";
    /// An HTTP version other than 1.0 and 1.1.
    Version = "the response is neither HTTP/1.0 nor HTTP/1.1";
    /// Below 100.
    Status = "the status code is not between 100 and 999";
    /// More bytes than the limit.
    HeadTooLong = "the response head is longer than the limit";
    /// More field lines than the limit.
    TooManyFields = "the response has more header fields than the limit";
    /// A name that is not a token, white space before the colon, a folded line, or over 255 bytes.
    FieldName = "a header field name of the response has a byte that is not allowed or is too long";
    /// A control byte in a value.
    FieldValue = "a header field value of the response has a byte that is not allowed";
    /// A line that does not end in CR LF.
    LineEnd = "a line of the response head does not end in CR LF";
    /// Content-Length values that differ.
    ContentLengthDiffers = "the Content-Length values of the response differ";
    /// Not digits, or too large.
    ContentLengthInvalid = "the Content-Length header field of the response is not a valid number";
    /// Content-Length and Transfer-Encoding.
    LengthAndCoding = "the response has both Content-Length and Transfer-Encoding";
    /// A transfer coding other than chunked alone.
    UnknownCoding = "the response has a transfer coding other than chunked";
    /// Transfer-Encoding in HTTP/1.0.
    CodingInHttp10 = "an HTTP/1.0 response has no Transfer-Encoding";
}
