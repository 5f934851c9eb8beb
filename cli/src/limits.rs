//! Limits of the process, and of the machine or container it runs in.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit of open files to the hard one, and answers how many there may be; `None` without limit.
pub(crate) fn raise_open_files() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    }
}

/// The memory that this process may use, bytes: that of the machine, or of a control group it is in, if that has less. `None`
/// where the system does not tell.
pub(crate) fn memory() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = group_files(&groups)
        .into_iter()
        .filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok());
    limits.chain(installed(&fs::read_to_string("/proc/meminfo").ok()?)).min()
}

/// The memory of the machine, from the text of `/proc/meminfo`.
fn installed(meminfo: &str) -> Option<u64> {
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    total.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1_024)
}

/// The files in which the limits of these groups would stand, and of those around them, up to the root, which in a container
/// is its own. From the text of `/proc/self/cgroup`: a line `ID:CONTROLLERS:PATH` for each hierarchy, the only one of
/// version 2 without controllers.
fn group_files(groups: &str) -> Vec<PathBuf> {
    let files = groups.lines().filter_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            some if some.split(',').any(|one| one == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => return None,
        };
        let around = Path::new(path.strip_prefix('/')?).ancestors();
        Some(around.map(move |group| Path::new(root).join(group).join(file)).collect::<Vec<_>>())
    });
    files.flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_of_a_group_and_of_those_around_it_are_looked_up() {
        let files = |groups| {
            group_files(groups).into_iter().map(|file| file.display().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(
            files("0::/user.slice/one.scope\n"),
            [
                "/sys/fs/cgroup/user.slice/one.scope/memory.max",
                "/sys/fs/cgroup/user.slice/memory.max",
                "/sys/fs/cgroup/memory.max",
            ]
        );
        assert_eq!(
            files("5:cpu:/x\n4:hugetlb,memory:/a\n0::/\n"),
            [
                "/sys/fs/cgroup/memory/a/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory.max",
            ]
        );
        assert_eq!(files("nonsense\n1\n2:memory\n"), [] as [&str; 0]);
    }

    #[test]
    fn the_memory_of_the_machine_is_in_kibibytes() {
        assert_eq!(installed("MemTotal:       24684092 kB\nMemFree: 1 kB\n"), Some(24_684_092 * 1_024));
        assert_eq!(installed("MemFree: 1 kB\n"), None);
        assert_eq!(installed("MemTotal: many\n"), None);
    }
}
