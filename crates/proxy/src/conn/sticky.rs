//! What a connection has to do with sticky workers.
//!
//! Owns: when a request's route is read, when an answer sets the cookie, when it names a session. Must never know: what these look like
//! (`sticky`), which worker is chosen. Called by the stages of `conn`.

use hostler_protocol::http1::ResponseHead;

use super::{Action, Conn, Context};
use crate::sticky::{HandshakeBody, SetCookie, Sticky, is_shared};

impl Conn {
    /// The field that the answer gets; its head is in `bytes`.
    pub(super) fn cookie_to_set<'a>(
        &self,
        sticky: Option<&'a Sticky>,
        bytes: &[u8],
        head: &ResponseHead,
    ) -> Option<SetCookie<'a>> {
        let sticky = sticky?;
        let token = self.route.assigned.filter(|_| !is_shared(bytes, head.fields()))?;
        sticky.set_cookie(token)
    }

    /// The body of the answer to a handshake begins.
    pub(super) fn expect_session(&mut self) {
        if self.route.handshake && self.request.status == 200 {
            self.handshake = Some(Box::default());
        }
    }

    /// Some of that body has come.
    pub(super) fn learn_session(&mut self, bytes: &[u8], cx: &mut Context<'_>) {
        let Some(body) = &mut self.handshake else { return };
        if let Some(sid) = body.push(bytes) {
            cx.actions.push_back(Action::LearnSession(sid.to_vec()));
        } else if !body.is_full() {
            return;
        }
        self.handshake = None;
    }
}

/// The beginning of a body in which a session may be named.
pub(super) type Handshake = Option<Box<HandshakeBody>>;
