//! Findings about what the system grants: cores, descriptors, memory, processes, the accept queue.
//!
//! Owns: what is enough. Must never know: where the figures are read. Called by `doctor`.

use super::Finding;
use crate::cgroup::Limit;
use crate::cores::UsableCores;
use crate::units::show_memory;

/// What the default of --max-connections needs for one shard, with room for the rest.
const OPEN_FILES_ENOUGH: u64 = 10_000 + 512;
/// The length the listeners ask for; the kernel cuts it to somaxconn.
const ACCEPT_QUEUE_WANTED: u64 = 4_096;
/// The proxy with one shard and one small Node app.
const MEMORY_BASE_BYTES: u64 = 32 << 20;
const MEMORY_PER_WORKER_BYTES: u64 = 96 << 20;
/// Supervisor, proxy with its shards, and about a dozen threads in each Node process.
const PROCESSES_BASE: u64 = 16;
const PROCESSES_PER_WORKER: u64 = 16;

pub(super) fn cores(cores: &UsableCores) -> Finding {
    let text = format!("{} usable: {}", cores.count, cores.why);
    let fraction = cores.quota.as_ref().is_some_and(|quota| quota.value < 1.0);
    if fraction {
        return Finding::warn(
            "cores",
            text,
            "the quota is below one core: the app pauses in each period when it is used up; grant at least 1",
        );
    }
    Finding::ok("cores", text)
}

pub(super) fn open_files(hard_limit: u64) -> Finding {
    let name = "RLIMIT_NOFILE";
    if hard_limit >= OPEN_FILES_ENOUGH {
        return Finding::ok(name, format!("{hard_limit} (the soft limit is raised to it)"));
    }
    Finding::warn(
        name,
        format!(
            "{hard_limit}: each client connection is an open file, so --max-connections becomes smaller"
        ),
        "raise the hard limit: ulimit -Hn 65536, LimitNOFILE=65536 in the systemd unit, or \
         --ulimit nofile=65536 for docker run",
    )
}

pub(super) fn memory(limit: Option<Limit<u64>>, workers: u32) -> Finding {
    let Some(limit) = limit else {
        return Finding::ok("memory", "no cgroup limit");
    };
    let text = format!("{} ({})", show_memory(limit.value), limit.file.display());
    let needed = MEMORY_BASE_BYTES + u64::from(workers) * MEMORY_PER_WORKER_BYTES;
    if limit.value >= needed {
        return Finding::ok("memory", text);
    }
    Finding::warn(
        "memory",
        format!("{text}; {workers} workers of a small app take about {}", show_memory(needed)),
        "use fewer --workers or raise the limit; set --max-old-space-size in scripts.start",
    )
}

/// Only a strict setting is worth a line: V8 reserves far more address space than it uses.
pub(super) fn overcommit(value: Option<u64>) -> Option<Finding> {
    (value == Some(2)).then(|| {
        Finding::warn(
            "overcommit",
            "vm.overcommit_memory is 2: Node reserves gigabytes of address space that it never uses",
            "sysctl -w vm.overcommit_memory=0, if Node workers fail to start",
        )
    })
}

/// Only a short queue is worth a line.
pub(super) fn accept_queue(somaxconn: Option<u64>) -> Option<Finding> {
    let length = somaxconn.filter(|length| *length < ACCEPT_QUEUE_WANTED)?;
    Some(Finding::warn(
        "accept queue",
        format!("net.core.somaxconn is {length}: new connections are dropped in bursts"),
        format!("sysctl -w net.core.somaxconn={ACCEPT_QUEUE_WANTED}"),
    ))
}

/// Only a tight limit is worth a line.
pub(super) fn processes(limit: Option<Limit<u64>>, workers: u32) -> Option<Finding> {
    let needed = PROCESSES_BASE + u64::from(workers) * PROCESSES_PER_WORKER;
    let limit = limit.filter(|limit| limit.value < needed)?;
    Some(Finding::warn(
        "processes",
        format!(
            "{} processes and threads are allowed ({}); {workers} workers take about {needed}",
            limit.value,
            limit.file.display()
        ),
        "raise it: --pids-limit for docker run, TasksMax= in the systemd unit",
    ))
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    fn limit<T>(value: T) -> Option<Limit<T>> {
        Some(Limit { value, file: "/sys/fs/cgroup/x".into() })
    }

    #[test]
    fn enough_is_ok() {
        assert_eq!(open_files(65_536).level, Level::Ok);
        assert_eq!(memory(None, 64).level, Level::Ok);
        assert_eq!(memory(limit(512 << 20), 2).level, Level::Ok);
        assert_eq!(overcommit(Some(0)), None);
        assert_eq!(overcommit(None), None);
        assert_eq!(accept_queue(Some(4_096)), None);
        assert_eq!(processes(limit(1_000), 4), None);
    }

    #[test]
    fn too_little_is_a_warning_with_a_remedy() {
        for finding in [
            open_files(1_024),
            memory(limit(128 << 20), 2),
            overcommit(Some(2)).expect("a line"),
            accept_queue(Some(128)).expect("a line"),
            processes(limit(40), 4).expect("a line"),
        ] {
            assert_eq!(finding.level, Level::Warn, "{finding:?}");
            assert!(finding.remedy.is_some(), "{finding:?}");
        }
    }

    #[test]
    fn a_part_of_a_core_is_a_warning() {
        let mut usable =
            UsableCores { allowed: vec![0, 1], count: 1, quota: None, why: "affinity 0-1".into() };
        assert_eq!(cores(&usable).level, Level::Ok);
        usable.quota = limit(0.5);
        assert_eq!(cores(&usable).level, Level::Warn);
    }
}
