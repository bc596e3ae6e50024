//! The keeper: what a supervisor would take with it when it dies.
//!
//! Owns: copies of the supervisor's descriptors (listeners, the workers' pipes, the lock of the runtime directory), and handing them to
//! the next supervisor. Must never know: what they are for; requests. A thread of its own, off the path of requests; started by `process`.
//!
//! As long as the supervisor lives this is a list. When it is dead, the workers' output still has to be read, or each of them would stop
//! at its next line: it goes, as it is, where the supervisor's own output went.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use hostler_packets::{Wait, receive, send};
use hostler_protocol::control::{FromKeeper, KEEPER_FDS_MAX, KeptFd, KeptKind, ToKeeper};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{SocketFlags, accept_with};
use tokio::sync::mpsc::UnboundedSender;

/// POSIX promises that a pipe which polls writable takes this much without blocking.
const PIECE_BYTES: usize = 4096;

/// For each packet of a new supervisor: nobody else is served meanwhile.
const ADOPTION_TIME_MAX: Duration = Duration::from_secs(2);

/// After an error of `poll` itself.
const PAUSE: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// The keeper of one proxy.
#[derive(Debug)]
pub struct Keeper {
    /// To the supervisor; none when it is dead.
    supervisor: Option<OwnedFd>,
    /// Where the next one comes.
    listener: OwnedFd,
    kept: BTreeMap<i32, (KeptKind, OwnedFd)>,
    /// A new supervisor has got copies of all of it, and has not shown yet that it can do anything with them.
    handed_on: bool,
    /// Where the proxy's control thread hears of a new supervisor.
    adopted: UnboundedSender<UnixStream>,
}

/// What a turn came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Goes,
    /// There is nothing to keep: another proxy does, or the supervisor died before it gave us anything.
    Ends,
}

impl Keeper {
    /// One that keeps nothing yet.
    pub fn new(
        supervisor: OwnedFd,
        listener: OwnedFd,
        adopted: UnboundedSender<UnixStream>,
    ) -> Self {
        let kept = BTreeMap::new();
        Self { supervisor: Some(supervisor), listener, kept, handed_on: false, adopted }
    }

    /// Keeps until another proxy does, or the process ends.
    pub fn run(mut self) {
        while self.turn() == Turn::Goes {}
    }

