//! Which cores may be used, why, and which shard and worker goes on which.
//!
//! Owns: usable cores = affinity ∩ cpuset, as many as the cgroup quota pays for; the placement rule. Must never
//! know: processes and threads (the spawner and the proxy do the pinning). Used by `settings` and `doctor`.

use std::path::Path;

use crate::cgroup::{Cgroups, Limit, ReadFile, parse_cpu_list, show_cpu_list};

/// The cores of this process and what bounds them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct UsableCores {
    /// Cores the scheduler may use, in ascending order; never empty.
    pub(crate) allowed: Vec<u32>,
    /// How many of them the quota pays for; at least 1, at most `allowed.len()`.
    pub(crate) count: u32,
    /// The CPU quota, if one is smaller than the allowed cores.
    pub(crate) quota: Option<Limit<f64>>,
    /// What bounds the number, for people.
    pub(crate) why: String,
}

impl UsableCores {
    /// The cores of the running process.
    pub(crate) fn detect(read: ReadFile<'_>) -> Self {
        let groups = Cgroups::find(read);
        Self::from_limits(affinity(read), groups.cpuset(), groups.cpu_quota())
    }

    fn from_limits(
        affinity: Vec<u32>,
        cpuset: Option<Limit<Vec<u32>>>,
        quota: Option<Limit<f64>>,
    ) -> Self {
        let mut allowed = affinity;
        let mut why = format!("affinity {}", show_cpu_list(&allowed));
        if let Some(cpuset) = cpuset {
            let both: Vec<u32> =
                allowed.iter().copied().filter(|core| cpuset.value.contains(core)).collect();
            // The kernel keeps the affinity within the cpuset; an empty intersection can only be a
            // change in between, and the affinity is the newer of the two.
            if !both.is_empty() && both != allowed {
                why.push_str(&format!(", cpuset {}", show_cpu_list(&cpuset.value)));
                allowed = both;
            }
        }
        if allowed.is_empty() {
            allowed = vec![0];
        }
        let allowed_count = u32::try_from(allowed.len()).unwrap_or(u32::MAX);
        // A started core is used: 1.5 cores of quota keep two shards busier than one.
        let quota = quota.filter(|quota| quota.value < f64::from(allowed_count));
        let count = quota.as_ref().map_or(allowed_count, |quota| quota.value.ceil() as u32);
        match &quota {
            Some(quota) => {
                why.push_str(&format!(
                    ", quota {:.2} cores ({})",
                    quota.value,
                    quota.file.display()
                ));
            }
            None => why.push_str(", no CPU quota below that"),
        }
        Self { allowed, count: count.max(1), quota, why }
    }

    /// The cores that shards and workers are placed on.
    pub(crate) fn cores(&self) -> &[u32] {
        &self.allowed[..self.count as usize]
    }
}

/// The core of each shard and of each worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Placement {
    /// One per shard.
    pub(crate) shards: Vec<u32>,
    /// One per worker slot.
    pub(crate) workers: Vec<u32>,
}

/// Where shards and workers go.
///
/// If every one of them can have a core of its own, shards take the low cores and workers the high ones.
/// Otherwise shard i and worker i share core i, because a request that stays on one core needs no
/// wake-up of another; numbers beyond the last core start again at the first.
pub(crate) fn place(cores: &[u32], shards: u32, workers: u32) -> Placement {
    assert!(!cores.is_empty(), "there is always one usable core");
    let (shards, workers) = (shards as usize, workers as usize);
    let in_turn = |count| cores.iter().copied().cycle().take(count).collect();
    if shards + workers <= cores.len() {
        let from_the_top = cores.iter().rev().copied().take(workers).collect();
        return Placement { shards: in_turn(shards), workers: from_the_top };
    }
    Placement { shards: in_turn(shards), workers: in_turn(workers) }
}

