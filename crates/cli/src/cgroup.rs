//! What the control groups (v1 and v2) grant this process: CPU quota, CPU set, memory.
//!
//! Owns: finding the process's groups in `/proc` and the files to read, up to the top of the tree, because a
//! limit set on any parent binds as well. Must never know: what the figures are used for. Reads through a
//! function, so that the tests bring their own file tree. Used by `cores` and `doctor`.

use std::path::{Path, PathBuf};

/// Reads a file of the system; `None` if it is not there or not readable.
pub(crate) type ReadFile<'a> = &'a dyn Fn(&Path) -> Option<String>;

/// [`ReadFile`] for the real system.
pub(crate) fn read_system_file(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// A limit and the file that sets it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Limit<T> {
    /// The limit.
    pub(crate) value: T,
    /// The file it was read from.
    pub(crate) file: PathBuf,
}

/// The folders of the process's groups, innermost first, one list per controller.
pub(crate) struct Cgroups<'a> {
    read: ReadFile<'a>,
    unified: Vec<PathBuf>,
    cpu_v1: Vec<PathBuf>,
    cpuset_v1: Vec<PathBuf>,
    memory_v1: Vec<PathBuf>,
    pids_v1: Vec<PathBuf>,
}

impl<'a> Cgroups<'a> {
    /// Finds the groups of this process.
    pub(crate) fn find(read: ReadFile<'a>) -> Self {
        let groups = read(Path::new("/proc/self/cgroup")).unwrap_or_default();
        let mounts = read(Path::new("/proc/self/mountinfo")).unwrap_or_default();
        let levels = |controller: &str| group_levels(&groups, &mounts, controller);
        Self {
            read,
            unified: levels(""),
            cpu_v1: levels("cpu"),
            cpuset_v1: levels("cpuset"),
            memory_v1: levels("memory"),
            pids_v1: levels("pids"),
        }
    }

    /// The smallest CPU quota of all levels, in cores.
    pub(crate) fn cpu_quota(&self) -> Option<Limit<f64>> {
        let unified = self.unified.iter().filter_map(|folder| {
            let file = folder.join("cpu.max");
            Some(Limit { value: parse_cpu_max(&(self.read)(&file)?)?, file })
        });
        let v1 = self.cpu_v1.iter().filter_map(|folder| {
            let file = folder.join("cpu.cfs_quota_us");
            let period = (self.read)(&folder.join("cpu.cfs_period_us"))?;
            Some(Limit { value: parse_cfs_quota(&(self.read)(&file)?, &period)?, file })
        });
        unified.chain(v1).min_by(|a, b| a.value.total_cmp(&b.value))
    }

    /// The CPU set of the innermost group that has one; the kernel has already cut it to its parents'.
    pub(crate) fn cpuset(&self) -> Option<Limit<Vec<u32>>> {
        let first = |folders: &[PathBuf], name: &str| {
            folders.iter().find_map(|folder| {
                let file = folder.join(name);
                let cores = parse_cpu_list(&(self.read)(&file)?)?;
                (!cores.is_empty()).then_some(Limit { value: cores, file })
            })
        };
        first(&self.unified, "cpuset.cpus.effective")
            .or_else(|| first(&self.cpuset_v1, "cpuset.effective_cpus"))
            .or_else(|| first(&self.cpuset_v1, "cpuset.cpus"))
    }

    /// The smallest memory limit of all levels, in bytes.
    pub(crate) fn memory_limit(&self) -> Option<Limit<u64>> {
        let unified = self.smallest(&self.unified, "memory.max");
        let v1 = self.smallest(&self.memory_v1, "memory.limit_in_bytes");
        unified.into_iter().chain(v1).min_by_key(|limit| limit.value)
    }

    /// The smallest limit on processes and threads of all levels.
    pub(crate) fn processes_limit(&self) -> Option<Limit<u64>> {
        let unified = self.smallest(&self.unified, "pids.max");
        let v1 = self.smallest(&self.pids_v1, "pids.max");
        unified.into_iter().chain(v1).min_by_key(|limit| limit.value)
    }

