//! What a client is like.
//!
//! Owns: the list of habits. Must never know: connections. Chosen by `scenario`, followed by `client`.

/// How a client leaves before its script is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abort {
    /// A reset.
    Reset,
    /// Its process ends.
    Close,
    /// FIN: no more writes, but still reading.
    HalfClose,
}

/// The habits of a client.
#[derive(Clone, Debug)]
pub struct Habits {
    /// Requests written before the first answer is in.
    pub depth: usize,
    /// Longest piece written at once.
    pub cut_max: usize,
    /// Percent of writes followed by a pause.
    pub pause_percent: u32,
    /// Longest such pause.
    pub pause_ms_max: u64,
    /// Most bytes read at once.
    pub read_max: usize,
    /// Longest pause between two reads.
    pub read_pause_ms_max: u64,
    /// Leaves after so many bytes written and read together.
    pub abort: Option<(usize, Abort)>,
    /// FIN after the last request.
    pub half_close: bool,
    /// Stops reading or writing for good after so many bytes, and waits to be thrown out.
    pub freeze_after: Option<usize>,
    /// Bytes sent through an upgraded connection.
    pub tunnel_bytes: usize,
    /// How long it stays in one at least.
    pub tunnel_ms: u64,
}

impl Default for Habits {
    fn default() -> Self {
        Self {
            depth: 1,
            cut_max: usize::MAX,
            pause_percent: 0,
            pause_ms_max: 0,
            read_max: usize::MAX,
            read_pause_ms_max: 0,
            abort: None,
            half_close: false,
            freeze_after: None,
            tunnel_bytes: 0,
            tunnel_ms: 0,
        }
    }
}

/// What a client has to say for one request.
#[derive(Clone, Debug)]
pub struct Planned {
    /// The request's number in the ledger.
    pub id: usize,
    /// Head, or all of it.
    pub head: Vec<u8>,
    /// Body on the wire.
    pub body: Vec<u8>,
    /// The body waits for `100 Continue`, or for an answer.
    pub expects: bool,
}
