//! Findings about the I/O backend: kernel, io_uring, what may forbid it.
//!
//! Owns: what each fact means for the ring. Must never know: how the probe works. Called by `doctor`.

use hostler_driver::probe::{UringFeatures, UringRefused};
use rustix::process::{Resource, getrlimit};

use super::Finding;
use crate::units::show_memory;

/// The ring needs SINGLE_ISSUER, DEFER_TASKRUN and provided buffer rings together.
const KERNEL_FOR_RING: (u32, u32) = (6, 1);
/// Since then rings are charged to the memory cgroup instead of RLIMIT_MEMLOCK.
const KERNEL_WITHOUT_MEMLOCK: (u32, u32) = (5, 12);
const MEMLOCK_ENOUGH_BYTES: u64 = 8 << 20;

pub(super) fn kernel(release: &str) -> Finding {
    match kernel_version(release) {
        Some(version) if version >= KERNEL_FOR_RING => Finding::ok("kernel", release),
        Some(_) => Finding::warn(
            "kernel",
            format!("{release} is older than 6.1, the first one that io_uring is used on"),
            "nothing breaks: epoll is used; a newer kernel saves some CPU",
        ),
        None => Finding::warn("kernel", format!("{release} is not a known form"), "nothing to do"),
    }
}

pub(super) fn uring(probe: &Result<UringFeatures, UringRefused>) -> Finding {
    match probe {
        Ok(features) => Finding::ok("io_uring", features.to_string()),
        Err(refused) => Finding::warn(
            "io_uring",
            refused.to_string(),
            "nothing breaks: --io auto uses epoll, at a somewhat higher CPU cost per request",
        ),
    }
}

pub(super) fn sysctl(value: Option<u64>) -> Finding {
    let name = "io_uring_disabled";
    match value {
        None => Finding::ok(name, "this kernel has no such switch"),
        Some(0) => Finding::ok(name, "0: allowed for everybody"),
        Some(1) => Finding::warn(
            name,
            "1: only for CAP_SYS_ADMIN and members of kernel.io_uring_group",
            "sysctl -w kernel.io_uring_group=GID with a group of the user, or kernel.io_uring_disabled=0",
        ),
        Some(value) => Finding::warn(
            name,
            format!("{value}: forbidden for everybody"),
            "sysctl -w kernel.io_uring_disabled=0 on the host, if its owner agrees; else stay with epoll",
        ),
    }
}

/// `status` is `/proc/self/status`.
pub(super) fn seccomp(status: &str, ring_works: bool) -> Finding {
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().parse::<u32>().ok()
    };
    let filters =
        field("Seccomp_filters:").map_or_else(String::new, |count| format!(", {count} filters"));
    match field("Seccomp:") {
        None => Finding::ok("seccomp", "the kernel does not say"),
        Some(0) => Finding::ok("seccomp", "no filter on this process"),
        Some(_) if ring_works => {
            Finding::ok("seccomp", format!("filtered{filters}; io_uring is let through"))
        }
        Some(mode) => Finding::warn(
            "seccomp",
            format!("filtered (mode {mode}{filters}); this may be what refuses io_uring"),
            "add io_uring_setup, io_uring_enter and io_uring_register to the container's seccomp profile, or stay \
             with epoll; do not turn seccomp off",
        ),
    }
}

pub(super) fn locked_memory(release: &str) -> Finding {
    let limit = getrlimit(Resource::Memlock).current;
    judge_locked_memory(limit, kernel_version(release))
}

fn judge_locked_memory(limit: Option<u64>, kernel: Option<(u32, u32)>) -> Finding {
    let name = "RLIMIT_MEMLOCK";
    let shown = limit.map_or_else(|| "unlimited".to_owned(), show_memory);
    let counts = kernel.is_some_and(|version| version < KERNEL_WITHOUT_MEMLOCK);
    match limit {
        Some(bytes) if counts && bytes < MEMLOCK_ENOUGH_BYTES => Finding::warn(
            name,
            format!("{shown}; kernels before 5.12 charge rings to it"),
            "raise it to 8 MiB (ulimit -l 8192, or LimitMEMLOCK=8M in the systemd unit)",
        ),
        _ => Finding::ok(
            name,
            format!("{shown}{}", if counts { "" } else { "; rings do not count here" }),
        ),
    }
}

/// Major and minor number of a kernel release such as `6.1.0-18-amd64`.
fn kernel_version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn kernels() {
        assert_eq!(kernel_version("6.1.0-18-amd64"), Some((6, 1)));
        assert_eq!(kernel_version("5.15"), Some((5, 15)));
        assert_eq!(kernel_version("strange"), None);
        assert_eq!(kernel("6.12.3").level, Level::Ok);
        assert_eq!(kernel("5.15.0").level, Level::Warn);
        assert_eq!(kernel("10.0.0").level, Level::Ok);
    }

    #[test]
    fn the_switch() {
        assert_eq!(sysctl(None).level, Level::Ok);
        assert_eq!(sysctl(Some(0)).level, Level::Ok);
        assert!(sysctl(Some(1)).remedy.expect("one").contains("io_uring_group"));
        assert_eq!(sysctl(Some(2)).level, Level::Warn);
    }

    #[test]
    fn filters_matter_only_when_the_ring_is_refused() {
        let filtered = "Name:\thostler\nSeccomp:\t2\nSeccomp_filters:\t1\n";
        assert_eq!(seccomp("Seccomp:\t0\n", false).level, Level::Ok);
        assert_eq!(seccomp(filtered, true).level, Level::Ok);
        let finding = seccomp(filtered, false);
        assert_eq!(finding.level, Level::Warn);
        assert!(finding.text.contains("mode 2, 1 filters"), "{}", finding.text);
        assert!(!finding.remedy.expect("one").contains("unconfined"));
    }

    #[test]
    fn locked_memory_matters_only_to_old_kernels() {
        assert_eq!(judge_locked_memory(Some(65_536), Some((5, 10))).level, Level::Warn);
        assert_eq!(judge_locked_memory(Some(65_536), Some((6, 1))).level, Level::Ok);
        assert_eq!(judge_locked_memory(None, Some((5, 10))).level, Level::Ok);
    }
}
