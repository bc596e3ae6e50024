//! Whether io_uring can be had here, and if not, why and what can be done.
//!
//! Owns: the start-up self-test and the wording of its outcome. Must never know: what `--io` was
//! given; the caller decides between failing and falling back. Used by the proxy before it makes
//! its drivers, by `status` and by `hostler check`.
//!
//! Version numbers do not tell: distributions backport, containers filter, administrators switch
//! off. So the probe builds the ring as it will be used and moves a few bytes through it.

mod self_test;

use std::fmt;
use std::io;

use crate::uring::{Setup, UringDriver};

/// What was found, for the one line at start and for `status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UringFeatures {
    /// The release of the running kernel, as `uname -r` says it.
    pub kernel: String,
    /// Entries of the submission queue.
    pub submissions: u32,
    /// Entries of the completion queue.
    pub completions: u32,
    /// NO_SQARRAY (6.6) could be used.
    pub without_array: bool,
}

impl fmt::Display for UringFeatures {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let array = if self.without_array { " NO_SQARRAY" } else { "" };
        write!(
            formatter,
            "io_uring on Linux {}: SINGLE_ISSUER DEFER_TASKRUN SUBMIT_ALL{array}, queues {}/{}, \
             multishot accept and receive, buffer rings",
            self.kernel, self.submissions, self.completions
        )
    }
}

/// Why io_uring cannot be had. The text is one line: what is wrong, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum UringRefused {
    /// The administrator has switched it off (EPERM).
    #[error(
        "io_uring is switched off by the sysctl kernel.io_uring_disabled={value}; set it to 0 \
         (sysctl -w kernel.io_uring_disabled=0){}, or use --io epoll", group_advice(*.value)
    )]
    DisabledBySysctl {
        /// The value of the sysctl: 1 or 2.
        value: u8,
    },
    /// A seccomp filter refuses the system call.
    #[error(
        "the container's seccomp profile refuses io_uring; allow io_uring_setup, io_uring_enter and \
         io_uring_register in it, or use --io epoll"
    )]
    Seccomp,
    /// The kernel is older than io_uring.
    #[error("this kernel has no io_uring; run Linux 6.1 or later, or use --io epoll")]
    KernelWithout,
    /// The kernel has io_uring, but not all that is needed.
    #[error("this kernel's io_uring lacks {missing}; run Linux 6.1 or later, or use --io epoll")]
    TooOld {
        /// What is missing.
        missing: &'static str,
    },
    /// No memory for the ring.
    #[error(
        "no memory for an io_uring ring; raise the memory limit of the container (before Linux 5.12: \
         the memlock limit), or use --io epoll"
    )]
    NoMemory,
    /// It could be set up, but does not do what it should.
    #[error(
        "io_uring failed its self-test at \"{step}\" ({error}); use --io epoll, and please report it"
    )]
    SelfTest {
        /// The step that failed.
        step: &'static str,
        /// How.
        #[source]
        error: io::Error,
    },
}

/// With the value 1 there is a second way out.
fn group_advice(value: u8) -> &'static str {
    if value == 1 {
        " or run as a member of the group that kernel.io_uring_group names"
    } else {
        ""
    }
}

/// Builds a ring with the flags and buffer rings of the real one on this thread, accepts, receives,
/// sends, cancels and closes over it, and takes it down again. Takes a few milliseconds at most
/// when all is well.
pub fn probe_uring() -> Result<UringFeatures, UringRefused> {
    let kernel = release();
    let mut driver = UringDriver::build(&self_test::config())
        .map_err(|(setup, error)| classify(setup, error, sysctl(), &kernel))?;
    self_test::run(&mut driver).map_err(|(step, error)| UringRefused::SelfTest { step, error })?;
    let (submissions, completions) = driver.entries();
    Ok(UringFeatures { kernel, submissions, completions, without_array: driver.without_array() })
}

/// Why the set-up failed, given what the machine says about itself.
fn classify(setup: Setup, error: io::Error, sysctl: Option<u8>, kernel: &str) -> UringRefused {
    let errno = error.raw_os_error();
    match (setup, errno, sysctl) {
        (Setup::Ring, Some(libc::EPERM), Some(value @ 1..)) => {
            UringRefused::DisabledBySysctl { value }
        }
        (Setup::Ring, Some(libc::EPERM), _) => UringRefused::Seccomp,
        // Filters answer with either. A kernel that was built without io_uring looks the same from
        // here.
        (Setup::Ring, Some(libc::ENOSYS), _) if has_io_uring(kernel) => UringRefused::Seccomp,
        (Setup::Ring, Some(libc::ENOSYS), _) => UringRefused::KernelWithout,
        (Setup::Ring, Some(libc::EINVAL), _) => {
            UringRefused::TooOld { missing: "SINGLE_ISSUER and DEFER_TASKRUN (Linux 6.1)" }
        }
        (Setup::BufferRings, Some(libc::EINVAL), _) => {
            UringRefused::TooOld { missing: "provided buffer rings (Linux 5.19)" }
        }
        (Setup::Ring | Setup::BufferRings, Some(libc::ENOMEM), _) => UringRefused::NoMemory,
        (Setup::Ring, ..) => failed("set up the ring", error),
        (Setup::BufferRings, ..) => failed("register the buffer rings", error),
        (Setup::Resources, ..) => failed("get memory and descriptors", error),
    }
}