    fn turn(&mut self) -> Turn {
        let Some(supervisor) = &self.supervisor else {
            self.turn_orphaned();
            return Turn::Goes;
        };
        match receive::<ToKeeper>(supervisor.as_fd()) {
            Ok((ToKeeper::Release, _)) => Turn::Ends,
            Ok((message, fds)) => {
                self.hear(message, fds);
                Turn::Goes
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Turn::Goes,
            Err(_) if self.kept.is_empty() => Turn::Ends,
            Err(_) => {
                tracing::error!(
                    "the supervisor is gone; proxy and workers serve on until `hostler run` takes them over or `hostler stop` ends them"
                );
                self.supervisor = None;
                self.handed_on = false;
                Turn::Goes
            }
        }
    }

    fn hear(&mut self, message: ToKeeper, fds: Vec<OwnedFd>) {
        match message {
            ToKeeper::Keep { fds: names } => {
                if std::mem::take(&mut self.handed_on) {
                    // It speaks of its own descriptors, under their numbers there.
                    self.kept.clear();
                }
                for (name, fd) in names.into_iter().zip(fds) {
                    self.kept.insert(name.number, (name.kind, fd));
                }
            }
            ToKeeper::Drop { numbers } => {
                for number in numbers {
                    self.kept.remove(&number);
                }
            }
            ToKeeper::Release | ToKeeper::Adopt {} => {}
        }
    }

    /// Reads what the processes write, and waits for a new supervisor.
    fn turn_orphaned(&mut self) {
        let streams = self.kept.iter().filter(|(_, (kind, _))| is_stream(*kind));
        let numbers: Vec<i32> = streams.map(|(number, _)| *number).collect();
        let mut watched = vec![PollFd::from_borrowed_fd(self.listener.as_fd(), PollFlags::IN)];
        for number in &numbers {
            watched.push(PollFd::from_borrowed_fd(self.kept[number].1.as_fd(), PollFlags::IN));
        }
        if poll(&mut watched, None).is_err() {
            let _ = poll(&mut [], Some(&PAUSE));
            return;
        }
        let has_news: Vec<bool> = watched.iter().map(|fd| !fd.revents().is_empty()).collect();
        drop(watched);
        for (number, _) in numbers.iter().zip(&has_news[1..]).filter(|(_, news)| **news) {
            self.pass_on(*number);
        }
        if has_news[0]
            && let Err(error) = self.adopt()
        {
            tracing::warn!(%error, "a new supervisor could not take over");
        }
    }

    /// Passes a piece of output on, without waiting for its reader.
    fn pass_on(&mut self, number: i32) {
        let Some((kind, fd)) = self.kept.get(&number) else { return };
        let mut piece = [0; PIECE_BYTES];
        match rustix::io::read(fd, &mut piece) {
            Ok(0) => self.read_no_more(number),
            Ok(count) => {
                let to = if *kind == KeptKind::Stdout {
                    KeptKind::OwnStdout
                } else {
                    KeptKind::OwnStderr
                };
                let own = self.kept.values().find(|(kind, _)| *kind == to);
                if let Some((_, own)) = own.filter(|(_, own)| takes_a_piece(own.as_fd())) {
                    // A reader that has gone is no reason to stop reading.
                    let _ = rustix::io::write(own, &piece[..count]);
                }
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.read_no_more(number),
        }
    }

    /// Its last writer is gone. The next supervisor expects it all the same.
    fn read_no_more(&mut self, number: i32) {
        if let Some((kind, _)) = self.kept.get_mut(&number) {
            *kind = KeptKind::Other;
        }
    }

    /// Hands everything to whoever comes first, which is the supervisor from then on. If it dies before it has said what is to be
    /// kept (it may be of a version that cannot read the state), the next one finds everything still here.
    fn adopt(&mut self) -> io::Result<()> {
        let peer = accept_with(&self.listener, SocketFlags::CLOEXEC)?;
        for which in [Timeout::Recv, Timeout::Send] {
            set_socket_timeout(&peer, which, Some(ADOPTION_TIME_MAX))?;
        }
        let (message, fds) = match receive::<ToKeeper>(peer.as_fd()) {
            // Somebody only wanted to know whether we are here.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            received => received?,
        };
        let (ToKeeper::Adopt {}, Ok([control, link])) = (message, <[OwnedFd; 2]>::try_from(fds))
        else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let kept: Vec<_> = self.kept.iter().collect();
        for some in kept.chunks(KEEPER_FDS_MAX) {
            let name = |(number, (kind, _)): &(&i32, &(KeptKind, OwnedFd))| KeptFd {
                number: **number,
                kind: *kind,
            };
            let fds = some.iter().map(name).collect();
            let borrowed: Vec<_> = some.iter().map(|(_, (_, fd))| fd.as_fd()).collect();
            send(peer.as_fd(), &FromKeeper::Kept { fds }, &borrowed, Wait::Allowed)?;
        }
        send(peer.as_fd(), &FromKeeper::Done, &[], Wait::Allowed)?;
        self.handed_on = true;
        self.supervisor = Some(link);
        // The control thread ends only with the process.
        let _ = self.adopted.send(UnixStream::from(control));
        Ok(())
    }
}

fn is_stream(kind: KeptKind) -> bool {
    matches!(kind, KeptKind::Stdout | KeptKind::Stderr)
}

fn takes_a_piece(fd: BorrowedFd<'_>) -> bool {
    let mut watched = [PollFd::from_borrowed_fd(fd, PollFlags::OUT)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut watched, Some(&now)).is_ok_and(|count| count > 0)
}
