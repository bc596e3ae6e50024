//! The ring itself: set up, filled, entered, emptied.
//!
//! Owns: the `io_uring` instance, the rule of one enter per turn. Must never know: sockets, tokens,
//! what an entry means. Used by `submit` (pushes), `complete` (pops), `provided` (registers) and
//! the probe.

use std::collections::VecDeque;
use std::io;
use std::ptr::NonNull;
use std::time::Duration;

use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{CompletionQueue, EnterFlags, IoUring, SubmissionQueue, Submitter, cqueue, squeue};

/// Entries of the submission queue. A turn reports at most 256 completions and most of them ask for
/// one or two operations; when it is full all the same, it is handed over early, which costs one
/// system call.
pub(super) const SUBMISSIONS: u32 = 1024;

/// Completions per submission entry. Multishot operations complete many times for one submission,
/// so the kernel's default of two is too few. What does not fit is kept by the kernel (NODROP), but
/// slowly.
const COMPLETIONS_PER_SUBMISSION: u32 = 4;

/// Kernel worker threads, bounded and unbounded. No operation of ours should ever need one; a low
/// limit keeps a mistake from becoming a thread storm.
const KERNEL_WORKERS_MAX: [u32; 2] = [2, 2];

/// An instance of io_uring, used by the thread that made it.
pub(super) struct Ring {
    // The fields drop in this order: the three views first, then what they look at.
    /// The only submitter: the index of the registered ring descriptor is kept in it, and a fresh
    /// one from `IoUring::submitter` would not know it.
    submitter: Submitter<'static>,
    submissions: SubmissionQueue<'static>,
    completions: CompletionQueue<'static>,
    /// Entries that found the queue full and the kernel unwilling. Normally empty.
    backlog: VecDeque<squeue::Entry>,
    without_array: bool,
    _instance: Instance,
}

impl Ring {
    /// Sets the ring up on this thread, which then is the only one that may use it.
    pub(super) fn new() -> io::Result<Self> {
        let (instance, without_array) = setup()?;
        let instance = Instance(NonNull::from(Box::leak(Box::new(instance))));
        // SAFETY: the box was leaked just now and is freed only by `Instance`, which is dropped
        // after the views; this is the only reference ever made to it.
        let ring: &'static mut IoUring = unsafe { &mut *instance.0.as_ptr() };
        let (mut submitter, submissions, completions) = ring.split();
        // Saves a look-up of the descriptor in each enter (since 5.18). There are 16 places per
        // thread: when they are taken, the plain descriptor works as well.
        let _optional = submitter.register_ring_fd();
        let _optional = submitter.register_iowq_max_workers(&mut { KERNEL_WORKERS_MAX });
        Ok(Self {
            submitter,
            submissions,
            completions,
            backlog: VecDeque::new(),
            without_array,
            _instance: instance,
        })
    }