fn failed(step: &'static str, error: io::Error) -> UringRefused {
    UringRefused::SelfTest { step, error }
}

/// Whether a kernel of this release can have io_uring (5.1). One that cannot be read is taken for a
/// new one.
fn has_io_uring(release: &str) -> bool {
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit());
    let mut number = || numbers.next()?.parse::<u32>().ok();
    match (number(), number()) {
        (Some(major), Some(minor)) => (major, minor) >= (5, 1),
        _ => true,
    }
}

/// The release of the running kernel.
fn release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// The switch in the kernel, if there is one (6.6, and backports).
fn sysctl() -> Option<u8> {
    let text = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(errno: i32, sysctl: Option<u8>, kernel: &str) -> UringRefused {
        classify(Setup::Ring, io::Error::from_raw_os_error(errno), sysctl, kernel)
    }

    #[test]
    fn eperm_is_told_apart_by_the_sysctl() {
        for value in [1, 2] {
            let refused = refused(libc::EPERM, Some(value), "6.8.0");
            assert!(
                matches!(refused, UringRefused::DisabledBySysctl { value: found } if found == value)
            );
        }
        assert!(matches!(refused(libc::EPERM, Some(0), "6.8.0"), UringRefused::Seccomp));
        assert!(matches!(refused(libc::EPERM, None, "6.1.0"), UringRefused::Seccomp));
    }

    #[test]
    fn enosys_is_told_apart_by_the_release() {
        assert!(matches!(
            refused(libc::ENOSYS, Some(0), "6.8.0-45-generic"),
            UringRefused::Seccomp
        ));
        assert!(matches!(refused(libc::ENOSYS, None, "5.1.0"), UringRefused::Seccomp));
        assert!(matches!(refused(libc::ENOSYS, None, "4.4.0"), UringRefused::KernelWithout));
        assert!(matches!(refused(libc::ENOSYS, None, "5.0.21"), UringRefused::KernelWithout));
        assert!(matches!(refused(libc::ENOSYS, None, "strange"), UringRefused::Seccomp));
    }

    #[test]
    fn other_errors() {
        assert!(matches!(refused(libc::EINVAL, Some(0), "5.15.0"), UringRefused::TooOld { .. }));
        assert!(matches!(refused(libc::ENOMEM, Some(0), "6.8.0"), UringRefused::NoMemory));
        assert!(matches!(refused(libc::EMFILE, Some(0), "6.8.0"), UringRefused::SelfTest { .. }));
        let error = || io::Error::from_raw_os_error(libc::EINVAL);
        let refused = classify(Setup::BufferRings, error(), None, "5.15.0");
        assert!(matches!(refused, UringRefused::TooOld { .. }));
        let refused = classify(Setup::Resources, error(), None, "5.15.0");
        assert!(matches!(refused, UringRefused::SelfTest { .. }));
    }

    #[test]
    fn every_outcome_is_one_line_with_advice() {
        let outcomes = [
            UringRefused::DisabledBySysctl { value: 1 },
            UringRefused::DisabledBySysctl { value: 2 },
            UringRefused::Seccomp,
            UringRefused::KernelWithout,
            UringRefused::TooOld { missing: "x" },
            UringRefused::NoMemory,
            failed("step", io::ErrorKind::TimedOut.into()),
        ];
        for outcome in outcomes {
            let text = outcome.to_string();
            assert!(!text.contains('\n') && !text.contains("  "), "{text}");
            assert!(text.contains("--io epoll"), "{text}");
            assert!(!text.contains("unconfined"), "{text}");
        }
    }

    #[test]
    fn the_probe_agrees_with_the_driver() {
        let built = UringDriver::build(&self_test::config());
        match probe_uring() {
            Ok(features) => {
                assert!(built.is_ok());
                assert!(features.to_string().contains(&features.kernel));
            }
            Err(refused) => {
                eprintln!("!!! NOT TESTED: {refused} !!!");
                assert!(built.is_err(), "the ring can be built, yet: {refused}");
            }
        }
    }
}