/// The cores the scheduler may run this thread on.
fn affinity(read: ReadFile<'_>) -> Vec<u32> {
    // `CpuSet` ends at 1024 cores; larger machines refuse the call and are read from /proc.
    if let Ok(set) = rustix::thread::sched_getaffinity(None) {
        return (0..rustix::thread::CpuSet::MAX_CPU)
            .filter(|core| set.is_set(*core))
            .filter_map(|core| u32::try_from(core).ok())
            .collect();
    }
    let status = read(Path::new("/proc/self/status")).unwrap_or_default();
    status
        .lines()
        .find_map(|line| parse_cpu_list(line.strip_prefix("Cpus_allowed_list:")?))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quota(cores: f64) -> Option<Limit<f64>> {
        Some(Limit { value: cores, file: "/sys/fs/cgroup/cpu.max".into() })
    }

    fn cpuset(cores: &[u32]) -> Option<Limit<Vec<u32>>> {
        Some(Limit { value: cores.to_vec(), file: "/sys/fs/cgroup/cpuset.cpus.effective".into() })
    }

    #[test]
    fn all_cores_without_limits() {
        let usable = UsableCores::from_limits(vec![0, 1, 2, 3], None, None);
        assert_eq!(usable.cores(), [0, 1, 2, 3]);
        assert_eq!(usable.why, "affinity 0-3, no CPU quota below that");
    }

    #[test]
    fn the_quota_is_rounded_up_and_at_least_one() {
        let count = |value| UsableCores::from_limits(vec![0, 1, 2, 3], None, quota(value)).count;
        assert_eq!(count(0.1), 1);
        assert_eq!(count(1.0), 1);
        assert_eq!(count(1.5), 2);
        assert_eq!(count(3.01), 4);
        assert_eq!(count(64.0), 4);
    }

    #[test]
    fn a_quota_above_the_cores_does_not_count() {
        let usable = UsableCores::from_limits(vec![0, 1], None, quota(2.0));
        assert_eq!(usable.quota, None);
        assert_eq!(usable.count, 2);
    }

    #[test]
    fn the_cpuset_cuts_the_affinity() {
        let usable = UsableCores::from_limits(vec![0, 1, 2, 3], cpuset(&[2, 3, 9]), None);
        assert_eq!(usable.cores(), [2, 3]);
        assert!(usable.why.contains("cpuset 2-3,9"), "{}", usable.why);
        let odd = UsableCores::from_limits(vec![0, 1], cpuset(&[7]), None);
        assert_eq!(odd.cores(), [0, 1]);
    }

    #[test]
    fn nothing_known_is_one_core() {
        assert_eq!(UsableCores::from_limits(vec![], None, None).cores(), [0]);
    }

    #[test]
    fn detection_on_this_machine_gives_at_least_one_core() {
        let usable = UsableCores::detect(&crate::cgroup::read_system_file);
        assert!(!usable.cores().is_empty());
        assert!(usable.cores().len() <= usable.allowed.len());
    }

    #[test]
    fn placement() {
        type Cores = &'static [u32];
        let cases: [(Cores, u32, u32, Cores, Cores); 8] = [
            (&[0], 1, 1, &[0], &[0]),
            (&[0, 1], 1, 1, &[0], &[1]),
            (&[0, 1], 2, 2, &[0, 1], &[0, 1]),
            (&[0, 1], 1, 2, &[0], &[0, 1]),
            (&[0, 1, 2, 3], 1, 2, &[0], &[3, 2]),
            (&[0, 1, 2, 3], 2, 2, &[0, 1], &[3, 2]),
            (&[4, 6, 8], 3, 3, &[4, 6, 8], &[4, 6, 8]),
            (&[0, 1], 3, 5, &[0, 1, 0], &[0, 1, 0, 1, 0]),
        ];
        for (cores, shards, workers, shard_cores, worker_cores) in cases {
            let placement = place(cores, shards, workers);
            assert_eq!(placement.shards, shard_cores, "{shards}+{workers} on {cores:?}");
            assert_eq!(placement.workers, worker_cores, "{shards}+{workers} on {cores:?}");
        }
    }

    #[test]
    fn nobody_shares_while_there_is_room() {
        for count in 2..12_u32 {
            let cores: Vec<u32> = (0..count).collect();
            for shards in 1..count {
                for workers in 1..=count - shards {
                    let placement = place(&cores, shards, workers);
                    let mut used = [placement.shards, placement.workers].concat();
                    used.sort_unstable();
                    used.dedup();
                    assert_eq!(used.len() as u32, shards + workers);
                }
            }
        }
    }
}
