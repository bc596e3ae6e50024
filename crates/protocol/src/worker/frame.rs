//! The frame prefix, the frame types and the limits.
//!
//! Owns: what `docs/worker-protocol.md` fixes for every frame. Must never know: payloads. Called by
//! the writer, the reader and the peer.

/// Both sides say it in HELLO; different numbers end the channel.
pub const PROTOCOL_VERSION: u32 = 2;
/// Bytes in front of every payload.
pub const FRAME_PREFIX_BYTES: usize = 8;
/// No payload is longer.
pub const FRAME_PAYLOAD_BYTES_MAX: usize = 262_144;
/// No JSON payload is longer.
pub const JSON_BYTES_MAX: usize = 16_384;
/// No HEAD has more headers.
pub const HEADERS_MAX: usize = 128;
/// Credit of each direction of a stream at HEAD.
pub const WINDOW_BYTES: u32 = 262_144;

macro_rules! frame_types {
    ($(#[$doc:meta])+ $name:ident { $($(#[$frame_doc:meta])+ $variant:ident = $number:literal, $text:literal;)+ }) => {
        $(#[$doc])+
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u8)]
        pub enum $name {
            $($(#[$frame_doc])+ $variant = $number,)+
        }

        impl $name {
            /// Every type, in the order of the numbers.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The type of a number.
            #[inline]
            pub const fn from_number(number: u8) -> Option<Self> {
                match number {
                    $($number => Some(Self::$variant),)+
                    _ => None,
                }
            }

            /// The name in the contract.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }
    };
}

frame_types! {
    /// Frames to the worker.
    ToWorker {
        /// One request head.
        Head = 1, "HEAD";
        /// Request body bytes.
        Data = 2, "DATA";
        /// End of the request body, with trailers.
        End = 3, "END";
        /// The client connection is gone.
        Close = 4, "CLOSE";
        /// The client sent FIN.
        HalfClose = 5, "HALF_CLOSE";
        /// Credit for response bytes.
        Window = 6, "WINDOW";
        /// The proxy's first frame.
        Hello = 7, "HELLO";
        /// Another proxy takes over: the worker opens a channel to it beside this one.
        Move = 8, "MOVE";
        /// `hostler exec`: an offered connection is served as this stream.
        Open = 9, "OPEN";
        /// `hostler exec`: an offered connection goes back to Node, with what was read from it.
        GiveBack = 10, "GIVE_BACK";
        /// `hostler exec`: frames cannot carry on; the worker shall write no more to the stream and say so with HELD.
        Hold = 11, "HOLD";
        /// The client broke its request body, and the app answers client errors itself.
        Broken = 12, "BROKEN";
        /// A tunnel to the app begins: a connection of its own, for a request that asks for another protocol.
        Tunnel = 13, "TUNNEL";
        /// Bytes of a tunnel.
        TunnelData = 14, "TUNNEL_DATA";
        /// The client sent FIN into a tunnel.
        TunnelEnd = 15, "TUNNEL_END";
        /// A tunnel is over.
        TunnelClose = 16, "TUNNEL_CLOSE";
        /// Credit for bytes that the app writes into a tunnel.
        TunnelWindow = 17, "TUNNEL_WINDOW";
    }
}

frame_types! {
    /// Frames to the proxy.
    FromWorker {
        /// The worker's first frame.
        Hello = 33, "HELLO";
        /// The app listens.
        Listen = 34, "LISTEN";
        /// The app's server closed.
        Unlisten = 35, "UNLISTEN";
        /// The server's time-outs and limits.
        Settings = 36, "SETTINGS";
        /// Response wire bytes.
        Data = 37, "DATA";
        /// Response wire bytes; the response ends with them.
        End = 38, "END";
        /// As END; the client connection is closed after it.
        EndClose = 39, "END_CLOSE";
        /// Credit for request body bytes.
        Window = 40, "WINDOW";
        /// The app destroyed the socket.
        Reset = 41, "RESET";
        /// How the worker is.
        Heartbeat = 42, "HEARTBEAT";
        /// `hostler exec`: Node accepted a connection; the proxy may take it.
        Offer = 43, "OFFER";
        /// `hostler exec`: requests that Node read itself since the last one.
        Count = 44, "COUNT";
        /// `hostler exec`: nothing more will be written to the stream; its connection is wanted back.
        Held = 45, "HELD";
        /// Bytes that the app wrote into a tunnel.
        TunnelData = 46, "TUNNEL_DATA";
        /// The app ended a tunnel, or destroyed its socket.
        TunnelEnd = 47, "TUNNEL_END";
        /// Credit for bytes of the client in a tunnel.
        TunnelWindow = 48, "TUNNEL_WINDOW";
    }
}

/// Longest payload of CLOSE and TUNNEL_CLOSE: the name of an error, as `ECONNRESET`.
pub const CLOSE_BYTES_MAX: usize = 32;
/// Fixed part of a TUNNEL payload; the client's address as text follows.
pub const TUNNEL_FIXED_BYTES: usize = 4;
/// Longest payload of TUNNEL: an IPv6 address with a zone has less.
pub const TUNNEL_BYTES_MAX: usize = TUNNEL_FIXED_BYTES + 64;

/// Which stream a frame is for, and which request of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct StreamTag {
    /// The stream's number, below 2^24; 0 is the channel itself.
    pub stream: u32,
    /// Changes with every request of the stream.
    pub generation: u8,
}

impl StreamTag {
    /// The channel itself.
    pub const CHANNEL: Self = Self { stream: 0, generation: 0 };

    /// The largest stream number.
    pub const STREAM_MAX: u32 = (1 << 24) - 1;
}

/// Flags of a HEAD frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct HeadFlags(pub u8);

impl HeadFlags {
    /// The request has no body; neither DATA nor END follows.
    pub const NO_BODY: Self = Self(1);
    /// llhttp's `shouldKeepAlive`.
    pub const KEEP_ALIVE: Self = Self(2);
    /// The request is HTTP/1.0.
    pub const HTTP_1_0: Self = Self(4);
    /// The stream begins. [`FrameWriter`](super::FrameWriter) sets it when there is a client address.
    pub const NEW_CONNECTION: Self = Self(8);
    /// `Expect: 100-continue`.
    pub const EXPECT_CONTINUE: Self = Self(16);

    /// Has every flag of `other`.
    #[inline]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// With `other` added when `on`.
    #[inline]
    #[must_use]
    pub const fn with(self, other: Self, on: bool) -> Self {
        if on { Self(self.0 | other.0) } else { self }
    }
}

impl std::ops::BitOr for HeadFlags {
    type Output = Self;

    #[inline]
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// A frame's prefix. `len` and `stream` fit their 24 bits: callers check the limits first.
#[inline]
pub(super) fn encode_prefix(kind: u8, tag: StreamTag, len: usize) -> [u8; FRAME_PREFIX_BYTES] {
    debug_assert!(len <= FRAME_PAYLOAD_BYTES_MAX && tag.stream <= StreamTag::STREAM_MAX);
    let low = len as u64 | u64::from(kind) << 24;
    let high = u64::from(tag.stream & StreamTag::STREAM_MAX) | u64::from(tag.generation) << 24;
    (low | high << 32).to_le_bytes()
}

/// Type number, tag and payload length of a prefix.
#[inline]
pub(super) fn decode_prefix(prefix: [u8; FRAME_PREFIX_BYTES]) -> (u8, StreamTag, usize) {
    let word = u64::from_le_bytes(prefix);
    let tag = StreamTag {
        stream: (word >> 32) as u32 & StreamTag::STREAM_MAX,
        generation: (word >> 56) as u8,
    };
    ((word >> 24) as u8, tag, (word & 0xff_ffff) as usize)
}
