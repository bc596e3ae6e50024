//! Requests that belong to a worker, because others of theirs went there.
//!
//! Owns: what a request says about its worker (a cookie, the session in its target), what an answer says about it, and what all shards
//! remember. Must never know: connections, sockets, which worker is free. Used by `conn` (reading and writing) and the shard (choosing).
//!
//! A cookie names a *slot*: who is started there after a crash or a reload takes over its clients. A session of Engine.IO is in the
//! memory of one *process*, and ends with it.

mod cookie;
mod session;
mod table;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroU64;

use hostler_protocol::control::Sticky as Wanted;
use hostler_protocol::http1::RequestHead;

pub use self::cookie::{SetCookie, is_shared};
pub use self::session::HandshakeBody;
use self::table::Sessions;

/// Names a slot in a cookie. Without the instance's key it says neither which nor how many there are.
pub type Token = NonZeroU64;

/// Names a session in the table: a hash of its `sid`.
pub type SessionId = NonZeroU64;

/// Stickiness of one app; all shards share it.
#[derive(Debug)]
pub struct Sticky {
    /// Name of the cookie.
    cookie: Option<String>,
    /// Which process has which session.
    sessions: Option<Sessions>,
    key: [u64; 2],
}

/// What a request says about its worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// Its cookie.
    pub cookie: Option<Token>,
    /// Its session.
    pub session: Option<SessionId>,
    /// It asks for a new session: the answer names it.
    pub handshake: bool,
    /// The cookie that the answer sets.
    pub assigned: Option<Token>,
    /// It has waited for its worker long enough: any will do.
    pub given_up: bool,
}

impl Route {
    /// Any worker will do.
    pub fn is_free(&self) -> bool {
        self.given_up || self.cookie.is_none() && self.session.is_none()
    }
}

impl Sticky {
    /// As the operator wants it, with room for the sessions of so many clients.
    pub fn new(wanted: &Wanted, clients: u32) -> Self {
        Self {
            cookie: wanted.cookie.clone(),
            sessions: wanted.sessions.then(|| Sessions::new(clients)),
            key: wanted.key,
        }
    }

    /// The token of a slot.
    pub fn token(&self, slot: u32) -> Token {
        let mut hasher = self.hasher();
        slot.hash(&mut hasher);
        not_zero(hasher.finish())
    }

    /// Whether clients are bound by a cookie.
    pub fn sets_cookies(&self) -> bool {
        self.cookie.is_some()
    }

    /// What a request head says.
    pub fn read(&self, bytes: &[u8], head: &RequestHead) -> Route {
        let name = self.cookie.as_deref();
        let cookie = name.and_then(|name| cookie::read(name.as_bytes(), bytes, head.fields()));
        let asked = match &self.sessions {
            Some(_) => session::read(head.target.of(bytes), self.hasher()),
            None => session::Asked::Nothing,
        };
        let (session, handshake) = match asked {
            session::Asked::Nothing => (None, false),
            session::Asked::Handshake => (None, true),
            session::Asked::Session(session) => (Some(session), false),
        };
        Route { cookie, session, handshake, ..Route::default() }
    }

    /// The field that makes a client come back to this slot; `None` if there are no such cookies.
    pub fn set_cookie(&self, token: Token) -> Option<SetCookie<'_>> {
        Some(SetCookie { name: self.cookie.as_deref()?, token })
    }

    /// The process that has the session.
    pub fn worker_of(&self, session: SessionId, now_ms: u64) -> Option<u32> {
        self.sessions.as_ref()?.find(session, now_ms)
    }

    /// A process has opened the session that the body of its answer names.
    pub fn learn(&self, sid: &[u8], worker: u32, now_ms: u64) {
        if let Some(sessions) = &self.sessions {
            sessions.insert(session::id(sid, self.hasher()), worker, now_ms);
        }
    }

    /// SipHash with fixed keys of its own, so the key is the beginning of what is hashed. Another version of it only means that
    /// cookies are set anew.
    fn hasher(&self) -> DefaultHasher {
        let mut hasher = DefaultHasher::new();
        self.key.hash(&mut hasher);
        hasher
    }
}

fn not_zero(hash: u64) -> NonZeroU64 {
    NonZeroU64::new(hash).unwrap_or(NonZeroU64::MIN)
}

#[cfg(test)]
mod tests;
