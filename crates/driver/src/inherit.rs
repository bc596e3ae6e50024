//! Descriptors that the process was started with.
//!
//! Owns: turning a number into an owned descriptor, once. Must never know: what it is for. Called by
//! the proxy's start.

use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};

/// Takes over descriptor `number`, which the parent process left open for us, and marks it close-on-exec.
///
/// # Errors
/// EBADF when it is not open.
pub fn inherited_fd(number: i32) -> io::Result<OwnedFd> {
    if number < 3 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: the borrow lives only for the two calls below, which fail with EBADF when nothing is open there.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    let flags = fcntl_getfd(borrowed)?;
    fcntl_setfd(borrowed, flags | FdFlags::CLOEXEC)?;
    // SAFETY: `fcntl` has just shown that it is open; the parent passes each number to one owner, and our start
    // takes each number once, before any other descriptor of this process could get it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}
