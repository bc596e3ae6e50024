//! How a client's connection ends.
//!
//! Owns: leaving, by habit or because all is done, and what is reported then. Must never know: workers.
//! Part of `client`.

use super::{Abort, Client};
use crate::oracle::{Ledger, SLACK_MS};

impl Client {
    /// Leaves: as the habits say, or because all is done.
    pub(super) fn leave(&mut self, ledger: &mut Ledger) -> bool {
        if self.finished {
            return false;
        }
        if let Some((after, how)) = self.habits.abort
            && self.written + self.read >= after
        {
            self.habits.abort = None;
            self.left = true;
            self.excuse("left");
            ledger.note(|| format!("client {} leaves: {how:?}", self.number));
            let Some(peer) = self.peer.clone() else { return false };
            match how {
                Abort::Reset => peer.reset(),
                Abort::Close => peer.close(),
                Abort::HalfClose => {
                    self.half_close("left by half", ledger);
                    return true;
                }
            }
            self.end(false, ledger);
            return true;
        }
        if let Some((_, echoed)) = self.tunnel {
            let done = echoed == self.habits.tunnel_bytes && self.pending.is_empty();
            if done && !self.half_closed && ledger.now_ms >= self.tunnel_until_ms {
                self.half_close("done with the tunnel", ledger);
                return true;
            }
            return false;
        }
        let done = self.answered == self.plan.len() && self.pending.is_empty();
        if done && !self.half_closed && self.current.is_none() {
            if let Some(peer) = &self.peer {
                peer.close();
            }
            self.end(false, ledger);
            return true;
        }
        false
    }

    /// The connection is over. `reset`: not by an orderly end.
    pub(super) fn end(&mut self, reset: bool, ledger: &mut Ledger) {
        if self.finished {
            return;
        }
        self.finished = true;
        ledger.note(|| format!("client {} is done", self.number));
        if ledger.accept_aborts && self.read == 0 {
            self.excuse("lost before it was accepted");
        }
        if ledger.retired_ms.is_some() && self.read == 0 {
            self.excuse("another proxy would have accepted it");
        }
        let mut began = self.current.is_some();
        if let Some((id, echoed)) = self.tunnel {
            // A worker that hangs takes its tunnels with it.
            let calm = ledger.lost_ms.is_none()
                && ledger.frozen_ms.is_none()
                && ledger.drained_ms.is_none()
                && ledger.jumped_ms.is_none();
            if echoed < self.habits.tunnel_bytes
                && calm
                && !self.left
                && !self.half_closed
                && !self.is_frozen()
                && self.excuse == Some("upgraded")
                && !ledger.may_end_upgraded(id, self.listener.as_ref())
            {
                ledger.violation(format!(
                    "client {}: the tunnel ended after {echoed} bytes",
                    self.number
                ));
            }
            if let Some(peer) = &self.peer {
                peer.close();
            }
            return;
        }
        let ends_answer = began && !reset && self.reader.ends_with_connection();
        if ends_answer && !self.left && !self.is_frozen() {
            let id = self.plan[self.answered].id;
            self.whole(id, ledger);
            began = false;
        }
        if let Some(peer) = &self.peer {
            peer.close();
        }
        // The moment at which an idle connection is closed and the one at which its next request is written may cross.
        if let Some(before) = self.answered.checked_sub(1)
            && ledger.broke_off(self.plan[before].id)
        {
            self.excuse("the request before could not be read to its end");
        }
        let idle =
            ledger.now_ms.saturating_sub(self.last_write_ms) + SLACK_MS >= ledger.times.idle_ms;
        let stalled = self.habits.read_pause_ms_max >= ledger.times.client_ms;
        if idle || stalled {
            self.excuse("too slow");
        }
        for index in self.answered.min(self.plan.len())..self.plan.len() {
            let planned = &self.plan[index];
            if ledger.records[planned.id].begun_ms.is_some() {
                let harmless = ledger.unanswered(planned.id, began, self.excuse);
                if harmless {
                    self.excuse("the one before was not answered either");
                }
            }
            began = false;
        }
    }

    pub(super) fn half_close(&mut self, why: &'static str, ledger: &Ledger) {
        ledger.note(|| format!("client {} sends FIN", self.number));
        self.half_closed = true;
        self.stop_writing = true;
        self.excuse(why);
        if let Some(peer) = &self.peer {
            peer.finish();
        }
    }
}
