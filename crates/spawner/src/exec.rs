//! Starting processes: what lies between `fork` and `exec`, and the signal state on both sides of
//! it.
//!
//! Owns: the only unsafe code of this crate. The supervisor blocks its signals here (it reads them
//! from a signalfd) and the children unblock them here, so that nobody can change one without
//! seeing the other. Must never know: why a process is started. Called by `children`.
#![expect(unsafe_code, reason = "pre_exec hooks and signal masks have no safe form")]

use std::ffi::{CString, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use command_fds::{CommandFdExt, FdMapping};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal};

/// The signals the supervisor handles itself, by reading them.
const HANDLED: [i32; 9] = [
    libc::SIGTERM,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGHUP,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGCHLD,
    libc::SIGTTIN,
    libc::SIGTTOU,
];

/// First fd number behind stdin, stdout and stderr.
const FIRST_EXTRA_FD: RawFd = 3;

/// One process to start.
#[derive(Debug)]
pub(crate) struct ProcessSpec {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<OsString>,
    /// Set on top of our own environment.
    pub(crate) env: Vec<(OsString, OsString)>,
    /// Taken out of our own environment.
    pub(crate) env_removed: &'static [&'static str],
    pub(crate) cwd: Option<PathBuf>,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
    /// They become fd 3, 4, ... of the process.
    pub(crate) fds: Vec<OwnedFd>,
    /// It is killed when this thread ends.
    pub(crate) dies_with_us: bool,
}

/// A running child. Whoever holds it must reap it.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) pid: Pid,
    /// Readable when it has exited. Missing on kernels and sandboxes without pidfds: SIGCHLD tells
    /// then.
    pub(crate) pidfd: Option<OwnedFd>,
}

/// Starts a process in a group of its own. An error is an `errno` of
/// `fork`, `chdir` or `exec`; nothing is left running then.
pub(crate) fn start(spec: ProcessSpec) -> io::Result<Started> {
    let last_fd = FIRST_EXTRA_FD + RawFd::try_from(spec.fds.len()).unwrap_or(RawFd::MAX) - 1;
    // `Command` reports a failed exec through a pipe whose number it does not tell; the child's
    // dup2 onto 3, 4, ... must not hit that pipe. With all those numbers taken, the pipe gets a
    // higher one.
    let fence = occupy_fds(last_fd)?;

    let mut command = Command::new(&spec.program);
    // Removed first: what is set for this child may have a name that is removed from our own
    // environment.
    for name in spec.env_removed {
        command.env_remove(name);
    }
    command
        .args(&spec.args)
        .envs(spec.env)
        .stdin(Stdio::null())
        .stdout(spec.stdout)
        .stderr(spec.stderr)
        .process_group(0);
    if let Some(cwd) = &spec.cwd {
        command.current_dir(cwd);
    }
    let mappings = spec.fds.into_iter().zip(FIRST_EXTRA_FD..);
    let mappings =
        mappings.map(|(parent_fd, child_fd)| FdMapping { parent_fd, child_fd }).collect();
    command
        .fd_mappings(mappings)
        .expect("the child's fd numbers are counted up, so none comes twice");
    let (parent, dies_with) = (rustix::process::getpid(), spec.dies_with_us);
    // SAFETY: the hook runs in the forked child, where only async-signal-safe calls are allowed:
    // `prepare_child` makes plain system calls, takes no lock and allocates nothing.
    unsafe { command.pre_exec(move || prepare_child(dies_with.then_some(parent))) };

    let child = command.spawn()?;
    drop(fence);
    let pid = Pid::from_child(&child);
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::NONBLOCK)
        .or_else(|_| rustix::process::pidfd_open(pid, PidfdFlags::empty()))
        .ok();
    // Dropping `child` neither kills nor reaps it.
    Ok(Started { pid, pidfd })
}