    /// For registrations.
    pub(super) fn submitter(&self) -> &Submitter<'static> {
        &self.submitter
    }

    /// Whether the kernel could do without the array of submission indexes.
    pub(super) fn without_array(&self) -> bool {
        self.without_array
    }

    /// Entries of the submission and of the completion queue.
    pub(super) fn entries(&self) -> (u32, u32) {
        (self.submissions.capacity() as u32, self.completions.capacity() as u32)
    }

    /// Queues an entry for the next enter.
    ///
    /// # Safety Whatever memory the entry points to must stay valid, and if the kernel writes to it
    /// unaliased, until the operation's final completion. Its descriptor must be open until the
    /// entry has been handed over.
    pub(super) unsafe fn push(&mut self, entry: squeue::Entry) {
        if self.submissions.is_full() || !self.backlog.is_empty() {
            self.backlog.push_back(entry);
            self.hand_over_early();
            return;
        }
        // SAFETY: promised by the caller.
        let pushed = unsafe { self.submissions.push(&entry) };
        debug_assert!(pushed.is_ok(), "not full");
    }

    /// The oldest completion that has not been taken.
    pub(super) fn pop(&mut self) -> Option<cqueue::Entry> {
        if let Some(entry) = self.completions.next() {
            return Some(entry);
        }
        // Gives the read entries back to the kernel and looks for new ones.
        self.completions.sync();
        self.completions.next()
    }

    /// Hands all entries to the kernel, runs its deferred work, and waits for a completion if
    /// `wait` says so, at most for `timeout`.
    pub(super) fn enter(&mut self, wait: bool, timeout: Option<Duration>) -> io::Result<()> {
        self.flush_backlog();
        self.completions.sync();
        self.submissions.sync();
        let wait = wait && self.completions.is_empty() && self.backlog.is_empty();
        let timespec = timeout.map(Timespec::from);
        let mut args = SubmitArgs::new();
        if let Some(timespec) = &timespec {
            args = args.timespec(timespec);
        }
        let count = self.submissions.len() as u32;
        // Deferred work runs only in an enter with GETEVENTS, also when there is nothing to wait
        // for.
        let flags = (EnterFlags::GETEVENTS | EnterFlags::EXT_ARG).bits();
        // SAFETY: `args` is what EXT_ARG announces, and it and the time it points to outlive the
        // call; the caller of `push` vouched for the entries.
        let entered = unsafe { self.submitter.enter(count, wait.into(), flags, Some(&args)) };
        self.submissions.sync();
        self.completions.sync();
        tolerate(entered)
    }

    /// Makes room in the full queue without waiting and without running deferred work.
    #[cold]
    fn hand_over_early(&mut self) {
        self.submissions.sync();
        let count = self.submissions.len() as u32;
        // SAFETY: no argument is passed; the caller of `push` vouched for the entries.
        let entered = unsafe { self.submitter.enter::<()>(count, 0, 0, None) };
        // When the kernel refuses, the entries stay queued and the next enter tries again, and
        // reports the error if it is a real one.
        drop(entered);
        self.flush_backlog();
    }

    fn flush_backlog(&mut self) {
        if self.backlog.is_empty() {
            return;
        }
        self.submissions.sync();
        while !self.submissions.is_full() {
            let Some(entry) = self.backlog.pop_front() else {
                return;
            };
            // SAFETY: promised by the caller of `push`.
            let pushed = unsafe { self.submissions.push(&entry) };
            debug_assert!(pushed.is_ok(), "not full");
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // The place belongs to the thread, not to the ring, and a thread may make many rings.
        let _never_registered = self.submitter.unregister_ring_fd();
    }
}

/// Errors of an enter that mean "not now": the time is up, a signal came, or the kernel wants
/// completions to be taken or memory to be freed first. Entries that were not taken stay queued.
fn tolerate(entered: io::Result<usize>) -> io::Result<()> {
    match entered {
        Ok(_) => Ok(()),
        Err(error) => match error.raw_os_error() {
            Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN) => Ok(()),
            _ => Err(error),
        },
    }
}

/// Tries the newest flag first.
fn setup() -> io::Result<(IoUring, bool)> {
    match build(true) {
        Ok(ring) => Ok((ring, true)),
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok((build(false)?, false)),
        Err(error) => Err(error),
    }
}

fn build(without_array: bool) -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder
        // 6.0: the kernel need not lock against other submitters. A second thread that enters gets
        // EEXIST.
        .setup_single_issuer()
        // 6.1, needs SINGLE_ISSUER: completions are worked off in our enter instead of by
        // interrupting us at any moment. Of all flags this one saves most; without it the ring is
        // slower than epoll.
        .setup_defer_taskrun()
        // 5.18: one bad entry does not hold back those behind it. Without it, an entry for a socket
        // that the peer has just reset delays everybody else by a turn.
        .setup_submit_all()
        // 5.5: see `COMPLETIONS_PER_SUBMISSION`.
        .setup_cqsize(SUBMISSIONS * COMPLETIONS_PER_SUBMISSION)
        // The ring's memory is of no use to a child process.
        .dontfork();
    if without_array {
        // 6.6: one indirection less per entry. Older kernels refuse it with EINVAL.
        builder.setup_no_sqarray();
    }
    builder.build(SUBMISSIONS)
}

/// The instance that the views of a [`Ring`] look at.
struct Instance(
    /// INVARIANT: a leaked box that nothing else frees.
    NonNull<IoUring>,
);

impl Drop for Instance {
    fn drop(&mut self) {
        // SAFETY: by the invariant it came from a box; it is the last field of `Ring`, so the views
        // are gone.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}
