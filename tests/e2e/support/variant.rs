//! The ways an instance can run: I/O backend and transport.
//!
//! Owns: the matrix and the question whether this kernel allows the ring. Must never know: what is tested.

use std::fmt;
use std::io::Write;
use std::sync::OnceLock;

/// I/O backend of the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Io {
    Uring,
    Epoll,
}

/// How requests reach the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Frames,
    Http,
}

/// One cell of the matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Variant {
    pub(crate) io: Io,
    pub(crate) transport: Transport,
}

impl Variant {
    /// For tests where the backend and the transport make no difference: runs everywhere.
    pub(crate) const PLAIN: Self = Self { io: Io::Epoll, transport: Transport::Frames };

    /// Value of `--io`.
    pub(crate) const fn io(self) -> &'static str {
        match self.io {
            Io::Uring => "uring",
            Io::Epoll => "epoll",
        }
    }

    /// Value of `--transport`.
    pub(crate) const fn transport(self) -> &'static str {
        match self.transport {
            Transport::Frames => "frames",
            Transport::Http => "http",
        }
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.io(), self.transport())
    }
}

/// Whether this machine can run the variant; says so loudly if not.
pub(crate) fn uring_or_skip(variant: Variant) -> bool {
    static REFUSED: OnceLock<Option<String>> = OnceLock::new();
    if variant.io == Io::Epoll {
        return true;
    }
    let refused = REFUSED.get_or_init(|| {
        hostler_driver::probe::probe_uring().err().map(|refused| refused.to_string())
    });
    if let Some(why) = refused {
        // Straight to fd 2: the test runner swallows what `eprintln!` writes in a passing test.
        let _ = writeln!(std::io::stderr(), "\nSKIPPED (io_uring is refused here): {why}\n");
        return false;
    }
    true
}

/// Declares tests that run over a matrix of variants.
///
/// `matrix!(all: name, other)` runs `fn name(Variant)` over both backends and both transports,
/// `matrix!(frames: name)` over both backends with frames.
macro_rules! matrix {
    (all: $($name:ident),+ $(,)?) => {
        $(mod $name {
            use crate::support::{Io, Transport, Variant};
            $crate::support::matrix!(@cell $name, uring_frames, Uring, Frames);
            $crate::support::matrix!(@cell $name, uring_http, Uring, Http);
            $crate::support::matrix!(@cell $name, epoll_frames, Epoll, Frames);
            $crate::support::matrix!(@cell $name, epoll_http, Epoll, Http);
        })+
    };
    (frames: $($name:ident),+ $(,)?) => {
        $(mod $name {
            use crate::support::{Io, Transport, Variant};
            $crate::support::matrix!(@cell $name, uring_frames, Uring, Frames);
            $crate::support::matrix!(@cell $name, epoll_frames, Epoll, Frames);
        })+
    };
    (@cell $name:ident, $cell:ident, $io:ident, $transport:ident) => {
        #[test]
        fn $cell() {
            let variant = Variant { io: Io::$io, transport: Transport::$transport };
            if $crate::support::uring_or_skip(variant) {
                super::$name(variant);
            }
        }
    };
}
pub(crate) use matrix;