    /// The smallest number in the files of that name; `max` is no limit.
    fn smallest(&self, folders: &[PathBuf], name: &str) -> Option<Limit<u64>> {
        // v1 writes "no limit" as the largest page-aligned i64.
        const UNLIMITED_FROM: u64 = 1 << 60;
        let limits = folders.iter().filter_map(|folder| {
            let file = folder.join(name);
            let value = (self.read)(&file)?.trim().parse().ok()?;
            (value < UNLIMITED_FROM).then_some(Limit { value, file })
        });
        limits.min_by_key(|limit| limit.value)
    }
}

/// The folders of the group of one controller (`""` is the unified tree), innermost first, ending at the
/// mount point. Empty if the controller is not mounted.
fn group_levels(groups: &str, mounts: &str, controller: &str) -> Vec<PathBuf> {
    let Some(group) = group_path(groups, controller) else {
        return Vec::new();
    };
    let Some((root, mount_point)) = mount_of(mounts, controller) else {
        return Vec::new();
    };
    // Inside a container without a cgroup namespace the group is named from the host's root and the mount shows
    // only a part of the tree: cut the part that is not visible. A group outside of it leaves the mount point.
    let below = Path::new(group).strip_prefix(root).unwrap_or(Path::new(""));
    let mut levels: Vec<PathBuf> = Vec::new();
    let mut folder = mount_point.join(below);
    while folder.starts_with(&mount_point) {
        levels.push(folder.clone());
        if !folder.pop() {
            break;
        }
    }
    levels
}

/// The group of a controller in `/proc/self/cgroup`, lines of `ID:CONTROLLERS:PATH`.
fn group_path<'t>(groups: &'t str, controller: &str) -> Option<&'t str> {
    groups.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (_id, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        controllers.split(',').any(|name| name == controller).then_some(path)
    })
}

/// Root and mount point of a controller in `/proc/self/mountinfo`, lines of
/// `ID PARENT DEV ROOT MOUNT_POINT OPTIONS [TAGS] - TYPE SOURCE SUPER_OPTIONS`.
fn mount_of(mounts: &str, controller: &str) -> Option<(PathBuf, PathBuf)> {
    mounts.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let mut right = right.split(' ');
        let (kind, _source, options) = (right.next()?, right.next()?, right.next()?);
        let fits = match controller {
            "" => kind == "cgroup2",
            _ => kind == "cgroup" && options.split(',').any(|name| name == controller),
        };
        let mut left = left.split(' ').skip(3);
        fits.then_some((PathBuf::from(left.next()?), PathBuf::from(left.next()?)))
    })
}

/// `cpu.max`: `QUOTA PERIOD` or `max PERIOD`, microseconds.
fn parse_cpu_max(text: &str) -> Option<f64> {
    let mut words = text.split_whitespace();
    parse_cfs_quota(words.next()?, words.next()?)
}

/// v1 writes "no quota" as -1, v2 as `max`.
fn parse_cfs_quota(quota: &str, period: &str) -> Option<f64> {
    let quota: f64 = quota.trim().parse().ok()?;
    let period: f64 = period.trim().parse().ok()?;
    (quota > 0.0 && period > 0.0).then_some(quota / period)
}

/// The kernel's list format: `0-3,8,10-11`.
pub(crate) fn parse_cpu_list(text: &str) -> Option<Vec<u32>> {
    let mut cores = Vec::new();
    for part in text.trim().split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        cores.extend(first..=last);
    }
    Some(cores)
}

