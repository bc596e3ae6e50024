//! What the probe says when the kernel refuses the ring, with a real seccomp filter in the place of
//! a container's.

use std::io::Write;
use std::os::fd::AsRawFd;

use hostler_driver::epoll::EpollDriver;
use hostler_driver::probe::{UringRefused, probe_uring};
use hostler_driver::{DriverConfig, PoolSizes};

#[test]
fn a_filter_that_answers_eperm() {
    refused_by_filter(libc::EPERM);
}

#[test]
fn a_filter_that_answers_enosys() {
    refused_by_filter(libc::ENOSYS);
}

#[test]
fn the_real_machine() {
    match probe_uring() {
        Ok(features) => println!("{features}"),
        Err(refused) => {
            let line = format!("\n!!! NOT TESTED: {refused} !!!\n");
            let _printed = std::io::stderr().write_all(line.as_bytes());
        }
    }
    assert_eq!(descriptors_of_a_probe(), 0, "a probe leaves nothing open");
}

/// Filters belong to a thread, so a thread is all the isolation this needs.
fn refused_by_filter(errno: i32) {
    let thread = std::thread::spawn(move || {
        install_filter(errno);
        let refused = probe_uring().expect_err("refused");
        if let UringRefused::DisabledBySysctl { .. } = refused {
            // The machine itself says EPERM, which it is to be asked about first.
            assert_eq!(errno, libc::EPERM);
            return;
        }
        assert!(matches!(refused, UringRefused::Seccomp), "{refused:?}");
        assert!(refused.to_string().contains("seccomp profile refuses io_uring"));
        let config = DriverConfig { sockets_max: 4, pools: PoolSizes::default() };
        EpollDriver::new(&config).expect("epoll works all the same");
    });
    thread.join().expect("assertions hold");
}

/// Makes io_uring_setup fail with `errno` on this thread.
fn install_filter(errno: i32) {
    const LOAD_WORD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const JUMP_IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let instruction = |code, k, jt, jf| libc::sock_filter { code, jt, jf, k };
    let mut program = [
        // The number of the system call is the first field of seccomp_data.
        instruction(LOAD_WORD, 0, 0, 0),
        instruction(JUMP_IF_EQUAL, libc::SYS_io_uring_setup as u32, 0, 1),
        instruction(RETURN, libc::SECCOMP_RET_ERRNO | errno as u32, 0, 0),
        instruction(RETURN, libc::SECCOMP_RET_ALLOW, 0, 0),
    ];
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: takes only numbers.
    let set = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    assert_eq!(set, 0, "no new privileges");
    // SAFETY: the program outlives the call, and its length is right.
    let set =
        unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
    assert_eq!(set, 0, "filter: {}", std::io::Error::last_os_error());
}

/// By how much the lowest free descriptor rises over a probe. Other tests of this file open
/// descriptors for a moment only, so the best of some tries counts.
fn descriptors_of_a_probe() -> i32 {
    let lowest_free = || std::fs::File::open("/dev/null").expect("open").as_raw_fd();
    let tries = (0..20).map(|_| {
        let before = lowest_free();
        drop(probe_uring());
        (lowest_free() - before).max(0)
    });
    tries.min().expect("some tries")
}