/// Blocks the handled signals for this thread and the threads it starts later; the descriptor gives
/// them out. SIGPIPE stays ignored, as Rust sets it: a reader of our output that goes away must not
/// kill us.
#[expect(clippy::disallowed_methods, reason = "it removes a disposition, it sets no handler")]
pub(crate) fn block_signals() -> io::Result<OwnedFd> {
    // A parent may have left SIGCHLD ignored; the kernel would then reap our children behind our
    // back. SAFETY: plain system call with valid arguments; no handler is involved.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the pointer is valid for writes; the call initialises the whole set.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    for signal in HANDLED {
        // SAFETY: the set was initialised above and the signal numbers are valid.
        unsafe { libc::sigaddset(set.as_mut_ptr(), signal) };
    }
    // SAFETY: the set is initialised; the old mask is not wanted.
    let result =
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut()) };
    if result != 0 {
        return Err(io::Error::from_raw_os_error(result));
    }
    // SAFETY: the set is initialised; -1 asks for a new descriptor.
    let fd = unsafe { libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just gave us this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A descriptor that this program has got from the one before it in the same process. Each number is taken once, which the caller
/// answers for: it reads the state in which every descriptor has one place.
pub(crate) fn inherit(fd: RawFd) -> io::Result<OwnedFd> {
    // No child shall have it unasked.
    // SAFETY: a plain system call; a number that is not open is refused.
    if unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is open, and the state that names it names it once, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A descriptor of ours by its number.
///
/// # Panics
/// In debug builds if it is not open.
pub(crate) fn borrow<'a>(fd: RawFd) -> BorrowedFd<'a> {
    // SAFETY: a plain system call.
    debug_assert!(unsafe { libc::fcntl(fd, libc::F_GETFD) } >= 0, "an open descriptor");
    // SAFETY: the caller has just read the number from a descriptor that it holds, and uses it before it changes anything.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

/// Lets the next program in this process have these descriptors, or keeps them from it.
pub(crate) fn set_inheritable(fds: &[RawFd], inheritable: bool) {
    let flags = if inheritable { 0 } else { libc::FD_CLOEXEC };
    for fd in fds {
        // SAFETY: a plain system call that changes a flag of a descriptor of ours.
        unsafe { libc::fcntl(*fd, libc::F_SETFD, flags) };
    }
}

/// Becomes another program. The signals that are blocked stay blocked: `Command::exec` would let one through that kills us.
/// Comes back only with an error.
pub(crate) fn become_program(
    program: &Path,
    args: &[OsString],
    env: &[(OsString, OsString)],
) -> io::Error {
    let text = |bytes: &[u8]| CString::new(bytes).map_err(io::Error::from);
    let variable = |(name, value): &(OsString, OsString)| {
        text(&[name.as_bytes(), b"=", value.as_bytes()].concat())
    };
    let texts = || -> io::Result<_> {
        let args = args.iter().map(|arg| text(arg.as_bytes())).collect::<io::Result<Vec<_>>>()?;
        let env = env.iter().map(variable).collect::<io::Result<Vec<_>>>()?;
        Ok((text(program.as_os_str().as_bytes())?, args, env))
    };
    let (program, args, env) = match texts() {
        Ok(texts) => texts,
        Err(error) => return error,
    };
    let pointers = |texts: &[CString]| -> Vec<*const libc::c_char> {
        texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (args, env) = (pointers(&args), pointers(&env));
    // SAFETY: all pointers lead to NUL-terminated texts that live until the call returns, and both lists end with NULL.
    unsafe { libc::execve(program.as_ptr(), args.as_ptr(), env.as_ptr()) };
    io::Error::last_os_error()
}

/// Lets `command` receive the signals that this thread has blocked. Ignored ones stay ignored, as a shell's `nohup` wants.
pub(crate) fn unblock_in_child(command: &mut Command) {
    // SAFETY: the hook runs in the forked child; it makes one system call, takes no lock and allocates nothing.
    unsafe { command.pre_exec(unblock_all) };
}

fn unblock_all() -> io::Result<()> {
    let mut none = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the pointer is valid for writes; the call initialises the whole set.
    unsafe { libc::sigemptyset(none.as_mut_ptr()) };
    // SAFETY: the set is initialised; the old mask is not wanted.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut()) };
    Ok(())
}

/// Runs in the child, before `exec`.
#[expect(
    clippy::disallowed_methods,
    reason = "it removes handlers, for a program that is not ours"
)]
fn prepare_child(dies_with: Option<Pid>) -> io::Result<()> {
    // Ignored signals stay ignored over an exec (`nohup`, our own SIGPIPE): the app expects the
    // defaults.
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: `signal` is async-signal-safe; numbers that cannot be changed are refused, which
        // is fine.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    unblock_all()?;
    let Some(parent) = dies_with else { return Ok(()) };
    // SIGKILL, because a process that ignores SIGTERM would outlive us.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    // If the supervisor died before that call, no signal will ever come.
    if rustix::process::getppid() != Some(parent) {
        return Err(Errno::SRCH.into());
    }
    Ok(())
}

/// Opens descriptors until all numbers up to `last` are taken.
fn occupy_fds(last: RawFd) -> io::Result<Vec<OwnedFd>> {
    let mut fence = Vec::new();
    loop {
        // A new descriptor gets the lowest free number.
        let fd: OwnedFd = std::fs::File::open("/dev/null")?.into();
        if fd.as_raw_fd() > last {
            return Ok(fence);
        }
        fence.push(fd);
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Seek, Write};

    use rustix::process::{WaitOptions, waitpid};

    use super::*;

    fn shell(script: &str, fds: Vec<OwnedFd>) -> ProcessSpec {
        let sink = || OwnedFd::from(File::options().write(true).open("/dev/null").expect("null"));
        ProcessSpec {
            program: "/bin/sh".into(),
            args: vec!["-c".into(), script.into()],
            env: Vec::new(),
            env_removed: &["HOSTLER_TEST_UNSET"],
            cwd: None,
            stdout: sink(),
            stderr: sink(),
            fds,
            dies_with_us: true,
        }
    }

    fn scratch() -> File {
        let name = format!("hostler-exec-{}-{:?}", std::process::id(), std::thread::current().id());
        let path = std::env::temp_dir().join(name);
        let file = File::options().create(true).truncate(true).read(true).write(true).open(&path);
        std::fs::remove_file(&path).expect("removed");
        file.expect("opened")
    }

    #[test]
    fn descriptors_arrive_in_order_and_a_failed_exec_is_still_reported() {
        let mut file = scratch();
        let fds = (0..40).map(|_| file.try_clone().expect("dup").into()).collect();
        let script =
            "echo fd 3 >&3; test -e /proc/self/fd/42 && test ! -e /proc/self/fd/43 && echo all >&3";
        let started = start(shell(script, fds)).expect("started");
        let (_, status) =
            waitpid(Some(started.pid), WaitOptions::empty()).expect("waits").expect("exited");
        assert_eq!(status.exit_status(), Some(0));
        let mut text = String::new();
        file.rewind().expect("rewound");
        file.read_to_string(&mut text).expect("read");
        assert_eq!(text, "fd 3\nall\n");

        let fds = (0..40).map(|_| file.try_clone().expect("dup").into()).collect();
        let mut spec = shell("", fds);
        spec.program = "/nowhere/node".into();
        let error = start(spec).expect_err("no such program");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        writeln!(file, "still ours").expect("written");
    }

    #[test]
    fn a_child_leads_its_group_and_has_default_signals() {
        let mut file = scratch();
        let script =
            "echo $$ $(ps -o pgid= -p $$) >&3; grep -E 'Sig(Blk|Ign)' /proc/self/status >&3";
        let started =
            start(shell(script, vec![file.try_clone().expect("dup").into()])).expect("started");
        waitpid(Some(started.pid), WaitOptions::empty()).expect("waits");
        let mut text = String::new();
        file.rewind().expect("rewound");
        file.read_to_string(&mut text).expect("read");
        let mut words = text.split_whitespace();
        assert_eq!(words.next(), words.next(), "{text}");
        assert!(text.contains("SigBlk:\t0000000000000000"), "{text}");
        let ignored = text.lines().find_map(|line| line.strip_prefix("SigIgn:\t")).expect("shown");
        // Bits 31 and 32 are the C library's own signals, which it does not let anybody change.
        let ignored = u64::from_str_radix(ignored, 16).expect("hex") & !(0b11 << 31);
        assert_eq!(ignored, 0, "{text}");
    }
}