/// The inverse of [`parse_cpu_list`].
pub(crate) fn show_cpu_list(cores: &[u32]) -> String {
    cores
        .chunk_by(|a, b| a + 1 == *b)
        .map(|run| match run {
            [first, .., last] => format!("{first}-{last}"),
            [only] => only.to_string(),
            [] => String::new(),
        })
        .collect::<Vec<_>>()
        .join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    const V2_MOUNT: &str = "29 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n";
    const V1_MOUNTS: &str = "\
31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
32 31 0:29 /docker/ab /sys/fs/cgroup/cpu,cpuacct ro shared:9 - cgroup cgroup rw,cpu,cpuacct
34 31 0:31 /docker/ab /sys/fs/cgroup/cpuset ro shared:9 - cgroup cgroup rw,cpuset
35 31 0:32 /docker/ab /sys/fs/cgroup/memory ro shared:9 - cgroup cgroup rw,memory
";

    fn with_files<T>(files: &[(&str, &str)], see: impl FnOnce(&Cgroups<'_>) -> T) -> T {
        let read = |path: &Path| {
            files
                .iter()
                .find(|(name, _)| Path::new(name) == path)
                .map(|(_, text)| (*text).to_owned())
        };
        see(&Cgroups::find(&read))
    }

    #[test]
    fn v2_takes_the_smallest_quota_up_the_tree() {
        let files = [
            ("/proc/self/cgroup", "0::/kubepods/pod1/app\n"),
            ("/proc/self/mountinfo", V2_MOUNT),
            ("/sys/fs/cgroup/kubepods/pod1/app/cpu.max", "max 100000\n"),
            ("/sys/fs/cgroup/kubepods/pod1/cpu.max", "150000 100000\n"),
            ("/sys/fs/cgroup/kubepods/cpu.max", "800000 100000\n"),
            ("/sys/fs/cgroup/kubepods/pod1/app/cpuset.cpus.effective", "0-3,8\n"),
            ("/sys/fs/cgroup/kubepods/pod1/memory.max", "536870912\n"),
            ("/sys/fs/cgroup/kubepods/memory.max", "max\n"),
        ];
        with_files(&files, |groups| {
            let quota = groups.cpu_quota().expect("a quota");
            assert!((quota.value - 1.5).abs() < 1e-9);
            assert_eq!(quota.file, Path::new("/sys/fs/cgroup/kubepods/pod1/cpu.max"));
            assert_eq!(groups.cpuset().expect("a set").value, [0, 1, 2, 3, 8]);
            assert_eq!(groups.memory_limit().expect("a limit").value, 512 << 20);
        });
    }

    #[test]
    fn v2_in_a_container_with_its_own_namespace() {
        let files = [
            ("/proc/self/cgroup", "0::/\n"),
            ("/proc/self/mountinfo", V2_MOUNT),
            ("/sys/fs/cgroup/cpu.max", "50000 100000\n"),
        ];
        with_files(&files, |groups| {
            assert!((groups.cpu_quota().expect("a quota").value - 0.5).abs() < 1e-9);
            assert_eq!(groups.cpuset(), None);
            assert_eq!(groups.memory_limit(), None);
        });
    }

    #[test]
    fn v1_in_a_container_that_sees_only_its_part_of_the_tree() {
        let files = [
            (
                "/proc/self/cgroup",
                "5:cpuset:/docker/ab\n4:memory:/docker/ab\n1:cpu,cpuacct:/docker/ab/x\n",
            ),
            ("/proc/self/mountinfo", V1_MOUNTS),
            ("/sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_quota_us", "-1\n"),
            ("/sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_period_us", "100000\n"),
            ("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "200000\n"),
            ("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
            ("/sys/fs/cgroup/cpuset/cpuset.cpus", "2-3\n"),
            ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ];
        with_files(&files, |groups| {
            assert!((groups.cpu_quota().expect("a quota").value - 2.0).abs() < 1e-9);
            assert_eq!(groups.cpuset().expect("a set").value, [2, 3]);
            assert_eq!(groups.memory_limit(), None);
        });
    }

    #[test]
    fn no_proc_no_limits() {
        with_files(&[], |groups| {
            assert_eq!(groups.cpu_quota(), None);
            assert_eq!(groups.cpuset(), None);
        });
    }

    #[test]
    fn quota_forms() {
        assert_eq!(parse_cpu_max("max 100000"), None);
        assert_eq!(parse_cpu_max("100000 100000"), Some(1.0));
        assert_eq!(parse_cpu_max("100000"), None);
        assert_eq!(parse_cpu_max("0 100000"), None);
        assert_eq!(parse_cfs_quota("-1", "100000"), None);
        assert_eq!(parse_cfs_quota("x", "100000"), None);
    }

    #[test]
    fn cpu_lists_round_trip() {
        for (text, cores) in [("0-3,8", vec![0, 1, 2, 3, 8]), ("5", vec![5]), ("", vec![])] {
            assert_eq!(parse_cpu_list(text), Some(cores.clone()));
            assert_eq!(show_cpu_list(&cores), text);
        }
        assert_eq!(parse_cpu_list("a-b"), None);
        assert_eq!(show_cpu_list(&[0, 1]), "0-1");
    }
}
